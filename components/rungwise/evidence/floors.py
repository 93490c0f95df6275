"""Floors: answers that need no training, which every rung must clearly beat.

The answers are the most frequent one of the training rows, and for texts a copy of the input. They are scored on the
validation rows like a rung; the best one is the floor.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from rungwise.core.decisions import Floor
from rungwise.core.prompts import list_text, object_text, parse_list, parse_object
from rungwise.core.records import AnswerForm, Example, Prediction, prediction_of
from rungwise.evidence.metrics import Metric, estimate

FREQUENT: Final = "most frequent answer"
COPY: Final = "copy of the input"
_T = TypeVar("_T", str, tuple[str, ...])


@dataclass(frozen=True)
class FloorAnswers:
    """The floor with its answers to the validation rows."""

    floor: Floor
    predictions: tuple[Prediction, ...]


def floor_of(
    metric: Metric, slots: Sequence[str], train: Sequence[Example], dev: Sequence[Example], confidence: float
) -> FloorAnswers | None:
    """Returns the floor of a task, the first of equals; None without rows. `slots`: the fields of the prompt."""
    best: FloorAnswers | None = None
    for name, answers in _answers(metric.form, slots, train, dev):
        predictions = tuple(prediction_of(row, answer) for row, answer in zip(dev, answers, strict=True))
        score = estimate(metric, predictions, confidence)
        if score and (best is None or score.value > best.floor.score.value):
            best = FloorAnswers(Floor(name, score), predictions)
    return best


def _answers(
    form: AnswerForm, slots: Sequence[str], train: Sequence[Example], dev: Sequence[Example]
) -> Iterator[tuple[str, list[str]]]:
    """Returns each floor's name and its answers to the validation rows."""
    if train:
        yield FREQUENT, [most_frequent(form, [e.answer for e in train])] * len(dev)
    if form.format == "text":
        yield COPY, ["\n".join(e.fields[name] for name in sorted(slots)) for e in dev]


def most_frequent(form: AnswerForm, answers: Sequence[str]) -> str:
    """Returns the most frequent answer, of equals the first by name; for objects that of each field.

    Lists with equal items are equal, in any order.
    """
    if form.format == "json":
        values = [value for value in (parse_object(form, answer) for answer in answers) if value is not None]
        return object_text({name: _value(form.fields[name], [value[name] for value in values]) for name in form.fields})
    if form.format == "list":
        return list_text(
            _most([tuple(sorted(parse_list(answer, form.separator))) for answer in answers]), form.separator
        )
    return _most(answers)


def _value(form: AnswerForm, values: Sequence[str | list[str]]) -> str | list[str]:
    if form.format == "list":
        return list(_most([tuple(sorted(value)) for value in values], default=()))
    return _most([value for value in values if isinstance(value, str)], default="")


def _most(values: Sequence[_T], default: _T | None = None) -> _T:
    counts = Counter(values)
    if not counts and default is not None:
        return default
    return min(counts, key=lambda value: (-counts[value], value))
