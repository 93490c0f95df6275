"""The items of each row: those of a known vocabulary, phrases of the text, or both.

Which of them, and from which probability on, is what gives held-out training rows the best set F1.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from rungwise.model.classical.candidates import key_of
from rungwise.model.classical.features import MAX_COEFFICIENTS, Array, Sparse
from rungwise.model.classical.linear import (
    CHOOSING_WORK,
    FITTING_WORK,
    USUAL,
    USUAL_LOGISTIC,
    Linear,
    choose,
    fit_items,
    logistic,
    probability,
    within,
)
from rungwise.model.classical.phrases import Phrases, try_phrases

MAX_ITEMS: Final = 500
"""Most items of the vocabulary, the most frequent ones; fewer if their weights exceed half of MAX_COEFFICIENTS."""
MIN_ROWS: Final = 3
"""An item of the vocabulary has at least so many training rows."""
LEVELS: Final = tuple(round(0.05 * step, 2) for step in range(1, 17))
"""The probabilities from which an item can be listed."""
NEVER: Final = 2.0
"""A level that no probability reaches."""
USUAL_LEVEL: Final = 0.5
"""The level where no row could be held out."""
Chances = Mapping[str, tuple[str, float]]
"""Key of an item -> the item and its probability."""


@dataclass(frozen=True)
class Rule:
    """When an item is listed."""

    known_from: float = USUAL_LEVEL
    """The probability from which an item of the vocabulary is listed."""
    phrase_from: float = NEVER
    """The probability from which a phrase of the text is listed."""
    never_empty: bool = False
    """Whether a row without such an item has its most probable one."""

    def chosen(self, known: Chances, phrases: Chances) -> dict[str, float]:
        """Returns the items of a row with their probabilities, sorted."""
        ranked = [*_ranked(known, self.known_from), *_ranked(phrases, self.phrase_from)]
        items: dict[str, tuple[str, float]] = {}
        for margin, key, item, chance in ranked:
            if margin >= 0 and (key not in items or items[key][1] < chance):
                items[key] = item, chance
        if not items and self.never_empty and ranked:
            _, key, item, chance = max(ranked, key=lambda one: (one[0], one[1]))
            items[key] = item, chance
        return dict(sorted(items.values()))


def _ranked(chances: Chances, level: float) -> list[tuple[float, str, str, float]]:
    """Returns (probability above the level, key, item, probability); nothing if the level can't be reached."""
    return [(p - level, key, item, p) for key, (item, p) in chances.items()] if level < NEVER else []


