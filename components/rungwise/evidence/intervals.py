"""Intervals for means of scores from 0 to 1 and for their paired differences, honest about rows that belong together.

Means: Wilson's score interval (Wilson, 1927, doi:10.1080/01621459.1927.10502953) on the effective number of rows
(Korn and Graubard, 1998): as many rights and wrongs as would estimate such a share with the variance that the
lineage groups show, so that ten copies of one question don't count as ten. Paired differences: Agresti and Min,
2005 (doi:10.1002/sim.1781): half an observation added to each of the four cells, which keeps the interval from
having zero width; the same is added where differences are fractions. Macro F1: a bootstrap over the groups.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

from rungwise.core.records import Interval

MOST_ROWS = 10_000_000
"""What more rows than these would show is not asked."""


def quantile(confidence: float) -> float:
    """Returns the two-sided standard normal quantile, 1.96 for 0.95."""
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def wilson(share: float, n: float, confidence: float) -> tuple[float, float]:
    """Returns Wilson's interval for a share of `n` observations; `n` need not be whole and must be above 0."""
    z = quantile(confidence)
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # exactly 0 and 1 at the ends, where rounding would leave a last bit
    low = 0.0 if share == 0 else max(0.0, middle - half)
    return low, 1.0 if share == 1 else min(1.0, middle + half)


def effective_n(values: Sequence[float], groups: Sequence[str]) -> float:
    """Returns n divided by the design effect of the groups, at most n.

    Where every value is equal the design effect can't be seen, and the number of groups is returned. Where the
    values cancel out within every group the effect is below one, and n is returned.
    """
    n, mean = len(values), math.fsum(values) / len(values)
    residuals: dict[str, float] = defaultdict(float)
    for value, group in zip(values, groups, strict=True):
        residuals[group] += value - mean
    n_groups = len(residuals)
    if n_groups == n:
        return float(n)
    simple = math.fsum((v - mean) ** 2 for v in values) / n
    if simple == 0 or n_groups < 2:
        return float(n_groups)
    clustered = math.fsum(r * r for r in residuals.values()) / n * n_groups / (n_groups - 1)
    return n * simple / clustered if clustered > simple else float(n)


def mean_interval(values: Sequence[float], groups: Sequence[str], confidence: float) -> Interval | None:
    """Returns the mean of scores from 0 to 1 with its interval; None where there are none."""
    if not values:
        return None
    mean = min(1.0, math.fsum(values) / len(values))
    n = effective_n(values, groups)
    variance = math.fsum((v - mean) ** 2 for v in values) / len(values)
    if 0 < variance < mean * (1 - mean):  # fractions scatter less than rights and wrongs with that mean would
        n *= mean * (1 - mean) / variance
    low, high = wilson(mean, n, confidence)
    return Interval(mean, low, high, len(values), confidence)


def paired_difference(
    first: Sequence[float], second: Sequence[float], groups: Sequence[str], confidence: float
) -> Interval | None:
    """Returns mean(first) - mean(second) on the same rows, with its interval; None without rows."""
    if not first:
        return None
    differences = [float(a) - float(b) for a, b in zip(first, second, strict=True)]
    n = len(differences)
    scale = effective_n(differences, groups) / n
    total, gained = n * scale + 2, math.fsum(differences) * scale
    squares = math.fsum(d * d for d in differences) * scale + 1
    middle = gained / total
    spread = math.sqrt(max(0.0, squares - gained**2 / total)) / total
    half = quantile(confidence) * spread
    value = math.fsum(differences) / n
    return Interval(value, max(-1.0, min(value, middle - half)), min(1.0, max(value, middle + half)), n, confidence)


def macro_f1_interval(pairs: Sequence[tuple[str, str]], groups: Sequence[str], confidence: float) -> Interval:
    """Returns the mean F1 over the labels of (expected, answered) pairs, of which there is at least one.

    The interval is the middle of 1,000 resamples of whole groups; a label that a resample lacks is left out of its
    mean, as it is where neither side has it.
    """
    import numpy as np

    labels = {name: i for i, name in enumerate(sorted({name for pair in pairs for name in pair}))}
    places = {name: i for i, name in enumerate(sorted(set(groups)))}
    counts_GL3 = np.zeros((len(places), len(labels), 3))  # right, expected, answered
    for (expected, answered), group in zip(pairs, groups, strict=True):
        row = counts_GL3[places[group]]
        row[labels[expected], 0] += expected == answered
        row[labels[expected], 1] += 1
        row[labels[answered], 2] += 1

    def macro(counts_L3: Any) -> float:
        seen = counts_L3[:, 1] + counts_L3[:, 2]
        return float((2 * counts_L3[:, 0] / np.maximum(seen, 1))[seen > 0].mean())

    draws_SG = np.random.default_rng(0).multinomial(len(places), np.full(len(places), 1 / len(places)), size=1000)
    resampled_SL3 = np.tensordot(draws_SG, counts_GL3, axes=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile([macro(counts) for counts in resampled_SL3], [tail, 1 - tail])
    value = macro(counts_GL3.sum(0))
    return Interval(value, min(value, float(low)), max(value, float(high)), len(pairs), confidence)


def rows_needed(share: float, bar: float, confidence: float) -> int | None:
    """Returns the fewest rows with which an observed `share` would show `bar`; None if no number would."""
    if share <= bar or wilson(share, MOST_ROWS, confidence)[0] < bar:
        return None
    low, high = 1, MOST_ROWS
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if wilson(share, middle, confidence)[0] >= bar else (middle + 1, high)
    return low


def share_needed(n: int, bar: float, confidence: float) -> float | None:
    """Returns the smallest share that `n` rows can observe and show `bar` with; None if even all right do not."""
    for right in range(math.ceil(bar * n), n + 1):
        if wilson(right / n, n, confidence)[0] >= bar:
            return right / n
    return None
