"""Measures how much the rows changed between two versions: labels, lengths, words and sources.

Reads tables or saved profiles; returns a number and a sentence for each. The statistic is the total variation distance
of two sets of shares: half the sum of their absolute differences, 0 for equal sets, 1 for disjoint ones. Small samples
differ by chance. The expected difference (mean absolute deviation of a binomial share, normal approximation) does not
count as drift.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rungwise.config import DriftSettings
from rungwise.core.table import Table
from rungwise.dataset.similar import plain

WORDS: Final = 1_000
"""How many of the most frequent words are compared one by one; all others count as one word."""
REST: Final = "*"
_NAMES: Final = {
    "labels": "the shares of the labels",
    "lengths": "the lengths of the texts",
    "words": "the vocabulary",
    "sources": "the shares of the sources",
    "unseen_labels": "rows with new labels",
}


@dataclass(frozen=True)
class Shift:
    """How much one property of the rows changed between two versions."""

    what: str
    """`labels`, `lengths`, `words`, `sources` or `unseen_labels`."""
    distance: float
    """Total variation distance; for `unseen_labels` a share of rows."""
    chance: float
    """The expected distance by chance alone."""
    threshold: float
    is_over: bool
    sentence: str


def profile(table: Table, *, has_labels: bool) -> dict[str, Any]:
    """Returns the shares that `shifts` compares, without any text: words are replaced by hashes.

    `{"rows", "n_words", "labels", "lengths", "words", "sources"}`; lengths are counted in powers of two of characters.
    """
    texts = table.joined()
    words: Counter[str] = Counter()
    for text in texts:
        words.update(plain(text).split())
    common = dict(words.most_common(WORDS))
    named = {hashlib.blake2b(word.encode(), digest_size=6).hexdigest(): n for word, n in common.items()}
    if rest := sum(words.values()) - sum(common.values()):
        named[REST] = rest
    return {
        "rows": len(table),
        "n_words": sum(words.values()),
        "labels": _shares(Counter(table.answer)) if has_labels else {},
        "lengths": _shares(Counter(str(len(text).bit_length()) for text in texts)),
        "words": _shares(named),
        "sources": _shares(Counter(table.source)),
    }


def shifts(settings: DriftSettings, before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Shift, ...]:
    """Returns the change of each property between two profiles, with its threshold and whether it exceeds it."""
    changes = []
    for what in ("labels", "lengths", "words", "sources"):
        if before[what] and after[what]:
            n = "n_words" if what == "words" else "rows"
            distance, chance, most = _distance(before[what], after[what], before[n], after[n])
            changes.append(
                _shift(what, distance, chance, getattr(settings, what), most if what in ("labels", "sources") else "")
            )
    unseen = {label: share for label, share in after["labels"].items() if label not in before["labels"]}
    if before["labels"]:
        largest = max(unseen, key=lambda label: unseen[label]) if unseen else ""
        changes.append(_shift("unseen_labels", sum(unseen.values()), 0.0, settings.unseen_labels, largest))
    return tuple(changes)


def _shift(what: str, distance: float, chance: float, threshold: float, most: str) -> Shift:
    is_over = distance > threshold + chance
    by_chance = f", about {chance:.0%} of it by chance" if chance >= 0.005 else ""
    verb = "make up" if what == "unseen_labels" else "changed by"
    mostly = f", mostly {most}" if most and distance else ""
    verdict = f"more than the {threshold:.0%} allowed" if is_over else f"{threshold:.0%} is allowed"
    sentence = f"{_NAMES[what]} {verb} {distance:.0%}{by_chance}{mostly}: {verdict}"
    return Shift(what, round(distance, 4), round(chance, 4), threshold, is_over, sentence)


def _shares(counts: Mapping[str, int]) -> dict[str, float]:
    total = sum(counts.values())
    return {name: round(n / total, 6) for name, n in sorted(counts.items())}


def _distance(
    before: Mapping[str, float], after: Mapping[str, float], n_before: int, n_after: int
) -> tuple[float, float, str]:
    """Returns the total variation distance, its expectation by chance alone, and the name that changed most."""
    names = sorted({*before, *after})
    change = {name: after.get(name, 0.0) - before.get(name, 0.0) for name in names}
    chance = 0.0
    for name in names:
        share = (before.get(name, 0.0) * n_before + after.get(name, 0.0) * n_after) / (n_before + n_after)
        chance += math.sqrt(2 / math.pi * max(0.0, share * (1 - share)) * (1 / n_before + 1 / n_after)) / 2
    most = max(names, key=lambda name: abs(change[name]))
    return sum(map(abs, change.values())) / 2, chance, f"{most} ({change[most]:+.0%})"
