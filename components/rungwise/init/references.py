"""Finds columns that hold several right answers to one row, such as `ref1`, `ref2` or `target`, `target2`."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from rungwise.dataset.answer_cells import may_be_one_hot
from rungwise.dataset.readers import Cell, list_in, text_of

_NAMED = re.compile(r"(.*?)[ _.-]*(\d*)", re.DOTALL)
_NAMES = {
    "ref", "reference", "human reference", "target", "gold", "gold answer", "answer", "summary", "translation",
    "simplification", "paraphrase", "correction",
}  # fmt: skip
"""Names of columns with right answers, before their number. Not `response`: it may be any model's."""
_NUMBERS = re.compile(r"[\d.,%+-]+")
_CHOICES = 0.9
"""Numbered columns are choices if at least this share of the answers is one of them."""


def numbered(sample: Mapping[str, Sequence[Cell]], texts: Sequence[str], answer: str | None) -> tuple[str, ...]:
    """Returns at least two columns with right answers to each row, by their number; () if there are none.

    Args:
        sample: column -> its first cells.
        texts: the columns that the model reads.
        answer: the answer column, which is the first of them; None: any.
    """
    groups: dict[str, dict[str, int]] = defaultdict(dict)
    for name in sample:
        if (match := _NAMED.fullmatch(name.strip())) and name not in texts and any(sample[name]):
            stem = re.sub(r"[ _.-]+", " ", match[1]).strip().casefold()
            if stem in _NAMES or stem.removesuffix("s") in _NAMES:
                groups[stem][name] = int(match[2] or -1)
    for group in groups.values():
        names = sorted(group, key=lambda name: group[name])
        if answer in names:
            names = [answer, *(name for name in names if name != answer)]
        elif answer is not None:
            continue
        if len(names) > 1 and _are_texts([sample[name] for name in names]) and not _are_choices(sample, names, group):
            return tuple(names)
    return ()


def are_references(sample: Mapping[str, Sequence[Cell]], names: Sequence[str]) -> bool:
    """Whether columns that the user named together have texts: no column says whether a label applies."""
    return any(any(sample.get(name, ())) for name in names) and not any(
        may_be_one_hot(sample.get(name, ())) for name in names
    )


def are_lists(columns: Sequence[Sequence[Cell]]) -> bool:
    """Whether all filled cells are lists, and some of them are written as text."""
    cells = [cell for cells in columns for cell in cells if cell]
    return any(isinstance(cell, str) for cell in cells) and all(
        isinstance(cell, tuple) or list_in(cell) is not None for cell in cells
    )


def _are_texts(columns: Sequence[Sequence[Cell]]) -> bool:
    """Whether the cells are neither labels, of which there are few different ones, nor numbers."""
    cells = [text_of(cell) for cells in columns for cell in cells if cell]
    return len(set(cells)) > len(cells) / 5 and not all(_NUMBERS.fullmatch(text) for text in cells)


def _are_choices(sample: Mapping[str, Sequence[Cell]], names: Sequence[str], numbers: Mapping[str, int]) -> bool:
    """Whether the answer, in a column without a number, is one of the numbered ones in nearly every row."""
    first, *others = names
    if numbers[first] != -1:
        return False
    rows = [(cells[0], cells[1:]) for cells in zip(*(sample[name] for name in names), strict=True) if cells[0]]
    return sum(answer in choices for answer, choices in rows) >= _CHOICES * len(rows)
