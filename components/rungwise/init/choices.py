"""Finds the options of multiple choice questions, and how the answers name one of them."""

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase
from typing import Final, Literal

from rungwise.core.folders import joined
from rungwise.dataset.answer_cells import HIDDEN, letter_of, looks_one_hot
from rungwise.dataset.readers import Cell, list_in, object_in, text_of
from rungwise.dataset.readers.json_records import PLACE

_LISTS: Final = {
    "choices", "options", "endings", "candidates", "alternatives", "answer_choices", "possible_answers",
    "answer_options", "answer_candidates",
}  # fmt: skip
"""Usual names of a column with a list of options."""
_COLUMN: Final = re.compile(r"(|op|opt|option|choice|answer|ending|sol|candidate|alternative)[ _-]?([a-z]|\d)")
"""Usual names of columns with one option each."""
_MOST: Final = 0.9
"""At least this share of the answers must name an option."""
_LONGER: Final = 2.5
"""Options without names are at most so many times as long as one another, on average of the rows."""
How = Literal["letter", "text", 0, 1]
_HOW: Final[Mapping[How, str]] = {
    "letter": "its letter", "text": "its text", 1: "its number, counted from 1", 0: "its number, counted from 0",
}  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """The options of a task's questions."""

    columns: tuple[str, ...]
    """The columns of the file that hold them."""
    options: tuple[str, ...]
    """The options in their order: columns, or paths in a column."""
    optional: tuple[str, ...]
    """Those that some rows don't have."""
    chosen_by: How
    """See `AnswerSettings.chosen_by`."""

    @property
    def is_guess(self) -> bool:
        """Whether only the places of the columns say that they are options."""
        return all(PLACE.fullmatch(name) for name in self.columns)

    def sentence(self, answer: str) -> str:
        """What was decided."""
        where = f"{'columns' if len(self.columns) > 1 else 'column'} {joined(self.columns, 26)}"
        how = f"column {answer} names one by {_HOW[self.chosen_by]}"
        guessed = " This is a guess by their places; --text and --answer name other columns." if self.is_guess else ""
        return f"Multiple choice: the options are in {where}, and {how}; the answer is its letter.{guessed}"


@dataclass(frozen=True)
class _Options:
    """Columns that may hold options."""

    columns: tuple[str, ...]
    paths: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    """The options of each row; an option that it does not have is empty."""


def option_columns(sample: Mapping[str, Sequence[Cell]], answer: str | None = None) -> set[str]:
    """Returns the columns that may hold options; `answer`: the column that names one of them, if it is known."""
    placed = _by_place(sample, answer) if answer else []
    return {name for options in (*_found(sample), *placed) for name in options.columns}


def choice_of(sample: Mapping[str, Sequence[Cell]], answer: str) -> Choice | None:
    """Returns the options that the answers name; None if the answers name none."""
    answers = [text_of(cell).strip() for cell in sample.get(answer, ())]
    for options in (*_found(sample), *_by_place(sample, answer)):
        if answer in options.columns:
            continue
        pairs = [(one, row) for one, row in zip(answers, options.rows, strict=True) if one and one not in HIDDEN]
        shares: dict[How, float] = {}
        for how in _HOW:
            letters = [letter_of(one, row, how) for one, row in pairs]
            if len({*letters} - {None}) > 1:
                shares[how] = sum(map(bool, letters)) / len(pairs)
        if len(set(map(tuple, options.rows))) == 1:  # the labels of a task, and not of a row
            shares.pop("text", None)
        best = max(shares, key=lambda how: shares[how], default=None)
        if best is not None and shares[best] >= _MOST:
            are_all = all(all(row) for row in options.rows)
            return Choice(options.columns, options.paths, () if are_all else options.paths[2:], best)
    return None


def _by_place(sample: Mapping[str, Sequence[Cell]], answer: str) -> list[_Options]:
    """Returns the options in a table without a header: the columns before the answers, as many as these name.

    There must be another column before them, and their cells must be alike: no labels, and about equally long. A column
    whose cells are lists may hold them, too.
    """
    names = list(sample)
    if answer not in sample or not all(PLACE.fullmatch(name) for name in names):
        return []
    lists = [name for name in names if all(isinstance(cell, tuple) for cell in sample[name])]
    if in_lists := [options for name in lists if (options := _in_cells(name, sample[name]))]:
        return in_lists
    n = _highest([text for cell in sample[answer] if (text := text_of(cell).strip()) and text not in HIDDEN])
    place = names.index(answer)
    columns = tuple(names[place - n : place]) if 0 < n < place else ()
    rows = list(zip(*([text_of(cell).strip() for cell in sample[name]] for name in columns), strict=True))
    are_filled = sum(all(row[:2]) for row in rows) >= _MOST * len(rows)
    lengths = [statistics.mean(map(len, cells)) for cells in zip(*rows, strict=True)]
    are_alike = bool(rows) and max(lengths) <= _LONGER * min(lengths) + 3
    are_labels = any(1 < len({*cells}) <= len(cells) / 5 for cells in zip(*rows, strict=True))
    return [_Options(columns, columns, rows)] if are_filled and are_alike and not are_labels else []


