"""Reads an answer's value from the cells of a row: a label, a text, or the items of a list."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from rungwise.config import AnswerSettings, FieldSettings
from rungwise.core.folders import joined
from rungwise.core.prompts import parse_list
from rungwise.core.texts import number_of
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
        if field.format == "label" and isinstance(cell, tuple) and len(cell) > 1:
            raise NoAnswer("several_labels", f"column {field.column} is a list of {len(cell)} labels, wanted one")
        text = without_markers(text_of(cell), field.strip)
        if not text or _means_nothing(field, text):
            raise NoAnswer("no_answer", f"column {field.column} is empty")
        return text if field.format == "label" else redact(text)
    if isinstance(cell, str):
        cell = without_markers(cell, field.strip)
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


def option_in(answer: AnswerSettings, values: Mapping[str, Cell]) -> str:
    """Returns the letter of the option that the answer column names.

    Raises:
        NoAnswer: it names none of the row's options.
    """
    text = without_markers(text_of(values[str(answer.column)]), answer.strip)
    if not text or text in HIDDEN or _means_nothing(answer, text):
        raise NoAnswer("no_answer", f"column {answer.column} is empty")
    options = [text_of(values[name]).strip() for name in answer.options]
    if letter := letter_of(text, options, answer.chosen_by):
        return letter
    n = sum(map(bool, options))
    raise NoAnswer("not_an_option", f"column {answer.column} names none of the row's {number_of(n, 'option')}")


HIDDEN = ("-1", "-1.0")
"""What public sets write in place of the numbers of right options that they keep."""
_LETTER = re.compile(r"\(?([A-Za-z])[).:]?")


def letter_of(text: str, options: Sequence[str], chosen_by: str | int) -> str | None:
    """Returns the letter of the option that a text names; None if it names none of those that the row has.

    Args:
        text: the answer.
        options: the options of the row; one that it does not have is empty.
        chosen_by: see `AnswerSettings.chosen_by`.
    """
    letter, number = _LETTER.fullmatch(text), re.fullmatch(r"(\d{1,2})(?:\.0)?", text)
    place = -1
    if chosen_by == "text" and (same := [place for place, one in enumerate(options) if one == text]):
        place = same[0]
    elif isinstance(chosen_by, int) and number:
        place = int(number[1]) - chosen_by
    elif letter:
        place = ord(letter[1].upper()) - ord("A")
    return ascii_uppercase[place] if 0 <= place < len(options) and options[place] else None


def one_hot_in(answer: AnswerSettings, values: Mapping[str, Cell]) -> str | list[str]:
    """Returns the label, or the items, of one-hot columns.

    Raises:
        NoAnswer: none or, for a label, several of them apply, or a cell does not say whether it does.
    """
    names = names_in(answer.one_hot, values)
    if answer.format == "label":
        if len(names) != 1:
            raise NoAnswer("not_one_hot", f"{len(names)} of the columns say 1, and a label needs exactly one")
        return names[0]
    if not names and not answer.may_be_empty:
        raise NoAnswer("empty_list", "no column says 1: set `answer.may_be_empty: true` if that is an answer")
    return names


def texts_in(answer: AnswerSettings, values: Mapping[str, Cell], redact: Callable[[str], str]) -> list[str]:
    """Returns the right answers of a row, redacted, each once: of a list of texts, and of several columns.

    Raises:
        NoAnswer: there is none.
    """
    columns = (str(answer.column), *answer.others)
    items = [item for name in columns for item in _texts_of(answer, values[name])]
    texts = [text for item in items if (text := without_markers(item, answer.strip))]
    texts = [redact(text) for text in dict.fromkeys(texts) if not _means_nothing(answer, text)]
    if not texts:
        are_empty = "are empty" if answer.others else "is empty"
        raise NoAnswer("no_answer", f"column{'s' * bool(answer.others)} {joined(columns)} {are_empty}")
    return texts


def _texts_of(answer: AnswerSettings, cell: Cell) -> tuple[str, ...]:
    """Returns the texts of a cell: those of a list, also of one that is written as text if `any_of` says so."""
    if isinstance(cell, tuple):
        return cell
    items = list_in(without_markers(cell or "", answer.strip)) if answer.any_of else None
    return (cell or "",) if items is None else items


_MARKS = ("x", "✓", "✔", "☑")
"""What a person writes into a cell of a table where a label applies; the others stay empty."""
_APPLIES = {
    **dict.fromkeys(("1", "1.0", "true", "yes", "y", *_MARKS), True),
    **dict.fromkeys(("0", "0.0", "false", "no", "n", "☐"), False),
}
"""What a one-hot cell can say, in small letters, and whether its label applies; an empty cell says no."""


def looks_one_hot(cells: Iterable[Cell]) -> bool:
    """Whether a column's cells all say whether a label applies, and at least one says that it does not."""
    texts = {text_of(cell).strip().casefold() for cell in cells}
    is_marked = "" in texts and len(texts) > 1 and texts <= {*_MARKS, ""}
    return is_marked or (texts <= {*_APPLIES, ""} and any(_APPLIES.get(text) is False for text in texts))


def may_be_one_hot(cells: Iterable[Cell]) -> bool:
    """Whether a column has values, and all of them are words that say whether a label applies."""
    texts = {text_of(cell).strip().casefold() for cell in cells}
    return texts != {""} and bool(texts) and texts <= {*_APPLIES, ""}


def names_in(columns: Sequence[str], values: Mapping[str, Cell]) -> list[str]:
    """Returns the names of the one-hot columns whose cells say that they apply.

    Raises:
        NoAnswer: a cell says something else, or all are empty.
    """
    texts = {name: text_of(values[name]).strip().casefold() for name in columns}
    if odd := [name for name, text in texts.items() if text and text not in _APPLIES]:
        raise NoAnswer("not_one_hot", f"column {odd[0]} must say 1 or 0, true or false, yes or no")
    if not any(texts.values()):
        raise NoAnswer("no_answer", f"columns {joined(columns)} are empty")
    return [name for name, text in texts.items() if _APPLIES.get(text)]


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
