"""Reads an answer's value from the cells of a row: a label, a text, or the items of a list."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rungwise.config import FieldSettings
from rungwise.core.prompts import parse_list
from rungwise.dataset.readers import Cell, list_in, text_of


@dataclass
class NoAnswer(Exception):
    """A row without a usable answer."""

    reason: str
    """The reason of its rejection."""
    detail: str
    """What was found, without any text of the row."""


def items_in(cell: Cell, separator: str) -> list[str]:
    """Returns the items of a cell, each once: those of a list, of a text that is a list, or separated ones."""
    items = cell if isinstance(cell, tuple) else list_in(cell or "")
    if items is None:
        return parse_list(text_of(cell), separator)
    return list(dict.fromkeys(item for item in (one.strip() for one in items) if item))


def answer_in(field: FieldSettings, values: Mapping[str, Cell], redact: Callable[[str], str]) -> str | list[str]:
    """Returns a field's redacted text, or its items if it is a list. Labels are not redacted.

    Raises:
        NoAnswer: the row has none, or its list can't be written with the field's separator.
    """
    cell = values[field.column]
    if field.format != "list":
        text = without_markers(text_of(cell), field.strip)
        if not text or _means_nothing(field, text):
            raise NoAnswer("no_answer", f"column {field.column} is empty")
        return text if field.format == "label" else redact(text)
    items = [redact(item) for one in items_in(cell, field.separator) if (item := without_markers(one, field.strip))]
    items = [item for item in items if not _means_nothing(field, item)]
    if any(field.separator in item for item in items):
        detail = f"an item of column {field.column} contains the separator `{field.separator}`: set `answer.separator`"
        raise NoAnswer("separator_in_item", detail)
    is_list = isinstance(cell, tuple) or (cell is not None and list_in(cell) is not None)
    if items or (is_list and field.may_be_empty):
        return items
    if is_list:
        detail = f"column {field.column} is an empty list: set `answer.may_be_empty: true` if that is an answer"
        raise NoAnswer("empty_list", detail)
    raise NoAnswer("no_answer", f"column {field.column} is empty")


def _means_nothing(field: FieldSettings, text: str) -> bool:
    return bool(field.no_value) and text.casefold() in (one.casefold() for one in field.no_value)


def without_markers(text: str, markers: Sequence[str]) -> str:
    """Returns the text without white space and markers at its ends, however often they are repeated."""
    text, before = text.strip(), ""
    while markers and text != before:
        before = text
        for marker in markers:
            text = text.removeprefix(marker).removesuffix(marker).strip()
    return text
