"""Confidence intervals for mean scores from 0 to 1 and for their paired differences, corrected for lineage groups.

Means: Wilson's score interval (Wilson, 1927, doi:10.1080/01621459.1927.10502953) with the effective number of rows
(Korn and Graubard, 1998): the number of independent rows whose mean would have the variance that the lineage groups
show, so that ten duplicates of one question do not count as ten rows. The variance of the groups is itself an estimate:
where few of them contribute to it, it is drawn towards that of groups with equal scores; and Student's t with the
number of groups replaces the normal quantile. Paired differences: Agresti and Min, 2005
(doi:10.1002/sim.1781): half an observation is added to each of the four cells, so that the interval never has zero
width; the same is added if scores are fractions. Macro F1: a bootstrap over the groups.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

from rungwise.core.records import Interval

MIN_GROUPS = 20
"""With fewer lineage groups, the scatter between groups is not known well enough for a bound."""
SHRINKAGE = 0.5
"""How many contributing groups the design effect of equal scores counts for; the best of 0.25 to 2 in simulations."""
POWER = 0.8
"""The probability with which a stated number of rows shows what it is said to show."""
MAX_ROWS = 10_000_000
"""Upper bound of the search for a number of rows."""


def quantile(confidence: float) -> float:
    """Returns the two-sided standard normal quantile, 1.96 for 0.95."""
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def student(probability: float, degrees: int) -> float:
    """Returns the quantile of Student's t distribution with `degrees` degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def wilson(share: float, n: float, confidence: float) -> tuple[float, float]:
    """Returns Wilson's interval for a share of `n` observations; `n` is above 0 and may be a fraction."""
    z = quantile(confidence)
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # exactly 0 and 1 at the ends, as rounding could miss them
    low = 0.0 if share == 0 else max(0.0, middle - half)
    return low, 1.0 if share == 1 else min(1.0, middle + half)


def has_few_groups(groups: Sequence[str]) -> bool:
    """Whether rows belong to so few lineage groups that no gate can judge them; rows of their own are no groups."""
    return len(set(groups)) < min(len(groups), MIN_GROUPS)


def usual_size(groups: Sequence[str]) -> float:
    """Returns the mean size of a row's group: the design effect of groups whose scores are all equal."""
    return sum(size * size for size in Counter(groups).values()) / len(groups)


def effective_n(values: Sequence[float], groups: Sequence[str]) -> float:
    """Returns n divided by the design effect of the groups, at most n.

    The effect that the groups show is drawn towards the one of groups whose scores are all equal, the more the fewer
    groups contribute to it. It is at least one: scores that cancel out within the groups don't count as more rows.
    """
    n, mean = len(values), math.fsum(values) / len(values)
    n_groups, equal = len(set(groups)), usual_size(groups)
    if n_groups == n:
        return float(n)
    residuals: dict[str, float] = defaultdict(float)
    for value, group in zip(values, groups, strict=True):
        residuals[group] += value - mean
    simple = math.fsum((v - mean) ** 2 for v in values)
    squares = math.fsum(r**2 for r in residuals.values())
    fourths = math.fsum(r**4 for r in residuals.values())
    return _effective(n, n_groups, equal, simple, squares, fourths)


def effective_n_right(right: Any, groups: Any) -> float:
    """Returns `effective_n` of zeros and ones; many times as fast.

    Args:
        right: array of shape (rows,), 0 or 1.
        groups: array of shape (rows,), the number of each row's group, 0 or more.
    """
    import numpy as np

    n, sizes_G = len(right), np.bincount(groups)
    sums_G, mean = np.bincount(groups, weights=right), float(np.mean(right))
    n_groups, equal = int(np.count_nonzero(sizes_G)), float((sizes_G**2).sum()) / n
    if n_groups == n:
        return float(n)
    residuals_G = sums_G - mean * sizes_G
    simple = n * mean * (1 - mean)
    return _effective(n, n_groups, equal, simple, float((residuals_G**2).sum()), float((residuals_G**4).sum()))


def _effective(n: int, n_groups: int, equal: float, simple: float, squares: float, fourths: float) -> float:
    """Returns n divided by the design effect.

    Args:
        n: rows.
        n_groups: lineage groups.
        equal: the design effect of groups whose scores are all equal.
        simple: the sum of the rows' squared distances from the mean.
        squares: the sum of the groups' squared residuals.
        fourths: the sum of their fourth powers.
    """
    if simple == 0 or fourths == 0 or n_groups < 2:
        return n / equal
    shown = max(1.0, squares / simple * n_groups / (n_groups - 1))
    contributing = squares**2 / fourths
    return n * (contributing + SHRINKAGE) / (contributing * shown + SHRINKAGE * equal)


