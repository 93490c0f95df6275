"""Reads JSON lines, and JSON documents whose rows are where `records` says (see `json_records`)."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from rungwise.config import SourceSettings
from rungwise.core.errors import DataError, Problem
from rungwise.core.texts import number_of
from rungwise.dataset.readers.cells import object_in
from rungwise.dataset.readers.exports import columns_of_task, why_undecided, with_plain_columns
from rungwise.dataset.readers.json_records import PLACE, numbered, records_in
from rungwise.dataset.readers.objects import check_columns, picked
from rungwise.dataset.readers.opened import MAX_JSON_BYTES, opened, opened_text
from rungwise.dataset.readers.row import Bad, Note, Row, encoding_of, has_lost_bytes

SAMPLED_ROWS: Final = 200
"""Rows whose keys are the columns of a file."""


def jsonl_rows(source: SourceSettings, path: Path, needed: tuple[str, ...]) -> Iterator[Row | Bad | Note]:
    """Yields the rows of a file with one JSON object, or one list of cells, per line.

    Raises:
        DataError: a needed column is in no row.
    """
    return _rows(source, path, needed, _lines(source, path))


def _lines(source: SourceSettings, path: Path) -> Iterator[tuple[int, Any]]:
    """Yields number and value of each line; a line that can't be read is `Bad`."""
    with opened_text(source, path) as stream:
        for line, text in enumerate(stream, start=1):
            if not text.strip():
                continue
            if has_lost_bytes(text):
                yield line, Bad(line, "not_utf8", f"bytes that are not {source.encoding}")
                continue
            try:
                value = json.loads(text, parse_constant=_no_value)
            except (ValueError, RecursionError) as error:
                yield line, Bad(line, "bad_json", _not_json(text, error))
                continue
            if isinstance(value, dict):
                yield line, value
            elif isinstance(value, list) and value:
                yield line, numbered(value)
            else:
                kind = "an empty list" if isinstance(value, list) else type(value).__name__
                yield line, Bad(line, "bad_json", f"{kind}, wanted an object with a key for each column")


def _rows(
    source: SourceSettings, path: Path, needed: tuple[str, ...], values: Iterator[tuple[int, Any]]
) -> Iterator[Row | Bad | Note]:
    """Yields the rows of a file from their values; the first list of cells may hold the names of the columns.

    Raises:
        DataError: a needed column is in no row.
    """
    seen: set[str] = set()
    n_rows = 0
    names: dict[str, str] | None = None
    titles = [source.columns.get(name, name) for name in needed]
    for line, value in values:
        if isinstance(value, Bad):
            yield value
            continue
        row = with_plain_columns(value)
        places = [key for key in row if PLACE.fullmatch(key)]
        if places and names is None and n_rows:
            yield Bad(line, "bad_json", "a list of cells after objects, wanted an object with a key for each column")
            continue
        if places and names is None:
            names = _header(source, row, titles)
            if names:
                seen.update(names.values())
                continue
            names = {}
        if places and names:
            if len(places) != len(names):
                reason = "too_many_fields" if len(places) > len(names) else "too_few_fields"
                yield Bad(line, reason, f"{number_of(len(places), 'cell')}, the first row has {len(names)}")
                continue
            row = {names.get(key, key): cell for key, cell in row.items()}
        n_rows += 1
        seen.update(row)
        why = why_undecided(row, titles)
        yield Bad(line, "no_answer", why) if why else picked(source, line, row, needed)
    check_columns(source, path, needed, seen, n_rows)


def _header(source: SourceSettings, row: dict[str, Any], titles: Sequence[str]) -> dict[str, str]:
    """Returns place -> name of a column, if a list of cells holds the names; none if it is a row.

    It is a row if the source says so, if `titles` are places such as `[0]`, or if it has another cell than a text.
    """
    cells = {key: cell for key, cell in row.items() if PLACE.fullmatch(key)}
    names = [cell for cell in cells.values() if isinstance(cell, str) and cell.strip()]
    is_row = not source.header or any(PLACE.match(title) for title in titles)
    return {} if is_row or len(set(names)) != len(cells) else dict(zip(cells, names, strict=True))


def lists_in(source: SourceSettings, path: Path, document: Any = None) -> list[list[str]]:
    """Returns the first rows of a file of JSON lines, or of a document, if they are lists of cells; otherwise none."""
    if document is None:
        values = [value for _, value in islice(_lines(source, path), SAMPLED_ROWS) if not isinstance(value, Bad)]
    else:
        values = [value or {} for value in islice(records_in(source, document, path), SAMPLED_ROWS)]
    rows = [[cell if isinstance(cell, str) else json.dumps(cell) for cell in _cells(value)] for value in values]
    return rows if rows and all(rows) else []


def _cells(row: dict[str, Any]) -> list[Any]:
    return [cell for key, cell in row.items() if PLACE.fullmatch(key)]


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
    """Returns the columns of the first rows of a file with one JSON object, or one list of cells, per line."""
    return _columns(source, islice((value for _, value in _lines(source, path)), SAMPLED_ROWS))


def json_columns(source: SourceSettings, path: Path) -> list[str]:
    """Returns the columns of the first rows of a JSON document.

    Raises:
        DataError: the file is not JSON, or it has another form than `records` says.
    """
    return _columns(source, islice(records_in(source, document_of(source, path), path), SAMPLED_ROWS))


def _columns(source: SourceSettings, values: Iterable[Any]) -> list[str]:
    """Returns the columns of rows: their keys, and the names in the first list of cells."""
    keys: dict[str, None] = {}
    names: dict[str, str] | None = None
    for value in values:
        if isinstance(value, dict):
            if keys and names is None and _cells(value):
                continue  # a list after objects is not a row
            if names is None and _cells(value):
                names = _header(source, value, ())
            keys |= dict.fromkeys(names.values() if names else ())
            plain = columns_of_task(value) or value
            keys |= dict.fromkeys(key for key in plain if not (names and PLACE.fullmatch(key)))
    return list(keys)


def json_rows(source: SourceSettings, path: Path, needed: tuple[str, ...]) -> Iterator[Row | Bad | Note]:
    """Yields the rows of one JSON document; `line` counts rows.

    Raises:
        DataError: the file is not JSON, it has another form than `records` says, or a needed column is in no row.
    """
    records = records_in(source, document_of(source, path), path)
    bad = "wanted an object or a list of cells"
    values = ((n, Bad(n, "bad_json", bad) if row is None else row) for n, row in enumerate(records, start=1))
    return _rows(source, path, needed, values)


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
