"""The probability from which a model's own answers are used, so that a stated share of them is right.

Learn then Test (Angelopoulos et al., 2021, arXiv:2110.01052): thresholds are tested from the highest to lower ones,
each with the exact binomial test that answers at or above it are wrong too often, and the tests continue as long as
they reject that. There are two starts, each with half of the level (fixed-sequence testing with several starts; Bauer,
1991): few rows, all of which have to be right, and half of the rows. With the first start alone, a single wrong label
among the surest rows leaves no threshold: `benchmarks/gates.py` has the figures. Rows of one lineage group count as
fewer rows, by the design effect that they show.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rungwise.core.gate_reasons import Threshold, ThresholdOnTest
from rungwise.core.records import Prediction
from rungwise.evidence.intervals import effective_n_right, has_few_groups, mean_interval, usual_size
from rungwise.evidence.metrics import Metric

STEPS: Final = 100
"""About how many thresholds are tested."""
STARTS: Final = 2
"""How many sequences of tests share the level."""
REFUTED: Final = 0.95
"""The one-sided confidence with which test rows have to show that a goal is missed."""


@dataclass(frozen=True)
class Sure:
    """The rows of a model with an answer, the surest first."""

    probabilities: Sequence[float]
    right: Sequence[bool]
    groups: Sequence[str]
    rows: int
    """All rows, those without an answer included."""


def is_right(metric: Metric, prediction: Prediction) -> bool:
    """Whether an answer is entirely right: its score is 1."""
    return prediction.answer is not None and metric(prediction) >= 1 - 1e-9


def surest_first(metric: Metric, predictions: Sequence[Prediction]) -> Sure:
    """Returns the rows with an answer, the surest first; rows of equal probability in the order of their ids."""
    answered = sorted((p for p in predictions if p.answer is not None), key=lambda p: (-p.probability, p.id))
    return Sure(
        [p.probability for p in answered],
        [is_right(metric, p) for p in answered],
        [p.group for p in answered],
        len(predictions),
    )


def threshold(sure: Sure, goal: float, confidence: float) -> Threshold:
    """Returns the lowest probability from which answers are shown to be right often enough.

    With probability `confidence` over the choice of the rows, at least the share `goal` of the answers at or above it
    is right. Rows of fewer than 20 lineage groups show no threshold.

    Args:
        sure: the answered rows, the surest first.
        goal: the share of right answers, above 0 and below 1.
        confidence: above 0 and below 1.
    """
    p_value = Chances(sure, goal)
    level = (1 - confidence) / STARTS
    least = math.ceil(math.log(level) / math.log(goal))
    ends = candidates(sure, least)
    best = 0
    for start in starts(len(ends)):
        for end in ends[start:]:
            if p_value(end) > level:
                break
            best = max(best, end)
    if not best or has_few_groups(sure.groups):
        return Threshold(None, goal, confidence, 0, sure.rows, least)
    return Threshold(sure.probabilities[best - 1], goal, confidence, best, sure.rows, least)


def starts(n: int) -> list[int]:
    """Returns the places of the starts among n candidates: the first, and the middle."""
    return sorted({0, n // STARTS}) if n else []


def candidates(sure: Sure, least: int) -> list[int]:
    """Returns how many of the surest rows are tested together, ascending; each ends where the probability changes.

    The first are `least` rows, times the usual size of a group.
    """
    n = len(sure.probabilities)
    first = math.ceil(least * usual_size(sure.groups)) if n else 1
    ends = [*range(first, n, max(1, n // STEPS)), n] if first <= n else []
    falling = [-p for p in sure.probabilities]
    return sorted({bisect_right(falling, falling[end - 1]) for end in ends})


class Chances:
    """The p-values that the share of right answers is below a goal, from the surest rows.

    The exact binomial test; with a design effect, rows and errors are divided by it.
    """

    def __init__(self, sure: Sure, goal: float) -> None:
        import numpy as np

        self._goal = goal
        self._right = np.array(sure.right, dtype=float)
        numbers: dict[str, int] = {}
        self._groups = np.array([numbers.setdefault(group, len(numbers)) for group in sure.groups], dtype=int)

    def __call__(self, n: int) -> float:
        """Returns the p-value from the n surest rows, of which there is at least one."""
        from scipy.special import betainc

        right = float(self._right[:n].sum())
        scale = effective_n_right(self._right[:n], self._groups[:n]) / n
        return float(betainc(right * scale, (n - right) * scale + 1, self._goal)) if right else 1.0


def on_test(found: Threshold, metric: Metric, predictions: Sequence[Prediction]) -> ThresholdOnTest | None:
    """Returns what test rows show about a threshold; None where there is no threshold."""
    if found.at is None:
        return None
    used = [p for p in predictions if p.answer is not None and p.probability >= found.at]
    right = mean_interval([float(is_right(metric, p)) for p in used], [p.group for p in used], 2 * REFUTED - 1)
    return ThresholdOnTest(right, found.goal, len(predictions), right is None or right.high >= found.goal)
