"""What is measured of a task's answers: each metric gives every row a score from 0 to 1, and its mean an interval.

accuracy    the label is the expected one
set_f1      harmonic mean of precision and recall of a list's items, compared without case, order and repeats
chrf        chrF of a text (Popovic, 2015, doi:10.18653/v1/W15-3049), a sentence at a time, as sacrebleu computes it
facts       share of the row's facts that stand in the text, without case and runs of white space; 1 if it has none
chrf_facts  chrf times facts: good wording does not make up for a fact that is missing
fields      mean over an object's fields (labels: accuracy, lists: set_f1, texts: chrf); 0 if it is not the object
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rungwise.core.prompts import parse_list, parse_object
from rungwise.core.records import AnswerForm, Interval, Prediction
from rungwise.evidence.intervals import macro_f1_interval, mean_interval, paired_difference

TITLES: Mapping[str, str] = {
    "accuracy": "accuracy",
    "set_f1": "set F1",
    "chrf": "chrF",
    "facts": "fact coverage",
    "chrf_facts": "chrF times fact coverage",
    "fields": "mean field score",
}
"""Metric -> its name in a sentence."""
MEANINGS: Mapping[str, str] = {
    "accuracy": "the share of rows whose label is the expected one",
    "set_f1": "how well the written list agrees with the expected one: 1 if no item is missing and none too many",
    "chrf": "how far the characters of the written text agree with those of the expected one: 1 if they are equal",
    "facts": "the share of what has to be said that the written text says",
    "chrf_facts": "how far the text agrees with the expected one, times the share of what has to be said that it says",
    "fields": "the mean over an object's fields of how far each is right: 0 where it is no such object",
}
"""Metric -> what it says of a row, in words."""


@dataclass(frozen=True)
class Metric:
    """A metric of TITLES for answers of one form; called with a prediction that has an answer, it scores it."""

    name: str
    form: AnswerForm

    @property
    def title(self) -> str:
        """The metric's name in a sentence."""
        return TITLES[self.name]

    def __call__(self, prediction: Prediction) -> float:
        """Returns the row's score, 0 to 1."""
        expected, found, separator = prediction.expected, prediction.answer or "", self.form.separator
        if self.name == "accuracy":
            return float(found == expected)
        if self.name == "set_f1":
            return set_f1(parse_list(expected, separator), parse_list(found, separator))
        if self.name == "fields":
            scores = field_scores(self.form, prediction)
            return sum(scores.values()) / len(scores) if scores else 0.0
        words = 1.0 if self.name == "facts" else chrf(expected, found)
        return words if self.name == "chrf" else words * coverage(prediction.facts, found)


def others_of(form: AnswerForm, predictions: Sequence[Prediction], confidence: float) -> dict[str, Interval]:
    """Returns what else is to be known of the answers, by name: it informs, no gate asks it."""
    scored = [p for p in predictions if p.answer is not None]
    groups = [p.group for p in scored]
    if not scored:
        return {}
    if form.format == "label":
        return {"macro F1": macro_f1_interval([(p.expected, str(p.answer)) for p in scored], groups, confidence)}
    values: dict[str, list[float]] = {}
    for p in scored:
        row: dict[str, float] = {}
        if form.format == "text":
            row["chrF"] = chrf(p.expected, str(p.answer))
        elif form.format == "json":
            fields = field_scores(form, p)
            row["valid objects"] = float(bool(fields))
            row |= fields or dict.fromkeys(form.fields, 0.0)
        if form.format in ("text", "json") and p.facts:
            row["fact coverage"] = coverage(p.facts, str(p.answer))
        for name, value in row.items():
            values.setdefault(name, []).append(value)
    found = {n: mean_interval(v, groups, confidence) for n, v in values.items() if len(v) == len(groups)}
    return {name: interval for name, interval in found.items() if interval}


def estimate(metric: Metric, predictions: Sequence[Prediction], confidence: float) -> Interval | None:
    """Returns the mean score of the scored rows; None where none was scored."""
    scored = [p for p in predictions if p.answer is not None]
    return mean_interval([metric(p) for p in scored], [p.group for p in scored], confidence)


def difference(
    metric: Metric, first: Sequence[Prediction], second: Sequence[Prediction], confidence: float
) -> Interval | None:
    """Returns mean(first) - mean(second) on the rows that both scored; None where there are none."""
    others = {p.id: p for p in second if p.answer is not None}
    pairs = [(p, others[p.id]) for p in first if p.answer is not None and p.id in others]
    return paired_difference(
        [metric(a) for a, _ in pairs], [metric(b) for _, b in pairs], [a.group for a, _ in pairs], confidence
    )


def set_f1(expected: Sequence[str], found: Sequence[str]) -> float:
    """Returns the F1 of two sets of items; 1 where both are empty."""
    wanted, given = ({item.casefold() for item in items} for items in (expected, found))
    return 2 * len(wanted & given) / (len(wanted) + len(given)) if wanted or given else 1.0


def chrf(expected: str, found: str) -> float:
    """Returns the chrF of a text against one reference, 0 to 1."""
    return float(_chrf().sentence_score(found, [expected]).score) / 100 if found else 0.0


@functools.cache
def _chrf() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()


def coverage(facts: Sequence[str], text: str) -> float:
    """Returns the share of facts that stand in a text; 1 where there are none."""
    plain = " ".join(text.casefold().split())
    return sum(" ".join(fact.casefold().split()) in plain for fact in facts) / len(facts) if facts else 1.0


def field_scores(form: AnswerForm, prediction: Prediction) -> dict[str, float]:
    """Returns the score of each of an object's fields; nothing where the answer is not such an object."""
    wanted, found = parse_object(form, prediction.expected), parse_object(form, prediction.answer or "")
    if wanted is None or found is None:
        return {}
    scores = {}
    for name, inner in form.fields.items():
        expected, given = wanted[name], found[name]
        if inner.format == "list":
            scores[name] = set_f1(list(expected), list(given))
        elif inner.format == "label":
            scores[name] = float(expected == given)
        else:
            scores[name] = chrf(str(expected), str(given))
    return scores
