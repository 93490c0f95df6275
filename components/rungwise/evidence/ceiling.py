"""The ceiling: the highest score that any rung can reach on held-out rows, because of their labels.

A rung gives equal texts equal answers, and answers only labels of the training rows. The same holds for labels in the
fields of an object. Of a closed list, a rung answers only items of the training rows.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rungwise.config import AnswerSettings, FieldSettings
from rungwise.core.prompts import parse_list
from rungwise.core.records import Example
from rungwise.core.texts import normalised


@dataclass(frozen=True)
class Ceiling:
    """The highest score that the labels and items allow, and the rows that no rung can get fully right."""

    score: float
    """0 to 1."""
    unknown: int
    """Rows with a label or an item that no training row has."""
    contradicting: int
    """Other rows whose text occurs more often with another label."""
    rows: int
    format: Literal["label", "list", "json"] = "label"
    """The format of the answers."""


def ceiling_of(answer: AnswerSettings, train: Sequence[Example], dev: Sequence[Example]) -> Ceiling | None:
    """Returns the ceiling of a task; None for texts, and without validation rows.

    Different lists for one text don't lower it: the best list for all of them is not searched for.
    """
    if not dev or answer.format == "text":
        return None
    known = _known(answer, [row.answer for row in train])
    given = [
        [(name, field, one, _new(answer, field, one, known[name])) for name, field, one in _values(answer, row.answer)]
        for row in dev
    ]
    texts = [tuple(normalised(text) for _, text in sorted(row.fields.items())) for row in dev]
    counts: dict[tuple[object, str], Counter[str]] = defaultdict(Counter)
    for text, values in zip(texts, given, strict=True):
        for name, field, one, new in values:
            if field.format == "label" and not new:
                counts[text, name].update(one.keys())
    usual = {place: labels.most_common(1)[0][0] for place, labels in counts.items()}
    lost, unknown, contradicting = 0.0, 0, 0
    for text, values in zip(texts, given, strict=True):
        is_unknown = any(new for *_, new in values)
        is_other = [
            field.format == "label" and not new and usual[text, name] not in one for name, field, one, new in values
        ]
        lost += sum(is_other) + sum(1 - _best_score(field, len(one), len(new)) for _, field, one, new in values if new)
        unknown += is_unknown
        contradicting += any(is_other) and not is_unknown
    most = len(dev) * (len(answer.fields) or 1)
    return Ceiling((most - lost) / most, unknown, contradicting, len(dev), answer.format)


@dataclass(frozen=True)
class Unseen:
    """The labels and items of held-out rows that no training row has, and what they mean for the score."""

    values: Mapping[str, int]
    """Label, item or `field: value` -> its rows, of those that no rung can give; the most frequent first."""
    open_items: Mapping[str, int]
    """The same for items of open lists, which a model that writes can give all the same."""
    affected: int
    """Rows with one of `values`."""
    rows: int
    ceiling: float
    """The highest mean score that `values` leave, 0 to 1: 1 if there are none."""


def unseen_of(answer: AnswerSettings, train: Sequence[str], held_out: Sequence[str]) -> Unseen:
    """Returns what the answers of held-out rows have that no training row and no setting has; reads answers alone.

    A row's best score is 0 for an unseen label, the best set F1 for unseen items of a list, and the mean of its fields
    for an object. Everything else can be answered.

    Args:
        answer: the settings of the task's answer.
        train: the answers of the training rows.
        held_out: the answers of the rows that are scored.
    """
    known = _known(answer, train)
    closed: Counter[str] = Counter()
    open_: Counter[str] = Counter()
    affected, total = 0, 0.0
    for text in held_out:
        n_fields = len(answer.fields) or 1
        score, is_affected = float(n_fields), False
        for name, field, values in _values(answer, text):
            new = values.keys() - known[name]
            titles = [f"{name}: {values[key]}" if name else values[key] for key in sorted(new)]
            if not _is_limited(answer, field):
                open_.update(titles)
            elif new:
                closed.update(titles)
                is_affected = True
                score -= 1 - _best_score(field, len(values), len(new))
        total += score / n_fields
        affected += is_affected
    ceiling = round(total / len(held_out), 9) if affected else 1.0
    return Unseen(dict(closed.most_common()), dict(open_.most_common()), affected, len(held_out), ceiling)


def _known(answer: AnswerSettings, train: Iterable[str]) -> dict[str, set[str]]:
    """Returns the name of a field -> the labels and items that training rows or settings have."""
    known: dict[str, set[str]] = defaultdict(set)
    for text in train:
        for name, field, values in _values(answer, text):
            known[name].update((*values, *(_key(field, label) for label in field.labels)))
    return known


def _new(answer: AnswerSettings, field: FieldSettings, values: Mapping[str, str], known: set[str]) -> set[str]:
    """Returns the labels or items of a row that no rung can give."""
    return values.keys() - known if _is_limited(answer, field) else set()


def _is_limited(answer: AnswerSettings, field: FieldSettings) -> bool:
    """Whether only known labels or items can be answered."""
    return field.is_closed and (answer.format == "label" or answer.constrained)


def _values(answer: AnswerSettings, text: str) -> Iterator[tuple[str, FieldSettings, dict[str, str]]]:
    """Yields the name, the settings and the labels or items of each field of an answer that is not a text.

    The name is empty for an answer that is not an object. A label or item stands under what tells it from others.
    """
    if answer.format == "label":
        yield "", answer, {text: text}
    elif answer.format == "list":
        yield "", answer, {_key(answer, item): item for item in parse_list(text, answer.separator)}
    elif answer.format == "json":
        for name, value in json.loads(text).items():
            field = answer.fields.get(name)
            if field and field.format != "text":
                yield name, field, {_key(field, one): one for one in ([value] if isinstance(value, str) else value)}


def _key(field: FieldSettings, value: str) -> str:
    """Returns what decides whether two values are the same: labels are compared exactly, items as set F1 does."""
    return value if field.format == "label" else normalised(value)


def _best_score(field: FieldSettings, n: int, n_new: int) -> float:
    """Returns the highest score of `n` values of which at least one, `n_new`, can't be given."""
    return 0.0 if field.format == "label" else 2 * (n - n_new) / (2 * n - n_new)
