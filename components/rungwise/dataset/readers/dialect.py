"""Decides on the whole file how the cells of a CSV file are quoted, and says why.

A quote that is not closed swallows the lines after it: rows go, or hold the answers of other rows, and every record
looks right. So each way of reading is tried, and the lines that it would lose are counted.
"""

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final

from rungwise.config import SourceSettings
from rungwise.core.texts import number_of
from rungwise.dataset.readers.csv_trial import Trial, trial
from rungwise.dataset.readers.opened import ending, opened_text

_DELIMITER_LINE: Final = re.compile(r"\"?sep=(.)\"?\r?\n?", re.IGNORECASE)
"""A first line that names the delimiter, as Excel writes and reads it."""
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
    if source.quotes is False or not _is_doubtful(source, path, delimiter):
        return given
    first = _trial(source, path, given)
    bad_lines = {given: first.n_bad}
    if source.quotes is None and source.escape is None and first.n_bad:
        escaped, plain = Dialect(delimiter, True, "\\"), Dialect(delimiter, False, None)
        bad_lines[escaped] = _trial(source, path, escaped).n_bad
        if not _has_wrapped_cells(source, path, delimiter):
            bad_lines[plain] = _trial(source, path, plain).n_bad + first.n_inside
    best = min(bad_lines, key=lambda dialect: bad_lines[dialect])
    if best == given:
        why = (
            f"{number_of(first.n_merged, 'line')} inside quotes, from line {first.merged_line} on, could be "
            "whole rows: each run of them is read as one row. If a quote is not closed there, close it, or set "
            "`quotes: false`"
        )
        return replace(given, line=first.merged_line, why=why) if first.n_merged else given
    how = "quotes are ordinary characters and every line is a row"
    if best.quotes:
        how = r"a quote inside a cell is written \""
    why = f"{how}: otherwise {number_of(first.n_bad, 'line')} would be lost or merged, from line {first.line} on"
    if first.n_inside and not best.quotes:
        why += (
            f". {number_of(first.n_inside, 'line')} that may be a part of a text in quotes (from line "
            f"{first.inside_line} on) {'is a row' if first.n_inside == 1 else 'are rows'}, too: write such a "
            "text on one line"
        )
    return replace(best, line=first.line, why=why)


def _trial(source: SourceSettings, path: Path, dialect: Dialect) -> Trial:
    with opened_csv(source, path) as stream:
        return trial(stream, dialect.reader_settings)


def _is_doubtful(source: SourceSettings, path: Path, delimiter: str) -> bool:
    """Whether quotes can be read in several ways.

    So it is if a line has an odd number of them, or an escaped one, or text after the quote that ends a quoted part.
    """
    between = re.escape(delimiter)
    text_after = re.compile(rf'(?:^|{between})"(?:[^"]|"")*+"(?!"|{between}|[\r\n]|$)')
    with opened_text(source, path) as stream:
        while block := stream.readlines(2**20):
            for line in block:
                if '"' in line and (line.count('"') % 2 or '\\"' in line or text_after.search(line)):
                    return True
    return False


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
