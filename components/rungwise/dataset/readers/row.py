"""The result of reading one row: its cells, or the reason why it can't be read; and notes about a whole file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rungwise.config import SourceSettings
from rungwise.dataset.readers.cells import Cell

LOST_BYTE: Final = re.compile("[\udc80-\udcff]")
"""The characters that `surrogateescape` puts in place of bytes that are not valid in the encoding."""


@dataclass(frozen=True)
class Row:
    """A row that could be read."""

    line: int
    values: Mapping[str, Cell]
    """Column -> text, or a tuple of texts where the file has a list; None if the cell is empty."""


@dataclass(frozen=True)
class Bad:
    """A row that could not be read."""

    line: int
    reason: str
    detail: str
    """What is wrong with the row, without any of its text."""


@dataclass(frozen=True)
class Note:
    """What a reader decided about a whole file, or what it doubts."""

    line: int
    """The first line that it is about."""
    text: str
    """One sentence without its full stop and without any text of a row."""


def encoding_of(source: SourceSettings) -> str:
    """Returns the source's encoding; for UTF-8 the variant that skips a byte order mark at the start."""
    return "utf-8-sig" if source.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else source.encoding


def has_lost_bytes(text: str) -> bool:
    """Whether the text replaces bytes that are not valid in its encoding."""
    return not text.isascii() and LOST_BYTE.search(text) is not None


def checked(line: int, values: Mapping[str, Cell]) -> Row | Bad:
    """Returns the row, or `Bad` if a cell holds invalid bytes or NUL characters."""
    for name, cell in values.items():
        for text in (cell,) if isinstance(cell, str) else cell or ():
            if has_lost_bytes(text):
                return Bad(line, "not_utf8", f"column {name} holds bytes that are not text in the source's encoding")
            if "\0" in text:
                return Bad(line, "nul", f"column {name} holds NUL characters")
    return Row(line, values)