def mean_interval(values: Sequence[float], groups: Sequence[str], confidence: float) -> Interval | None:
    """Returns the mean of scores from 0 to 1 with its interval; None without values."""
    if not values:
        return None
    total, n_groups, z = math.fsum(values), len(set(groups)), quantile(confidence)
    mean = min(1.0, total / len(values))
    n = effective_n(values, groups)
    if 1 < n_groups < len(values):
        n *= (z / student(0.5 + confidence / 2, n_groups - 1)) ** 2
    # Fractions vary less than zeros and ones with that mean. Where low scores are rare, few or none are among the rows:
    # z^2 / 2 groups of the usual size with a score of 0 are added, as many failures as Agresti and Coull (1998) add.
    rows = len(values) + z * z / 2 * usual_size(groups)
    moved = total / rows
    variance = math.fsum(v * v for v in values) / rows - moved * moved
    if 0 < variance < moved * (1 - moved):
        n *= moved * (1 - moved) / variance
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


def paired_lower(differences: Sequence[float], groups: Sequence[str], confidence: float) -> float | None:
    """Returns the one-sided lower end of a mean paired difference, -1 to 1; None with fewer than 20 groups.

    Student's t of the groups' means, after one more row was added whose difference is -1: rows that show no difference
    at all can't show that there is none.

    Args:
        differences: first minus second score of each row, -1 to 1.
        groups: each row's lineage group.
        confidence: of the one-sided bound, 0 to 1.
    """
    sums: dict[str, float] = defaultdict(float)
    sizes: dict[str, int] = defaultdict(int)
    for difference, group in zip(differences, groups, strict=True):
        sums[group] += difference
        sizes[group] += 1
    if len(sums) < MIN_GROUPS:
        return None
    n, total = len(differences) + 1, math.fsum(differences) - 1
    mean = total / n
    squares = math.fsum((sums[g] - mean * sizes[g]) ** 2 for g in sums) + (-1 - mean) ** 2
    n_groups = len(sums) + 1
    error = math.sqrt(squares * n_groups / (n_groups - 1)) / n
    return max(-1.0, mean - student(confidence, n_groups - 1) * error)


def macro_f1_interval(pairs: Sequence[tuple[str, str | None]], groups: Sequence[str], confidence: float) -> Interval:
    """Returns the mean F1 over the labels of (expected, answered) pairs, of which there is at least one.

    None stands for a missing answer: it is never right, and has no F1 of its own.

    The interval comes from the quantiles of 1,000 resamples of whole groups. The mean of a resample leaves out labels
    that occur on neither side.
    """
    import numpy as np

    names = {name for pair in pairs for name in pair if name is not None}
    labels = {name: i for i, name in enumerate(sorted(names))}
    places = {name: i for i, name in enumerate(sorted(set(groups)))}
    counts_GL3 = np.zeros((len(places), len(labels), 3))  # right, expected, answered
    for (expected, answered), group in zip(pairs, groups, strict=True):
        row = counts_GL3[places[group]]
        row[labels[expected], 0] += expected == answered
        row[labels[expected], 1] += 1
        if answered is not None:
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


def rows_needed(score: Interval, bar: float, power: float = POWER) -> int | None:
    """Returns the rows for which the interval of a new sample reaches `bar` with probability `power`.

    It is assumed that `score.value` is the truth, and that new rows depend on one another as those behind the score do:
    the design effect follows from the width of its interval.

    Args:
        score: a mean score from 0 to 1.
        bar: from 0 to 1.
        power: the probability, 0.5 to 1. At 0.5 the score itself would reach the bar, which half of all samples miss.

    Returns:
        None if no number of rows would do, up to MAX_ROWS independent ones.
    """
    value, z = score.value, quantile(score.confidence)
    below = NormalDist().inv_cdf(power)

    def reaches(n: int) -> bool:
        seen = value - below * math.sqrt(value * (1 - value) / n)
        return seen > 0 and wilson(seen, n, score.confidence)[0] >= bar

    if value <= bar or not reaches(MAX_ROWS):
        return None
    low, high = 1, MAX_ROWS
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle + 1, high)
    # the lower end L of Wilson's interval solves (value - L)^2 = z^2 L (1 - L) / n
    independent = z * z * score.low * (1 - score.low) / max((value - score.low) ** 2, 1e-12)
    return math.ceil(round(low * (score.n / independent if independent else 1.0), 6))


def share_needed(n: int, bar: float, confidence: float) -> float | None:
    """Returns the smallest share of `n` rows whose interval reaches `bar`; None if even a share of 1 does not."""
    for n_right in range(math.ceil(bar * n), n + 1):
        if wilson(n_right / n, n, confidence)[0] >= bar:
            return n_right / n
    return None