def _highest(answers: Sequence[str]) -> int:
    """Returns how many options there are if the answers are letters, or at least three numbers; otherwise 0."""
    letters = {letter_of(text, ascii_uppercase, "letter") for text in answers}
    if len(letters) > 1 and None not in letters:
        return max(ascii_uppercase.index(str(letter)) + 1 for letter in letters)
    numbers = {int(text) for text in answers if re.fullmatch(r"\d", text)}
    is_row = len(numbers) > 2 and all(re.fullmatch(r"\d", text) for text in answers)
    return len(numbers) if is_row and numbers in ({*range(len(numbers))}, {*range(1, len(numbers) + 1)}) else 0


def _found(sample: Mapping[str, Sequence[Cell]]) -> list[_Options]:
    """Returns the columns that may hold options, with those of each row."""
    those = [
        one for name, cells in sample.items() if name.strip().lower() in _LISTS and (one := _in_cells(name, cells))
    ]
    by_prefix: dict[str, dict[str, str]] = {}
    for name in sample:
        match = _COLUMN.fullmatch(name.strip().lower())
        if match and (match[1] or not match[2].isdigit()):  # the columns of a table without names are numbers
            by_prefix.setdefault(match[1], {})[match[2]] = name
    for named in by_prefix.values():
        ends = "".join(sorted(named))
        columns = tuple(named[end] for end in ends)
        is_row = len(ends) > 1 and any(order.startswith(ends) for order in (ascii_lowercase, "0123456789", "123456789"))
        if is_row and not any(looks_one_hot(sample[name]) for name in columns):
            rows = list(zip(*([text_of(cell).strip() for cell in sample[name]] for name in columns), strict=True))
            those.append(_Options(columns, columns, rows))
    return those


def _in_cells(name: str, cells: Sequence[Cell]) -> _Options | None:
    """Returns the options in the cells of a column: a list, a list of objects, or an object; None in other cells."""
    rows = [_of_cell(cell) for cell in cells]
    ways = {way for way, options in rows if options}
    n = max((len(options) for _, options in rows), default=0)
    if len(ways) != 1 or not 2 <= n <= len(ascii_uppercase) or sum(len(one) > 1 for _, one in rows) < _MOST * len(rows):
        return None
    way = ways.pop()
    paths = tuple(name + way.format(number=place, letter=ascii_uppercase[place]) for place in range(n))
    return _Options((name,), paths, [[*options, *[""] * (n - len(options))] for _, options in rows])


def _of_cell(cell: Cell) -> tuple[str, tuple[str, ...]]:
    """Returns the way to an option in a cell, with `{number}` or `{letter}`, and the options."""
    items = cell if isinstance(cell, tuple) else list_in(cell or "")
    if items is None:
        one = object_in(str(cell)) or {}
        if isinstance(texts := one.get("text"), list) and _are_in_order(one.get("label")):
            return ".text[{number}]", tuple(text_of(text).strip() for text in map(str, texts))
        if len(one) > 1 and ascii_uppercase.startswith("".join(one)):
            return ".{letter}", tuple(str(text).strip() for text in one.values() if text is not None)
        return "", ()
    objects = [object_in(item) for item in items]
    if all(one and "text" in one for one in objects):
        are_in_order = _are_in_order([one.get("label") for one in objects if one])
        return "[{number}].text", tuple(str(one["text"]).strip() for one in objects if one) if are_in_order else ()
    return "[{number}]", tuple(item.strip() for item in items)


def _are_in_order(labels: object) -> bool:
    """Whether the names of options are letters or numbers in their order, so that a name says the place."""
    if not isinstance(labels, list):
        return labels is None
    named = "".join(map(str, labels))
    return (
        not labels
        or labels == [None] * len(labels)
        or any(order.startswith(named) for order in (ascii_uppercase, ascii_lowercase, "123456789"))
    )
