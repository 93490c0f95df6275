"""Where a model falls short: labels, sources and lengths on which it is shown to be below the bar."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final, Literal, TypeAlias

from rungwise.core.climb_reasons import WeakSlice
from rungwise.core.records import Example, Prediction
from rungwise.evidence.intervals import mean_interval
from rungwise.evidence.metrics import Metric

MOST: Final = 3
"""Upper bound of the slices that are named."""
LEAST: Final = 10
"""A slice has at least this many rows."""
Kind: TypeAlias = Literal["label", "source", "length"]


def weak_slices(
    metric: Metric, predictions: Sequence[Prediction], rows: Sequence[Example], target: float, confidence: float
) -> tuple[WeakSlice, ...]:
    """Returns the slices that cost the score most, of those that are shown to be below the bar and below all rows.

    The more slices there are, the surer each has to be (Bonferroni's correction), so that among slices which all reach
    the bar, none is named with the stated confidence. They are sorted by their distance from the bar times their rows.

    Args:
        metric: scores one prediction.
        predictions: the answers to the validation rows.
        rows: the validation rows; those without a prediction are left out.
        target: the bar, 0 to 1.
        confidence: of the intervals, 0 to 1.
    """
    answered = {p.id: p for p in predictions}
    known = [row for row in rows if row.id in answered]
    slices = [one for one in _slices(metric, known) if len(known) > len(one[2]) >= LEAST]
    mean = sum(metric(answered[row.id]) for row in known) / max(1, len(known))
    weak = []
    for kind, name, chosen in slices:
        scores = [metric(answered[row.id]) for row in chosen]
        groups = [row.group for row in chosen]
        corrected = mean_interval(scores, groups, 1 - (1 - confidence) / len(slices))
        shown = mean_interval(scores, groups, confidence)
        if corrected and shown and corrected.high < min(target, mean):
            weak.append(WeakSlice(kind, name, shown, len(known), target))
    return tuple(sorted(weak, key=lambda one: (one.score.value - target) * one.score.n)[:MOST])


def _slices(metric: Metric, rows: Sequence[Example]) -> Iterator[tuple[Kind, str, list[Example]]]:
    """Yields the kind, the name and the rows of each slice."""
    kinds: tuple[Kind, ...] = ("label", "source") if metric.form.format == "label" else ("source",)
    for kind in kinds:
        parts: dict[str, list[Example]] = defaultdict(list)
        for row in rows:
            parts[row.answer if kind == "label" else row.source].append(row)
        for name, chosen in sorted(parts.items()):
            yield kind, name, chosen
    third, by_length = len(rows) // 3, sorted(rows, key=lambda row: (_length(row), row.id))
    if third and _length(by_length[third - 1]) < _length(by_length[len(rows) - third]):
        yield "length", "shortest third", by_length[:third]
        yield "length", "longest third", by_length[len(rows) - third :]


def _length(row: Example) -> int:
    return sum(map(len, row.fields.values()))
