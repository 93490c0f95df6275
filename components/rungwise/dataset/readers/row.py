"""A row that could be read, or the reason why not."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rungwise.config import SourceSettings

LOST_BYTE: Final = re.compile("[\udc80-\udcff]")
"""What `surrogateescape` makes of a byte that is no text in the encoding."""


@dataclass(frozen=True)
class Row:
    """A row that could be read: column -> text, or None where the cell is empty."""

    line: int
    values: Mapping[str, str | None]


@dataclass(frozen=True)
class Bad:
    """A row that could not be read; `detail` holds nothing of its text."""

    line: int
    reason: str
    detail: str


def encoding_of(source: SourceSettings) -> str:
    """Returns the source's encoding; in UTF-8 a mark of byte order at the start is no text."""
    return "utf-8-sig" if source.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else source.encoding


def has_lost_bytes(text: str) -> bool:
    """Whether a byte was no text."""
    return not text.isascii() and LOST_BYTE.search(text) is not None


def checked(line: int, values: dict[str, str | None]) -> Row | Bad:
    for name, text in values.items():
        if text and has_lost_bytes(text):
            return Bad(line, "not_utf8", f"column {name} holds bytes that are not text in the source's encoding")
        if text and "\0" in text:
            return Bad(line, "nul", f"column {name} holds NUL characters")
    return Row(line, values)
