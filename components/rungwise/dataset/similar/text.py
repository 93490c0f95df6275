"""Prepares texts for comparison: normalised, as plain words, and without the words that all share at the ends."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

WORD: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


def normalised(text: str) -> str:
    """Returns text in NFKC, case-folded, with each run of white space as one space."""
    return " ".join((text if text.isascii() else unicodedata.normalize("NFKC", text)).casefold().split())


def plain(text: str) -> str:
    """Returns the text's normalised words, separated by one space; a text without words is only normalised.

    Every Chinese and Japanese character counts as a word, because these scripts use no spaces.
    """
    folded = (text if text.isascii() else unicodedata.normalize("NFKC", text)).casefold()
    return " ".join(WORD.findall(folded)) or normalised(text)


def without_shared_ends(texts: Sequence[str]) -> list[str]:
    """Returns the texts without the words that all of them start with and all of them end with.

    Otherwise all rows inside one template (`Below is an instruction ... ### Response:`) would be near duplicates.
    """
    if len(texts) < 2:
        return list(texts)
    first, last = min(texts), max(texts)
    head = _common_prefix(first, last)
    head = max(0, 1 + max(first.rfind(" ", 0, head), first.rfind("\n", 0, head))) if head else 0
    backwards = [text[head:][::-1] for text in texts]
    first, last = min(backwards), max(backwards)
    tail = _common_prefix(first, last)
    tail = max(0, 1 + max(first.rfind(" ", 0, tail), first.rfind("\n", 0, tail))) if tail else 0
    return [text[tail:][::-1] for text in backwards]


def _common_prefix(a: str, b: str) -> int:
    """Returns how many characters both texts start with."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
