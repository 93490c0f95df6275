"""The result of reading one row: its texts, or the reason why it can't be read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rungwise.config import SourceSettings

LOST_BYTE: Final = re.compile("[\udc80-\udcff]")
"""The characters that `surrogateescape` puts in place of bytes that are not valid in the encoding."""


@dataclass(frozen=True)
class Row:
    """A row that could be read."""

    line: int
    values: Mapping[str, str | None]
    """Column -> text; None if the cell is empty."""


@dataclass(frozen=True)
class Bad:
    """A row that could not be read."""

    line: int
    reason: str
    detail: str
    """What is wrong with the row, without any of its text."""


def encoding_of(source: SourceSettings) -> str:
    """Returns the source's encoding; for UTF-8 the variant that skips a byte order mark at the start."""
    return "utf-8-sig" if source.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else source.encoding


def has_lost_bytes(text: str) -> bool:
    """Whether the text replaces bytes that are not valid in its encoding."""
    return not text.isascii() and LOST_BYTE.search(text) is not None


def checked(line: int, values: dict[str, str | None]) -> Row | Bad:
    """Returns the row, or `Bad` if a cell holds invalid bytes or NUL characters."""
    for name, text in values.items():
        if text and has_lost_bytes(text):
            return Bad(line, "not_utf8", f"column {name} holds bytes that are not text in the source's encoding")
        if text and "\0" in text:
            return Bad(line, "nul", f"column {name} holds NUL characters")
    return Row(line, values)
