"""Prepares texts for comparison: as plain words, and without the words that all share at the ends."""

from collections.abc import Sequence

from rungwise.core.texts import folded, normalised, words_of


def plain(text: str) -> str:
    """Returns the text's normalised words, separated by one space; a text without words is only normalised.

    What counts as a word: see `core.texts`.
    """
    return " ".join(words_of(folded(text))) or normalised(text)


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