@dataclass(frozen=True)
class Lists:
    """A linear model of known items, a model of phrases, and the rule that chooses among them."""

    items: tuple[str, ...]
    linear: Linear
    slope: float
    shift: float
    """Of the logistic function that turns scores into probabilities."""
    phrases: Phrases | None
    rule: Rule

    @classmethod
    def fitted(
        cls,
        texts_NV: Sparse,
        texts: Sequence[str],
        items: Sequence[Sequence[str]],
        groups: Sequence[str],
        separator: str,
    ) -> "Lists":
        """Returns the model of training rows; `items`: those of each row."""
        tried = try_phrases(texts, items, groups, separator)
        phrases = dict(zip(tried.rows.tolist(), tried.scored, strict=True)) if tried else {}
        names, hot_NL = _vocabulary(items, min(MAX_ITEMS, MAX_COEFFICIENTS // 2 // max(1, texts_NV.shape[1])))
        rows = tried.rows if tried else np.arange(len(texts))
        rows = rows[within(CHOOSING_WORK, texts_NV[rows], len(names))]
        c, (slope, shift), known = _known(names, texts_NV[rows], hot_NL[rows], [groups[i] for i in rows])
        chances = dict(zip(rows.tolist(), known, strict=True)) if known else {}
        rule = _rule(items, chances, phrases, has_known=bool(names), has_phrases=tried is not None)
        if rule.known_from == NEVER:
            names, hot_NL = (), hot_NL[:, :0]
        rows = within(FITTING_WORK, texts_NV, len(names))
        linear = fit_items(texts_NV[rows], hot_NL[rows], c)
        is_used = tried is not None and rule.phrase_from < NEVER
        return cls(names, linear, slope, shift, tried.model if tried and is_used else None, rule)

    def answers(self, texts_NV: Sparse, texts: Sequence[str]) -> list[tuple[list[str], float]]:
        """Returns each row's items, sorted, and the probability of the least probable one; 0 without items."""
        known, phrases = self.chances(texts_NV, texts)
        chosen = [self.rule.chosen(*row) for row in zip(known, phrases, strict=True)]
        return [(list(row), min(row.values(), default=0.0)) for row in chosen]

    def chances(self, texts_NV: Sparse, texts: Sequence[str]) -> tuple[list[Chances], list[Chances]]:
        """Returns the known items and the phrases of each row with their probabilities."""
        chances_NL = probability(self.linear(texts_NV), self.slope, self.shift)
        known: list[Chances] = [_chances(self.items, row) for row in chances_NL]
        return known, list(self.phrases.scored(texts)) if self.phrases else [{} for _ in texts]

    @property
    def size(self) -> int:
        """The number of fitted parameters."""
        return self.linear.size + (self.phrases.size if self.phrases else 0)

    def packed(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Returns JSON values and arrays from which `unpacked` makes an equal model."""
        values, arrays = self.phrases.packed() if self.phrases else (None, {})
        rule = [self.rule.known_from, self.rule.phrase_from, self.rule.never_empty]
        return (
            {"items": list(self.items), "logistic": [self.slope, self.shift], "rule": rule, "phrases": values},
            {**self.linear.packed(), **{f"phrases_{name}": array for name, array in arrays.items()}},
        )

    @classmethod
    def unpacked(cls, values: Mapping[str, Any], arrays: Mapping[str, Array]) -> "Lists":
        """Returns the model that `packed` made the values of."""
        own = {name: array for name, array in arrays.items() if not name.startswith("phrases_")}
        inner = {name.removeprefix("phrases_"): array for name, array in arrays.items() if name not in own}
        phrases = Phrases.unpacked(values["phrases"], inner) if values["phrases"] else None
        slope, shift = values["logistic"]
        return cls(tuple(values["items"]), Linear(**own), slope, shift, phrases, Rule(*values["rule"]))


def _known(
    names: Sequence[str], texts_NV: Sparse, hot_NL: Array, groups: Sequence[str]
) -> tuple[float, tuple[float, float], list[Chances]]:
    """Returns C, the logistic function, and the known items' probabilities of held-out rows, if there are any."""
    c, scores_NL = choose(texts_NV, hot_NL, groups, fit_items, _best_f1) if names else (USUAL, None)
    if scores_NL is None:
        return c, USUAL_LOGISTIC, []
    slope, shift = logistic(scores_NL.ravel(), hot_NL.ravel())
    return c, (slope, shift), [_chances(names, row) for row in probability(scores_NL, slope, shift)]


def _vocabulary(items: Sequence[Sequence[str]], most: int) -> tuple[tuple[str, ...], Array]:
    """Returns the known items, and whether each row has each of them; of different spellings the first is used."""
    spelling: dict[str, str] = {}
    for row in items:
        for item in row:
            spelling.setdefault(key_of(item), item)
    counts = Counter(key for row in items for key in {key_of(item) for item in row})
    frequent = sorted((key for key, n in counts.items() if n >= MIN_ROWS), key=lambda key: (-counts[key], key))
    names = sorted(frequent[:most])
    places = {key: place for place, key in enumerate(names)}
    hot_NL = np.zeros((len(items), len(names)), dtype=bool)
    for number, row in enumerate(items):
        hot_NL[number, [places[key] for item in row if (key := key_of(item)) in places]] = True
    return tuple(spelling[key] for key in names), hot_NL


def _chances(names: Sequence[str], chances_L: Array) -> Chances:
    """Returns the items that a row may have; those far below the lowest level are left out, but not the likeliest."""
    likely = np.flatnonzero(chances_L >= min(LEVELS[0], chances_L.max(initial=0.0))).tolist()
    return {key_of(names[i]): (names[i], float(chances_L[i])) for i in likely}


def _best_f1(scores_NL: Array, hot_NL: Array) -> float:
    """Returns the mean F1 of the rows at the best level."""
    slope, shift = logistic(scores_NL.ravel(), hot_NL.ravel())
    chances_NL, n_wanted = probability(scores_NL, slope, shift), hot_NL.sum(1)

    def f1(level: float) -> float:
        listed_NL = chances_NL >= level
        both, either = (listed_NL & hot_NL).sum(1), listed_NL.sum(1) + n_wanted
        return float(np.where(either > 0, 2 * both / np.maximum(either, 1), 1.0).mean())

    return max(f1(level) for level in LEVELS)


def _rule(
    items: Sequence[Sequence[str]],
    known: Mapping[int, Chances],
    phrases: Mapping[int, Chances],
    *,
    has_known: bool,
    has_phrases: bool,
) -> Rule:
    """Returns the rule with the best mean set F1 on the rows that have all probabilities; the first of equals."""
    rows = [i for i in range(len(items)) if (i in known or not has_known) and (i in phrases or not has_phrases)]
    wanted = [{key_of(item) for item in items[i]} for i in rows]
    parts = [known.get(i, {}) for i in rows], [phrases.get(i, {}) for i in rows]
    if not any(any(part) for part in parts):
        return Rule(USUAL_LEVEL, NEVER) if has_known else Rule(NEVER, USUAL_LEVEL)
    known_levels = (*LEVELS, NEVER) if has_known else (NEVER,)
    phrase_levels = (NEVER, *LEVELS) if has_phrases else (NEVER,)
    rules = [Rule(k, p, e) for k in known_levels for p in phrase_levels for e in (False, True) if min(k, p) < NEVER]
    table = _Table.of(*parts, wanted)
    return max(rules, key=table.mean_f1)


@dataclass(frozen=True)
class _Table:
    """The candidates of all rows as columns, so that a rule is measured in a few array operations."""

    row_C: Array
    known_C: Array
    phrase_C: Array
    """Probabilities; -1 if the candidate is not of this kind."""
    is_wanted_C: Array
    n_wanted_N: Array

    @classmethod
    def of(cls, known: Sequence[Chances], phrases: Sequence[Chances], wanted: Sequence[set[str]]) -> "_Table":
        lines = [
            (row, k.get(key, ("", -1.0))[1], p.get(key, ("", -1.0))[1], key in keys)
            for row, (k, p, keys) in enumerate(zip(known, phrases, wanted, strict=True))
            for key in dict.fromkeys([*k, *p])
            if max(k.get(key, ("", 0.0))[1], p.get(key, ("", 0.0))[1]) >= LEVELS[0] or len(k) + len(p) < 20
        ]
        columns = [np.array(column) for column in zip(*lines, strict=True)] if lines else [np.zeros(0)] * 4
        return cls(
            columns[0].astype(int), columns[1], columns[2], columns[3].astype(bool), np.array([len(k) for k in wanted])
        )

    def mean_f1(self, rule: Rule) -> float:
        """Returns the mean set F1 of the rows by a rule."""
        n = len(self.n_wanted_N)
        margin_C = np.maximum(_margins(self.known_C, rule.known_from), _margins(self.phrase_C, rule.phrase_from))
        is_listed_C = margin_C >= 0
        listed_N = np.bincount(self.row_C, is_listed_C, minlength=n)
        right_N = np.bincount(self.row_C, is_listed_C & self.is_wanted_C, minlength=n)
        if rule.never_empty and len(self.row_C):
            order = np.lexsort((-margin_C, self.row_C))
            _, first = np.unique(self.row_C[order], return_index=True)
            best = order[first]
            best = best[np.isfinite(margin_C[best])]
            empty = listed_N[self.row_C[best]] == 0
            listed_N[self.row_C[best][empty]] = 1
            right_N[self.row_C[best][empty]] = self.is_wanted_C[best][empty]
        total_N = listed_N + self.n_wanted_N
        return float(np.where(total_N > 0, 2 * right_N / np.maximum(total_N, 1), 1.0).mean())


def _margins(chances_C: Array, level: float) -> Array:
    """Returns how far probabilities are above a level; minus infinity where there is none, or no level."""
    return np.where((chances_C >= 0) & (level < NEVER), chances_C - level, -np.inf)
