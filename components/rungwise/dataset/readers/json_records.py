"""Finds the rows of a JSON document: below a path of keys, in a list for each column, or in a table."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from rungwise.config import SourceSettings
from rungwise.core.errors import DataError, Problem
from rungwise.core.folders import joined

COLUMN_WISE: Final = "columns"
"""The value of `records` for a document that has a list for each column. Below keys it is the last step."""
TABLE: Final = "table"
"""The same for a list of column names and a list of rows, each a list of cells."""
_NAMES_OF_NAMES: Final = ("columns", "header", "headers", "fields", "names")
"""Usual keys of the list of column names."""
PLACE: Final = re.compile(r"\[\d+\]")
"""The name of a column of rows that are lists of cells."""
_KEY: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def records_in(source: SourceSettings, document: Any, path: Path) -> Iterator[dict[str, Any] | None]:
    """Yields the columns of each row of a document; None for a row that is neither an object nor a list.

    A row that is a list has the columns `[0]`, `[1]` and so on. Each row also has the keys that `{name}` steps passed,
    and the plain values of the objects between the document and the row, such as the text that several questions share.

    Raises:
        DataError: the document has another form than `records` says.
    """
    above_table, _, form = source.records.rpartition(".")
    if form in (COLUMN_WISE, TABLE):
        document = _at(document, above_table, path)
    if form == COLUMN_WISE:
        if not is_column_wise(document):
            wanted = "an object with a list of equal length, or an object with equal keys, for each column"
            raise _other_form(document, str(path), wanted)
        named = _columns(document)
        columns = [list(column.values()) if isinstance(column, dict) else column for column in named.values()]
        for cells in zip(*columns, strict=True):
            yield dict(zip(named, cells, strict=True))
    elif form == TABLE:
        if (table := table_in(document)) is None:
            raise _other_form(document, str(path), "an object with a list `columns` and a list of rows of that length")
        names, rows = table
        for row in rows:
            yield dict(zip(names, row, strict=True))
    else:
        for row, above, keys in _below(document, source.records, path):
            columns_of = numbered(row) if isinstance(row, list) else row
            yield {**above, **columns_of, **keys} if isinstance(columns_of, dict) else None


def numbered(row: list[Any]) -> dict[str, Any]:
    """Returns the columns of a row that is a list of cells."""
    return {f"[{place}]": cell for place, cell in enumerate(row)}


def _at(value: Any, steps: str, path: Path) -> Any:
    """Returns the value below a path of keys.

    Raises:
        DataError: a key is missing.
    """
    for step in filter(None, steps.split(".")):
        if not isinstance(value, dict) or step not in value:
            raise _other_form(value, f"{path}, at `{steps}`", f"an object for `{step}`")
        value = value[step]
    return value


def is_column_wise(document: Any) -> bool:
    """Whether a document has a list, or an object with the same keys, for each of at least two columns.

    It may have texts and numbers next to them, such as its version.
    """
    if not isinstance(document, dict):
        return False
    columns = list(_columns(document).values())
    if len(columns) < 2:
        return False
    if all(isinstance(column, list) for column in columns):
        are_rows = all(isinstance(cell, dict) for column in columns for cell in column)
        return len({len(column) for column in columns}) == 1 and len(columns[0]) > 1 and not are_rows
    are_equal = all(isinstance(column, dict) for column in columns) and len({tuple(column) for column in columns}) == 1
    return are_equal and len(columns[0]) > 1 and not has_rows_by_id(document)


def _columns(document: dict[str, Any]) -> dict[str, Any]:
    """Returns the lists and objects of a document."""
    return {name: column for name, column in document.items() if isinstance(column, list | dict)}


def table_in(document: Any) -> tuple[list[str], list[list[Any]]] | None:
    """Returns the column names and the rows of a document that has one list of each; None for other documents."""
    if not isinstance(document, dict):
        return None
    for names in (document.get(name) for name in _NAMES_OF_NAMES):
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            continue
        for rows in document.values():
            if rows is not names and isinstance(rows, list) and rows and all(isinstance(row, list) for row in rows):
                if all(len(row) == len(names) for row in rows):
                    return names, rows
    return None


def has_rows_by_id(document: Any) -> bool:
    """Whether a document has an object for each row, under the row's id: many objects with few keys in all."""
    if not isinstance(document, dict) or not all(isinstance(row, dict) for row in document.values()):
        return False
    names = {name for row in document.values() for name in row}
    return bool(names) and len(names) <= len(document) / 2 and not all(name.isdecimal() for name in names)


def _below(value: Any, steps: str, path: Path) -> Iterator[tuple[Any, dict[str, Any], dict[str, str]]]:
    """Yields the rows below `value`, each with the plain values above it and the keys that `{name}` steps passed."""
    step, _, rest = steps.partition(".")
    if not step:
        yield value, {}, {}
        return
    key = _KEY.fullmatch(step)
    inner: list[tuple[Any, dict[str, Any], dict[str, str]]]
    if step == "[]" and isinstance(value, list):
        inner = [(item, _plain_in(item) if rest else {}, {}) for item in value]
    elif key and isinstance(value, dict):
        inner = [(item, _plain_in(item) if rest else {}, {key.group(1): name}) for name, item in value.items()]
    elif isinstance(value, dict) and step in value:
        inner = [(value[step], {}, {})]
    else:
        raise _other_form(value, f"{path}, at `{steps}`", {"[]": "a list"}.get(step, f"an object for `{step}`"))
    for item, above, keys in inner:
        for row, more_above, more_keys in _below(item, rest, path):
            yield row, {**above, **more_above}, {**keys, **more_keys}


def _plain_in(value: Any) -> dict[str, Any]:
    """Returns the texts and numbers of an object."""
    return (
        {name: one for name, one in value.items() if isinstance(one, str | int | float)}
        if isinstance(value, dict)
        else {}
    )


def _other_form(value: Any, where: str, wanted: str) -> DataError:
    return DataError(
        Problem(
            "a JSON file has another form than `records` says",
            where=where,
            found=f"an object with {joined(value)}" if isinstance(value, dict) else type(value).__name__,
            wanted=wanted,
            do="correct the source's `records`",
            setting="records",
        )
    )
