"""The ceiling: the highest score that any rung can reach on the validation rows, because of their labels.

A rung gives equal texts equal answers, and answers only labels of the training rows.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from rungwise.core.records import Example
from rungwise.core.texts import normalised


@dataclass(frozen=True)
class Ceiling:
    """The highest accuracy that the labels allow, and the rows that no rung can get right."""

    score: float
    """0 to 1."""
    unknown: int
    """Rows whose label no training row has."""
    contradicting: int
    """Other rows whose text occurs more often with another label."""
    rows: int


def ceiling_of(train: Sequence[Example], dev: Sequence[Example]) -> Ceiling | None:
    """Returns the ceiling of a task whose answers are labels; None without validation rows."""
    if not dev:
        return None
    known = {row.answer for row in train}
    answers: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for row in dev:
        if row.answer in known:
            answers[tuple(normalised(text) for _, text in sorted(row.fields.items()))][row.answer] += 1
    right = sum(max(counts.values()) for counts in answers.values())
    reachable = sum(sum(counts.values()) for counts in answers.values())
    return Ceiling(right / len(dev), len(dev) - reachable, reachable - right, len(dev))
