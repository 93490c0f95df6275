"""Turns an object with keys, from JSON, Parquet or Arrow, into a row with the needed columns."""

import json
import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from rungwise.config import SourceSettings
from rungwise.core.errors import DataError, Problem
from rungwise.core.folders import joined
from rungwise.dataset.readers.chats import COLUMNS, as_prompt_and_completion, is_chat
from rungwise.dataset.readers.row import Bad, Row

ITEMS: Final = ";"
"""Separates the items of a JSON list of texts that becomes one cell. A list whose items contain it is not converted."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def picked(source: SourceSettings, line: int, value: dict[str, Any], needed: tuple[str, ...]) -> Row | Bad:
    """Returns the columns in `needed` as text, or `Bad` if one of them can't be text.

    Chats become the columns `prompt` and `completion`. Numbers, dates and lists of texts become text.
    """
    cells: dict[str, str | None] = {}
    chat: dict[str, str] | None = None
    if any(name in COLUMNS and name not in source.columns for name in needed):
        try:
            chat = as_prompt_and_completion(value)
        except ValueError as error:
            return Bad(line, "bad_shape", str(error))
    for name in needed:
        path = source.columns.get(name, name)
        cell = value[path] if path in value else _value_at(value, path.split("."))
        if chat is not None and name in COLUMNS and name not in source.columns:
            cell = chat.get(name)
        if isinstance(cell, list) and all(isinstance(piece, str) for piece in cell) and "[]" in path:
            cell = "".join(cell)
        elif isinstance(cell, list) and all(isinstance(i, str) and ITEMS not in i for i in cell):
            cell = f"{ITEMS} ".join(cell)
        if isinstance(cell, int | float):
            cell = json.dumps(cell)
        elif isinstance(cell, date | Decimal):
            cell = str(cell)
        if cell is not None and not isinstance(cell, str):
            return Bad(line, "not_text", f"column {name} is a {type(cell).__name__}, wanted text")
        if cell and not cell.isascii() and _SURROGATE.search(cell):
            return Bad(line, "not_utf8", f"column {name} holds half a surrogate pair")
        if cell and "\0" in cell:
            return Bad(line, "nul", f"column {name} holds NUL characters")
        cells[name] = cell or None
    return Row(line, cells)


def _value_at(value: Any, steps: list[str]) -> Any:
    """Returns the value at a path of keys; a step that ends in `[]` continues in each item of a list."""
    if not steps or value is None:
        return value
    name, is_list = steps[0].removesuffix("[]"), steps[0].endswith("[]")
    inner = value.get(name) if isinstance(value, dict) else None
    if not is_list:
        return _value_at(inner, steps[1:])
    return [_value_at(item, steps[1:]) for item in inner] if isinstance(inner, list) else None


def check_columns(source: SourceSettings, path: Path, needed: tuple[str, ...], seen: set[str], n_rows: int) -> None:
    """Checks that each needed column occurred in at least one row of a file.

    Raises:
        DataError: one did not.
    """
    for name in needed:
        where = source.columns.get(name, name)
        first = where.split(".")[0].removesuffix("[]")
        if n_rows and where not in seen and first not in seen and not (name in COLUMNS and is_chat(seen)):
            raise DataError(
                Problem(
                    "a column is missing",
                    where=f"{path}, in all {n_rows} rows",
                    found=joined(sorted(seen)),
                    wanted=where,
                    do=f"correct the task, or name the column: columns: {{{name}: TITLE}} in source {source.name}",
                    setting="columns",
                )
            )
