"""Counts the lines of a CSV file that one way of reading its quotes would lose or merge.

A record of several lines is either one row with a text of several lines, or several rows that a quote merged. What
tells them apart: values inside it that a column repeats (labels, numbers), the number of delimiters in each line, the
space that follows a comma in a text, and whether the other cells with quotes are whole inside quotes.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_FEW: Final = 0.2
"""A column repeats its values if at most this share of them are different."""
_MOST_VALUES: Final = 1000
"""A column with more different values is not counted to its end."""
_SHOWN: Final = 40
"""So many characters of a value are compared."""
_ROWS_SHARE: Final = 0.9
"""Lines look like rows if at least this share of them do."""
_FEW_LINES: Final = 20
"""A text of one cell with more lines that all look like rows is not likely."""
_MULTI_LINE_SHARE: Final = 0.2
"""Stray quotes make fewer records of several lines than this share of all records."""
_SPACED_SHARE: Final = 0.1
"""A file has spaces after its delimiters if at least this share of the cells begins with one."""
_DIGITS: Final = re.compile(r"\d+")


@dataclass(frozen=True)
class Trial:
    """How many lines one way of reading would lose or merge, and how many it would save."""

    n_lost: int
    """Lines that don't become a row with as many cells as the header."""
    line: int
    """The first line that is lost or merged; 0 if there is none."""
    n_merged: int
    """Lines that look like whole rows and stand inside quotes."""
    merged_line: int
    """The first of them; 0 if there is none."""
    n_inside: int
    """Lines of texts in quotes that would look like whole rows if quotes were ordinary characters."""
    inside_line: int
    """The first of them; 0 if there is none."""

    @property
    def n_bad(self) -> int:
        """Number of lines that are lost or merged."""
        return self.n_lost + self.n_merged


@dataclass(frozen=True)
class _Record:
    """A record of several lines that has as many cells as the header."""

    start: int
    lines: tuple[tuple[str, ...], ...]
    """The cells of each line if quotes were ordinary characters, as `_value` returns them."""
    places: tuple[int, int]
    """The first and the last of its cells with several lines."""


@dataclass(frozen=True)
class _File:
    """What the whole file says about its rows."""

    values: Sequence[frozenset[str]]
    """For each column the values that it repeats; empty if most of its values are different."""
    has_spaces: bool
    """Whether cells begin with a space."""
    is_quoted: bool
    """Whether cells with quotes are whole inside quotes."""
    has_commas: bool
    """Whether the delimiter is a comma, which texts have, too."""


def trial(stream: Iterable[str], settings: Mapping[str, Any]) -> Trial:
    """Returns what is lost and merged if the lines of a CSV file are read with these arguments of `csv.reader`."""
    delimiter: str = settings["delimiter"]
    wrapped_cell = re.compile(rf'(^|{re.escape(delimiter)})"(?:[^"]|"")*+"(?={re.escape(delimiter)}|[\r\n]|$)')
    n_lost = first = width = n_records = n_cells = n_spaced = n_wrapped = n_unwrapped = 0
    counts: list[Counter[str]] = []
    records: list[_Record] = []
    for start, lines, cells in _records(stream, settings):
        if cells and not width:
            width, counts = len(cells), [Counter() for _ in cells]
            continue
        if cells is None or (cells and len(cells) != width):
            n_lost, first = n_lost + len(lines), first or start
            continue
        n_records += bool(cells)
        n_cells, n_spaced = n_cells + len(cells[1:]), n_spaced + sum(cell.startswith(" ") for cell in cells[1:])
        for counted, cell in zip(counts, cells, strict=False):
            if len(counted) <= _MOST_VALUES:
                counted[_value(cell)] += 1
        if len(lines) > 1 and cells:
            places = [place for place, cell in enumerate(cells) if "\n" in cell or "\r" in cell]
            values = tuple(tuple(map(_value, line.split(delimiter))) for line in lines)
            records.append(_Record(start, values, (places[0], places[-1]) if places else (0, 0)))
        elif '"' in lines[0]:
            rest, n = wrapped_cell.subn(r"\1", lines[0])
            n_wrapped, n_unwrapped = n_wrapped + bool(n), n_unwrapped + ('"' in rest)
    are_many = not n_unwrapped and len(records) >= _MULTI_LINE_SHARE * n_records
    file = _File(
        [frozenset(one) - {""} if len(one) <= min(_MOST_VALUES, _FEW * one.total()) else frozenset() for one in counts],
        has_spaces=n_spaced > _SPACED_SHARE * n_cells,
        is_quoted=n_wrapped > n_unwrapped or are_many,
        has_commas=delimiter == ",",
    )
    merged = [record for record in records if _are_rows(record, file, width)]
    starts = {record.start for record in merged}
    inside = [(one.start, n) for one in records if one.start not in starts and (n := _n_fitting(one, width))]
    merged_line = merged[0].start if merged else 0
    return Trial(
        n_lost,
        min(filter(None, (first, merged_line)), default=0),
        sum(len(record.lines) for record in merged),
        merged_line,
        sum(n for _, n in inside),
        inside[0][0] if inside else 0,
    )


def _records(stream: Iterable[str], settings: Mapping[str, Any]) -> Iterator[tuple[int, list[str], list[str] | None]]:
    """Yields the first line's number, the lines and the cells of each record; None for cells that can't be parsed."""
    lines: list[str] = []

    def recorded() -> Iterator[str]:
        for line in stream:
            lines.append(line)
            yield line

    reader = csv.reader(recorded(), **settings)
    while True:
        lines.clear()
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield start, lines, None
        else:
            yield start, lines, cells


def _value(cell: str) -> str:
    """Returns the beginning of a cell without quotes around it; all numbers are alike."""
    return _DIGITS.sub("0", cell[:_SHOWN].rstrip().strip('"'))


def _n_fitting(record: _Record, width: int) -> int:
    """Returns how many lines of a record have as many cells as the header."""
    return sum(len(cells) == width for cells in record.lines)


def _are_rows(record: _Record, file: _File, width: int) -> bool:
    """Whether the lines of a record are rows that a quote merged.

    If columns repeat their values, those of the lines decide. Otherwise all lines must look like rows, and the file
    must not speak for a text in quotes.
    """
    if width < 2:
        return False
    are_known = [
        len(cells) == width and cells[place] in values
        for place, values in enumerate(file.values)
        if values
        for cells in _deciding(record, place)
    ]
    if are_known:
        return sum(are_known) >= len(are_known) / 2
    n = sum(_looks_like_row(cells, file, width) for cells in record.lines)
    if n < _ROWS_SHARE * len(record.lines):
        return False
    return not (file.has_commas and file.is_quoted and len(record.lines) <= _FEW_LINES)


def _deciding(record: _Record, place: int) -> Sequence[tuple[str, ...]]:
    """Returns the lines whose cell of a column is inside quotes: without the line that has the record's own cell."""
    first, last = record.places
    if first <= place <= last:
        return ()
    lines = record.lines[1:] if place < first else record.lines[:-1]
    return [cells for cells in lines if any(cell.strip() for cell in cells)]


def _looks_like_row(cells: Sequence[str], file: _File, width: int) -> bool:
    """Whether a line has as many cells as the header and ends in a value; in a text a space follows a comma."""
    if len(cells) != width or not cells[-1].strip():
        return False
    return file.has_spaces or not any(cell.startswith(" ") for cell in cells[1:])
