"""Intervals for shares and for paired differences of shares, honest about rows that belong together.

Shares: Wilson's score interval (Wilson, 1927, doi:10.1080/01621459.1927.10502953) on the effective number of
rows (Korn and Graubard, 1998: n divided by the design effect of the lineage groups), so that ten copies of one
question don't count as ten. Paired differences: Agresti and Min, 2005 (doi:10.1002/sim.1781): half an
observation added to each of the four cells, which keeps the interval from having zero width.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from statistics import NormalDist

from components.records import Interval


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


def share_interval(correct: Sequence[bool], groups: Sequence[str], confidence: float) -> Interval | None:
    """Returns the share of True with its interval; None where there is nothing to count."""
    if not correct:
        return None
    values = [float(c) for c in correct]
    share = math.fsum(values) / len(values)
    low, high = wilson(share, effective_n(values, groups), confidence)
    return Interval(share, low, high, len(values), confidence)


def paired_difference(
    first: Sequence[bool], second: Sequence[bool], groups: Sequence[str], confidence: float
) -> Interval | None:
    """Returns share(first) - share(second) on the same rows, with its interval; None without rows."""
    if not first:
        return None
    differences = [float(a) - float(b) for a, b in zip(first, second, strict=True)]
    n = len(differences)
    wins, losses = differences.count(1.0), differences.count(-1.0)
    scale = effective_n(differences, groups) / n
    total, better, worse = n * scale + 2, wins * scale + 0.5, losses * scale + 0.5
    middle = (better - worse) / total
    spread = math.sqrt(max(0.0, better + worse - (better - worse) ** 2 / total)) / total
    half = quantile(confidence) * spread
    value = (wins - losses) / n
    return Interval(value, max(-1.0, min(value, middle - half)), min(1.0, max(value, middle + half)), n, confidence)


def rows_needed(share: float, bar: float, confidence: float, limit: int = 10_000_000) -> int | None:
    """Returns the fewest rows with which an observed `share` would show `bar`; None if no number would."""
    if share <= bar or wilson(share, limit, confidence)[0] < bar:
        return None
    low, high = 1, limit
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
