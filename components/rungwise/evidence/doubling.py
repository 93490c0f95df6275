"""What twice as many training rows would bring, judged by what the last doubling brought.

No more is said than about one doubling: fitted curves said of rows far beyond those at hand were wrong too often.
"""

import math
from typing import Final

from rungwise.core.climb_reasons import Doubling
from rungwise.core.decisions import Curve

FLAT: Final = 0.02
"""A gain below this is not worth twice the rows."""
SHRINKS: Final = 0.5
"""The next doubling brings at least this share of the last one: curves flatten."""


def doubling(curve: Curve) -> Doubling:
    """Returns what twice as many rows would bring: between half and all of what the last doubling brought."""
    last, rows, half = curve.last, curve.points[-1].rows, curve.points[-2].rows
    low, high = bounds(last.low, last.high)
    if high < FLAT:
        return Doubling(curve.rung, rows, half, last, "flat", low, high)
    if last.low > 0:
        return Doubling(curve.rung, rows, half, last, "gains", low, high)
    needed = math.ceil(last.n * ((last.high - last.low) / FLAT) ** 2)
    return Doubling(curve.rung, rows, half, last, "unknown", low, high, needed)


def bounds(low: float, high: float) -> tuple[float, float]:
    """Returns the least and the most that the next doubling brings; `low` and `high`: the interval of the last one."""
    return min(low, SHRINKS * low), max(high, SHRINKS * high)
