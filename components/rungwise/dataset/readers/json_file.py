"""Reads JSON lines, and nested JSON whose rows are at the path in `records`."""

import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from rungwise.config import SourceSettings
from rungwise.core.errors import DataError, Problem
from rungwise.core.folders import joined
from rungwise.dataset.readers.objects import check_columns, picked
from rungwise.dataset.readers.opened import MAX_JSON_BYTES, opened, opened_text
from rungwise.dataset.readers.row import Bad, Note, Row, encoding_of, has_lost_bytes

COLUMN_WISE: Final = "columns"
"""The value of `records` for a document that has a list for each column."""
SAMPLED_ROWS: Final = 200
"""Rows whose keys are the columns of a file."""
_KEY: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


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
            except (ValueError, RecursionError):
                yield Bad(line, "bad_json", "no JSON value")
                continue
            if not isinstance(value, dict):
                yield Bad(line, "bad_json", f"{type(value).__name__}, wanted an object")
                continue
            n_rows += 1
            seen.update(value)
            yield picked(source, line, value, needed)
    check_columns(source, path, needed, seen, n_rows)


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
    for value, more in islice(_rows_in(source, document_of(source, path), path), SAMPLED_ROWS):
        places = [f"[{place}]" for place in range(len(value))] if isinstance(value, list) else []
        keys |= dict.fromkeys([*(value if isinstance(value, dict) else places), *more])
    return list(keys)


def json_rows(source: SourceSettings, path: Path, needed: tuple[str, ...]) -> Iterator[Row | Bad | Note]:
    """Yields the rows of one JSON document; `line` counts rows.

    Raises:
        DataError: the file is not JSON, it has another form than `records` says, or a needed column is in no row.
    """
    document = document_of(source, path)
    seen: set[str] = set()
    n_rows = 0
    for number, (value, keys) in enumerate(_rows_in(source, document, path), start=1):
        if not isinstance(value, dict | list):
            yield Bad(number, "bad_json", f"{type(value).__name__}, wanted an object or a list of cells")
            continue
        cells = value if isinstance(value, dict) else {f"[{place}]": cell for place, cell in enumerate(value)}
        row = {**cells, **keys}
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


def is_column_wise(document: Any) -> bool:
    """Whether a document has a list, or an object with the same keys, for each of at least two columns."""
    if not isinstance(document, dict) or len(document) < 2:
        return False
    columns = list(document.values())
    if all(isinstance(column, list) for column in columns):
        return len({len(column) for column in columns}) == 1 and len(columns[0]) > 1
    are_equal = all(isinstance(column, dict) for column in columns) and len({tuple(column) for column in columns}) == 1
    return are_equal and not has_rows_by_id(document)


def has_rows_by_id(document: Any) -> bool:
    """Whether a document has an object for each row, under the row's id: many objects with few keys in all."""
    if not isinstance(document, dict) or not all(isinstance(row, dict) for row in document.values()):
        return False
    names = {name for row in document.values() for name in row}
    return bool(names) and len(names) <= len(document) / 2 and not all(name.isdecimal() for name in names)


def _rows_in(source: SourceSettings, document: Any, path: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    if source.records != COLUMN_WISE:
        yield from _rows_below(document, source.records, path)
        return
    if not is_column_wise(document):
        raise DataError(
            Problem(
                "a JSON file has another form than `records` says",
                where=str(path),
                found=f"an object with {joined(document)}" if isinstance(document, dict) else type(document).__name__,
                wanted="an object with a list of equal length, or an object with equal keys, for each column",
                do="correct the source's `records`",
                setting="records",
            )
        )
    columns = [list(column.values()) if isinstance(column, dict) else column for column in document.values()]
    for cells in zip(*columns, strict=True):
        yield dict(zip(document, cells, strict=True)), {}


def _rows_below(value: Any, steps: str, path: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    """Yields (row, keys) for the rows below `value`; `keys` holds the object keys that `{name}` steps passed."""
    step, _, rest = steps.partition(".")
    if not step:
        yield value, {}
        return
    key = _KEY.fullmatch(step)
    if step == "[]" and isinstance(value, list):
        inner: list[tuple[Any, dict[str, str]]] = [(v, {}) for v in value]
    elif key and isinstance(value, dict):
        inner = [(v, {key.group(1): k}) for k, v in value.items()]
    elif isinstance(value, dict) and step in value:
        inner = [(value[step], {})]
    else:
        raise DataError(
            Problem(
                "a JSON file has another form than `records` says",
                where=f"{path}, at `{steps}`",
                found=f"an object with {joined(value)}" if isinstance(value, dict) else type(value).__name__,
                wanted={"[]": "a list"}.get(step, f"an object for `{step}`"),
                do="correct the source's `records`",
                setting="records",
            )
        )
    for item, keys in inner:
        for row, more in _rows_below(item, rest, path):
            yield row, {**keys, **more}
