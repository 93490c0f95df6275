"""Decides on the whole file how the cells of a CSV file are quoted, and says why.

A quote that is not closed swallows the lines after it: rows go, or hold the answers of other rows, and every record
looks right. So each way of reading is tried, and the lines that it would lose are counted.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final

from rungwise.config import SourceSettings
from rungwise.dataset.readers.opened import ending, opened_text

_DELIMITER_LINE: Final = re.compile(r"\"?sep=(.)\"?\r?\n?", re.IGNORECASE)
"""A first line that names the delimiter, as Excel writes and reads it."""
_FEW: Final = 0.2
"""The last column has classes if at most this share of its values are different."""
_MOST_WRAPPED: Final = 0.5
"""Quotes are not ordinary characters if more than this share of the lines with quotes has a cell inside quotes."""


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is read."""

    delimiter: str
    quotes: bool
    """Whether cells can be in quotes."""
    escape: str | None
    """The character that makes a quote in a cell ordinary; None if quotes are doubled."""
    line: int = 0
    """The first line that was decided about, or is doubtful."""
    why: str = ""
    """What was decided or is doubtful, and why; empty if there was nothing to decide."""
    n_skipped: int = 0
    """Number of lines before the header."""

    @property
    def reader_settings(self) -> dict[str, Any]:
        """The arguments of `csv.reader`."""
        quoting = csv.QUOTE_MINIMAL if self.quotes else csv.QUOTE_NONE
        return {"delimiter": self.delimiter, "quoting": quoting, "escapechar": self.escape, "strict": True}


@dataclass(frozen=True)
class _Trial:
    """How many lines one way of reading would lose."""

    dialect: Dialect
    n_lost: int
    n_merged: int
    """Lines among them that would be merged with others into one row."""
    line: int
    """The first of them; 0 if there is none."""


def dialect_of(source: SourceSettings, path: Path) -> Dialect:
    """Returns how a CSV file is read; settings that the source has are kept."""
    named = named_delimiter(source, path)
    delimiter = source.delimiter or named or ("\t" if ending(path) in (".tsv", ".txt") else ",")
    decided = _decided(source, path, delimiter)
    return replace(decided, n_skipped=1) if named else decided


def named_delimiter(source: SourceSettings, path: Path) -> str | None:
    """Returns the delimiter that a first line such as `sep=;` names; None if the file does not begin with one."""
    with opened_text(source, path, newline="") as stream:
        match = _DELIMITER_LINE.fullmatch(stream.readline(10))
    return match[1] if match else None


@contextmanager
def opened_csv(source: SourceSettings, path: Path) -> Iterator[IO[str]]:
    """Context with the text of a CSV file from its header on (see `opened.opened_text`), line ends as in the file."""
    is_named = named_delimiter(source, path) is not None
    with opened_text(source, path, newline="") as stream:
        if is_named:
            stream.readline()
        yield stream


def _decided(source: SourceSettings, path: Path, delimiter: str) -> Dialect:
    given = Dialect(delimiter, source.quotes is not False, source.escape)
    if source.quotes is False or not _is_doubtful(source, path):
        return given
    trials = [_trial(source, path, given)]
    if source.quotes is None and source.escape is None and trials[0].n_lost:
        trials.append(_trial(source, path, Dialect(delimiter, True, "\\")))
        if not _has_wrapped_cells(source, path, delimiter):
            trials.append(_trial(source, path, Dialect(delimiter, False, None)))
    first, best = trials[0], min(trials, key=lambda trial: trial.n_lost)
    if best is first:
        why = (
            f"{first.n_merged:,} lines look like whole rows but stand inside quotes, from line {first.line} on: each "
            "run of them is read as one row. If a quote is not closed there, close it, or set `quotes: false`"
        )
        return Dialect(delimiter, given.quotes, given.escape, first.line, why if first.n_merged else "")
    how = "quotes are ordinary characters and every line is a row"
    if best.dialect.quotes:
        how = r"a quote inside a cell is written \""
    why = f"{how}: otherwise {first.n_lost:,} lines would be lost or merged, from line {first.line} on"
    return Dialect(delimiter, best.dialect.quotes, best.dialect.escape, first.line, why)


def _is_doubtful(source: SourceSettings, path: Path) -> bool:
    """Whether a line has an odd number of quotes, or an escaped one: otherwise no record spans several lines."""
    with opened_text(source, path) as stream:
        while block := stream.readlines(2**20):
            if '"' in (text := "".join(block)) and ('\\"' in text or any(line.count('"') % 2 for line in block)):
                return True
    return False


def _trial(source: SourceSettings, path: Path, dialect: Dialect) -> _Trial:
    """Counts the lines that one way of reading would lose or merge.

    Lines inside quotes that have as many delimiters as a row are rows by mistake, unless the last column has few
    different values and theirs are others: then they are lines of a text.
    """
    n_lost = n_merged = first = width = 0
    lines: list[str] = []
    ends: Counter[str] = Counter()
    merged: list[tuple[int, int, list[str]]] = []

    def recorded(stream: Iterator[str]) -> Iterator[str]:
        for line in stream:
            lines.append(line)
            yield line

    with opened_csv(source, path) as stream:
        reader = csv.reader(recorded(stream), **dialect.reader_settings)
        while True:
            lines.clear()
            start = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                break
            except csv.Error:
                cells = None
            n = reader.line_num - start + 1
            if cells and not width:
                width = len(cells)
                continue
            if cells is None or (cells and len(cells) != width):
                n_lost, first = n_lost + n, first or start
            elif n > 1 and _are_rows(lines, dialect.delimiter, width):
                merged.append((start, n, [line.rstrip().rpartition(dialect.delimiter)[2] for line in lines]))
            elif cells:
                ends[cells[-1].strip()] += 1
    are_classes = bool(ends) and len(ends) <= _FEW * sum(ends.values())
    for start, n, last in merged:
        inner = [end.strip('" ') for end in last[:-1] if end.strip()]  # the last line ends as the record does
        if not are_classes or sum(end in ends for end in inner) >= len(inner) / 2:
            n_lost, n_merged, first = n_lost + n, n_merged + n, min(first or start, start)
    return _Trial(dialect, n_lost, n_merged, first)


def _are_rows(lines: list[str], delimiter: str, width: int) -> bool:
    """Whether each of these lines has the header's number of fields if quotes are ordinary characters."""
    return width > 1 and all(line.count(delimiter) == width - 1 for line in lines if line.strip())


def _has_wrapped_cells(source: SourceSettings, path: Path, delimiter: str) -> bool:
    """Whether the file quotes its cells: most of the lines with quotes have a cell that begins and ends with one."""
    quoted = wrapped = 0
    with opened_text(source, path) as stream:
        for line in stream:
            if '"' in line:
                quoted += 1
                cells = line.rstrip("\n").split(delimiter)
                wrapped += any(len(c) > 1 and c[0] == '"' == c[-1] for c in cells)
    return wrapped > _MOST_WRAPPED * quoted
