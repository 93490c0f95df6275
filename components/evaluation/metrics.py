"""What is measured of a task's predictions."""

from collections.abc import Sequence

from components.evaluation.statistics import paired_difference, share_interval
from components.records import Interval, Prediction


def accuracy(predictions: Sequence[Prediction], confidence: float) -> Interval | None:
    """Returns the share of right answers among the scored rows; None where none was scored."""
    scored = [p for p in predictions if p.answer is not None]
    return share_interval([p.is_correct for p in scored], [p.group for p in scored], confidence)


def accuracy_difference(
    first: Sequence[Prediction], second: Sequence[Prediction], confidence: float
) -> Interval | None:
    """Returns accuracy(first) - accuracy(second) on the rows that both scored; None where there are none."""
    others = {p.id: p for p in second if p.answer is not None}
    pairs = [(p, others[p.id]) for p in first if p.answer is not None and p.id in others]
    return paired_difference(
        [a.is_correct for a, _ in pairs], [b.is_correct for _, b in pairs], [a.group for a, _ in pairs], confidence
    )
