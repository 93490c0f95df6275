"""Scores and differences with their intervals, as sentences have them."""

from rungwise.core.records import Interval
from rungwise.core.texts import number_of

MANY_TIMES = 10
"""If more than this many times the rows are needed, they are not worth their labels: a better rung is advised."""


def ends_text(score: Interval) -> str:
    """Returns a score with its interval, such as `0.950 (0.921 to 0.968)`."""
    return f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f})"


def paired_text(difference: Interval) -> str:
    """Returns a paired difference as part of a sentence, such as `paired on 200 rows: +0.010 (-0.040 to +0.060)`."""
    return f"paired on {number_of(difference.n, 'row')}: {change_text(difference)}"


def change_text(difference: Interval) -> str:
    """Returns a difference with its interval as text, such as `+0.100 (+0.050 to +0.150)`."""
    return f"{_signed(difference.value)} ({_signed(difference.low)} to {_signed(difference.high)})"


def _signed(change: float) -> str:
    """Returns three decimals, more where they would read as zero: an end just above it decides what is better."""
    texts = [f"{change:+.{decimals}f}" for decimals in range(3, 7)]
    return next((text for text in texts if float(text) != 0), "+0.000")
