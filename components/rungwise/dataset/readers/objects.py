"""Turns an object with keys, from JSON, Parquet or Arrow, into a row with the needed columns."""

import re
from pathlib import Path
from typing import Any, Final

from rungwise.config import SourceSettings
from rungwise.core.errors import DataError, Problem
from rungwise.core.folders import joined
from rungwise.core.texts import number_of
from rungwise.dataset.readers.cells import Cell, as_cell, list_in, object_in, value_in
from rungwise.dataset.readers.chats import COLUMNS, as_prompt_and_completion, as_text, is_chat
from rungwise.dataset.readers.row import Bad, Row

_ITEM_STEP: Final = re.compile(r"(.+)\[(\*|\d*)\]")
"""A step of a path that continues in the items of a list, or in one of them."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def reads_chat(source: SourceSettings, name: str) -> bool:
    """Whether a chat format gives this column, or one of its parts, unless the source says where it is."""
    return first_key(name) in COLUMNS and name not in source.columns


def is_whole_chat(source: SourceSettings, name: str) -> bool:
    """Whether a column is the one with the conversations: it is read as the text of the whole conversation."""
    return source.chat is not None and source.columns.get(name, name) == source.chat and not reads_chat(source, name)


def picked(source: SourceSettings, line: int, value: dict[str, Any], needed: tuple[str, ...]) -> Row | Bad:
    """Returns the columns in `needed` as cells, or `Bad` if one of them can't be a cell (see `cells.as_cell`).

    Chats become the columns `prompt` and `completion`, and the column of a chat its whole text.
    """
    cells: dict[str, Cell] = {}
    chat: dict[str, str] | None = None
    if any(reads_chat(source, name) for name in needed):
        try:
            chat = as_prompt_and_completion(value, source.chat)
        except ValueError as error:
            return Bad(line, "bad_shape", str(error))
    for name in needed:
        path = source.columns.get(name, name)
        raw = value[path] if path in value else _value_at(value, path.split("."))
        if chat is not None and reads_chat(source, name):
            raw = _value_at(chat, path.split("."))
        if "[]" in path and isinstance(raw, list) and all(isinstance(piece, str) for piece in raw):
            raw = "".join(raw)
        try:
            cell = as_cell(as_text(value, path) if is_whole_chat(source, name) and path in value else raw)
        except ValueError as error:
            return Bad(line, "bad_shape", str(error))
        except TypeError as error:
            return Bad(line, "not_text", f"column {name} is a {error}")
        for text in (cell,) if isinstance(cell, str) else cell or ():
            if not text.isascii() and _SURROGATE.search(text):
                return Bad(line, "not_utf8", f"column {name} holds half a surrogate pair")
            if "\0" in text:
                return Bad(line, "nul", f"column {name} holds NUL characters")
        cells[name] = cell
    return Row(line, cells)


def _value_at(value: Any, steps: list[str]) -> Any:
    """Returns the value at a path of keys; a step that ends in `[]` or `[*]` continues in each item of a list.

    A step that ends in `[2]` continues in the third item. An object or a list written as JSON in a text is read.
    """
    if not steps or value is None:
        return value
    step = _ITEM_STEP.fullmatch(steps[0])
    if isinstance(value, str):
        value = object_in(value)
    inner = value.get(step[1] if step else steps[0]) if isinstance(value, dict) else None
    if not step:
        return _value_at(inner, steps[1:])
    if isinstance(inner, str):
        inner = value_in(inner) or list_in(inner)
    items = inner if isinstance(inner, list | tuple) else None
    if items is not None and step[2].isdecimal():
        return _value_at(items[int(step[2])], steps[1:]) if int(step[2]) < len(items) else None
    return None if items is None else [_value_at(item, steps[1:]) for item in items]


def check_columns(source: SourceSettings, path: Path, needed: tuple[str, ...], seen: set[str], n_rows: int) -> None:
    """Checks that each needed column occurred in at least one row of a file.

    Raises:
        DataError: one did not.
    """
    for name in needed:
        where = source.columns.get(name, name)
        first = first_key(where)
        if n_rows and where not in seen and first not in seen and not (first in COLUMNS and is_chat(seen, source.chat)):
            raise DataError(
                Problem(
                    "a column is missing",
                    where=f"{path}, in all of {number_of(n_rows, 'row')}",
                    found=joined(sorted(seen)),
                    wanted=where,
                    do=f"correct the task, or name the column: columns: {{{name}: TITLE}} in source {source.name}",
                    setting="columns",
                )
            )


def first_key(path: str) -> str:
    """Returns the column of the file in which a path of keys begins."""
    step = _ITEM_STEP.fullmatch(path.partition(".")[0])
    return step[1] if step else path.partition(".")[0]
