"""Metrics: each gives every row a score from 0 to 1; their mean has a confidence interval.

A row without an answer scores 0: whoever asks gets none.

Where a row has several right answers, its score is that of the best match.

accuracy    the label is the expected one
set_f1      harmonic mean of precision and recall of a list's items, ignoring case, white space, order and duplicates
chrf        sentence-level chrF of a text (Popovic, 2015, doi:10.18653/v1/W15-3049), computed by sacrebleu
facts       share of the row's facts that the text contains, ignoring case and runs of white space; 1 without facts
chrf_facts  chrf times facts: good wording does not compensate for a missing fact
fields      mean over an object's fields (label: accuracy, list: set_f1, text: chrf); 0 if the object is not valid
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rungwise.core.prompts import parse_list, parse_object
from rungwise.core.records import AnswerForm, Interval, Prediction
from rungwise.core.texts import normalised
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
    "set_f1": "how well the written list matches the expected one: 1 if no item is missing and none is extra",
    "chrf": "how well the characters of the written text match the expected text: 1 if they are equal",
    "facts": "the share of the required facts that the written text contains",
    "chrf_facts": "how well the text matches the expected one, times the share of the required facts that it contains",
    "fields": "the mean score of the object's fields: 0 if the answer is not a valid object",
}
"""Metric -> what it measures, in words."""


@dataclass(frozen=True)
class Metric:
    """A metric of TITLES for answers of one form. Call it with a prediction to get its score."""

    name: str
    form: AnswerForm

    @property
    def title(self) -> str:
        """The metric's name in a sentence."""
        return TITLES[self.name]

    def __call__(self, prediction: Prediction) -> float:
        """Returns the row's score, 0 to 1; 0 without an answer."""
        if prediction.answer is None:
            return 0.0
        expected, written, separator = prediction.expected, prediction.answer, self.form.separator
        if self.name == "accuracy":
            return float(written == expected)
        if self.name == "set_f1":
            return set_f1(parse_list(expected, separator), parse_list(written, separator))
        if self.name == "fields":
            scores = field_scores(self.form, prediction)
            return sum(scores.values()) / len(scores) if scores else 0.0
        wording = 1.0 if self.name == "facts" else chrf(expected, written, *prediction.references)
        return wording if self.name == "chrf" else wording * coverage(prediction.facts, written)


def other_metrics(form: AnswerForm, predictions: Sequence[Prediction], confidence: float) -> dict[str, Interval]:
    """Returns further metrics of the answers, by name, for information; no gate uses them."""
    groups = [p.group for p in predictions]
    if all(p.answer is None for p in predictions):
        return {}
    if form.format == "label":
        return {"macro F1": macro_f1_interval([(p.expected, p.answer) for p in predictions], groups, confidence)}
    values: dict[str, list[float]] = {}
    for p in predictions:
        row: dict[str, float] = {}
        written = p.answer or ""
        if form.format == "text":
            row["chrF"] = chrf(p.expected, written, *p.references)
        elif form.format == "json":
            fields = field_scores(form, p)
            row["valid objects"] = float(bool(fields))
            row |= fields or dict.fromkeys(form.fields, 0.0)
        if form.format in ("text", "json") and p.facts:
            row["fact coverage"] = coverage(p.facts, written)
        for name, value in row.items():
            values.setdefault(name, []).append(value)
    means = {n: mean_interval(v, groups, confidence) for n, v in values.items() if len(v) == len(groups)}
    return {name: interval for name, interval in means.items() if interval}


def estimate(metric: Metric, predictions: Sequence[Prediction], confidence: float) -> Interval | None:
    """Returns the mean score of the rows; None if none has an answer."""
    if all(p.answer is None for p in predictions):
        return None
    return mean_interval([metric(p) for p in predictions], [p.group for p in predictions], confidence)


def difference(
    metric: Metric, first: Sequence[Prediction], second: Sequence[Prediction], confidence: float
) -> Interval | None:
    """Returns mean(first) - mean(second) on the rows of both; None if none is common or neither answered one."""
    others = {p.id: p for p in second}
    pairs = [(p, others[p.id]) for p in first if p.id in others]
    if all(a.answer is None and b.answer is None for a, b in pairs):
        return None
    return paired_difference(
        [metric(a) for a, _ in pairs], [metric(b) for _, b in pairs], [a.group for a, _ in pairs], confidence
    )


def set_f1(expected: Sequence[str], written: Sequence[str]) -> float:
    """Returns the F1 of two sets of items; 1 if both are empty."""
    wanted, given = ({normalised(item) for item in items} for items in (expected, written))
    return 2 * len(wanted & given) / (len(wanted) + len(given)) if wanted or given else 1.0


def chrf(expected: str, written: str, *references: str) -> float:
    """Returns the chrF of a text against the right answer, or the best of several, 0 to 1."""
    return float(_chrf().sentence_score(written, [expected, *references]).score) / 100 if written else 0.0


@functools.cache
def _chrf() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()


def coverage(facts: Sequence[str], text: str) -> float:
    """Returns the share of the facts that a text contains; 1 if there are none."""
    whole = normalised(text)
    return sum(normalised(fact) in whole for fact in facts) / len(facts) if facts else 1.0


def field_scores(form: AnswerForm, prediction: Prediction) -> dict[str, float]:
    """Returns the score of each field of an object; nothing if the answer is not a valid object."""
    expected_values = parse_object(form, prediction.expected)
    written_values = parse_object(form, prediction.answer or "")
    if expected_values is None or written_values is None:
        return {}
    scores = {}
    for name, inner in form.fields.items():
        expected, written = expected_values[name], written_values[name]
        if inner.format == "list":
            scores[name] = set_f1(list(expected), list(written))
        elif inner.format == "label":
            scores[name] = float(expected == written)
        else:
            scores[name] = chrf(str(expected), str(written))
    return scores
