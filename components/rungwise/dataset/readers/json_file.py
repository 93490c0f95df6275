"""Reads JSON lines, and JSON documents whose rows are where `records` says (see `json_records`)."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from rungwise.config import SourceSettings
from rungwise.core.errors import DataError, Problem
from rungwise.dataset.readers.cells import object_in
from rungwise.dataset.readers.json_records import records_in
from rungwise.dataset.readers.objects import check_columns, picked
from rungwise.dataset.readers.opened import MAX_JSON_BYTES, opened, opened_text
from rungwise.dataset.readers.row import Bad, Note, Row, encoding_of, has_lost_bytes

SAMPLED_ROWS: Final = 200
"""Rows whose keys are the columns of a file."""


def jsonl_rows(source: SourceSettings, path: Path, needed: tuple[str, ...]) -> Iterator[Row | Bad | Note]:
    """Yields the rows of a file with one JSON object per line.

    Raises:
        DataError: a needed column is in no row.
    """
    seen: set[str] = set()
    n_rows = 0
    with opened_text(source, path) as stream:
        for line, text in enumerate(stream, start=1):
            if not text.strip():
                continue
            if has_lost_bytes(text):
                yield Bad(line, "not_utf8", f"bytes that are not {source.encoding}")
                continue
            try:
                value = json.loads(text, parse_constant=_no_value)
            except (ValueError, RecursionError) as error:
                yield Bad(line, "bad_json", _not_json(text, error))
                continue
            if not isinstance(value, dict):
                kind = "a list of cells" if isinstance(value, list) else type(value).__name__
                yield Bad(line, "bad_json", f"{kind}, wanted an object with a key for each column")
                continue
            n_rows += 1
            seen.update(value)
            yield picked(source, line, value, needed)
    check_columns(source, path, needed, seen, n_rows)


def _not_json(text: str, error: Exception) -> str:
    """Returns why a line is not JSON, without its text."""
    text = text.strip()
    if object_in(text) is not None:
        return "an object as Python prints it, wanted JSON"
    if text.endswith(",") and object_in(text.rstrip(",")) is not None:
        return "a comma after the object"
    if not isinstance(error, json.JSONDecodeError):
        return "no JSON value"
    is_cut = error.pos >= len(text) or error.msg.startswith("Unterminated")
    return "no JSON value: the line is cut off" if is_cut else f"no JSON value, from character {error.pos + 1} on"


def jsonl_columns(source: SourceSettings, path: Path) -> list[str]:
    """Returns the keys of the first objects of a file with one JSON object per line."""
    keys: dict[str, None] = {}
    with opened_text(source, path) as stream:
        for text in islice(stream, SAMPLED_ROWS):
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                continue
            keys |= dict.fromkeys(value if isinstance(value, dict) else ())
    return list(keys)


def json_columns(source: SourceSettings, path: Path) -> list[str]:
    """Returns the keys of the first rows of a JSON document.

    Raises:
        DataError: the file is not JSON, or it has another form than `records` says.
    """
    keys: dict[str, None] = {}
    for row in islice(records_in(source, document_of(source, path), path), SAMPLED_ROWS):
        keys |= dict.fromkeys(row or ())
    return list(keys)


def json_rows(source: SourceSettings, path: Path, needed: tuple[str, ...]) -> Iterator[Row | Bad | Note]:
    """Yields the rows of one JSON document; `line` counts rows.

    Raises:
        DataError: the file is not JSON, it has another form than `records` says, or a needed column is in no row.
    """
    document = document_of(source, path)
    seen: set[str] = set()
    n_rows = 0
    for number, row in enumerate(records_in(source, document, path), start=1):
        if row is None:
            yield Bad(number, "bad_json", "wanted an object or a list of cells")
            continue
        n_rows += 1
        seen.update(row)
        yield picked(source, number, row, needed)
    check_columns(source, path, needed, seen, n_rows)


def _no_value(_: str) -> None:
    """Reads NaN and infinities, which are not JSON but are written by many programs, as no value."""


def _whole(source: SourceSettings, path: Path) -> str:
    """Returns the text of a JSON document.

    Raises:
        DataError: it is too large to be held in memory.
    """
    with opened(path) as stream:
        content = stream.read(MAX_JSON_BYTES + 1)
    if len(content) > MAX_JSON_BYTES:
        raise DataError(
            Problem(
                "a JSON document is too large",
                where=str(path),
                found=f"more than {MAX_JSON_BYTES / 2**30:.0f} GiB",
                wanted="a document that fits into memory",
                do="write its rows as JSON lines: one object per line, ending .jsonl",
            )
        )
    return content.decode(encoding_of(source))


def document_of(source: SourceSettings, path: Path) -> Any:
    """Returns the values of a JSON document.

    Raises:
        DataError: the file is not JSON.
    """
    try:
        return json.loads(_whole(source, path), parse_constant=_no_value)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise DataError(
            Problem("a JSON file can't be read", where=str(path), found=reason, wanted=f"JSON in {source.encoding}")
        ) from None
