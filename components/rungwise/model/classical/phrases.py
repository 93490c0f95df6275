"""Which phrases of a text are items of its list: candidates ranked by a fitted model.

Each trait of a candidate has a weight, the log odds with which candidates that have it are items. Logistic regression
puts the traits' weights together. While it is fitted, a row's own lineage group does not count in them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from rungwise.model.classical.candidates import TRAITS, Candidate, candidates, key_of, n_words, numbered
from rungwise.model.classical.features import Array, evenly
from rungwise.model.classical.linear import folds

MIN_SHARE: Final = 0.05
"""Phrases are looked for only if at least this share of the training rows' items stands in the rows' texts."""
LONGEST: Final = 12
"""Most words of a candidate; usually fewer, as the training rows' items are shorter."""
MAX_CANDIDATES: Final = 250_000
"""With more candidates in the training rows, evenly spaced rows are used."""
SMOOTHING: Final = 5.0
"""A trait's weight starts from so many imagined candidates with the usual share of items."""
KEPT: Final = 4
"""A trait that no item has is stored if at least so many candidates have it; others have the usual weight."""


@dataclass(frozen=True)
class Phrases:
    """The weights of the traits, and those of logistic regression on them."""

    places: Mapping[tuple[int, str], int]
    """(trait, text) -> place in `odds`."""
    odds_K: Array
    """Log odds; the last entry is for all other texts."""
    weights_T: Array
    """One weight for each trait, and the shift."""
    longest: int
    separator: str

    def scored(self, texts: Sequence[str]) -> list[dict[str, tuple[str, float]]]:
        """Returns the key of each row's candidates -> the phrase and its probability."""
        offered = [candidates(text, self.longest, self.separator) for text in texts]
        ids_CT = numbered(offered, dict(self.places), is_new=False)
        chances = iter(_chances(self.odds_K[ids_CT], self.weights_T).tolist())
        return [{one.key: (one.phrase, next(chances)) for one in row} for row in offered]

    @property
    def size(self) -> int:
        """The number of fitted parameters."""
        return len(self.odds_K) + len(self.weights_T)

    def packed(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Returns JSON values and arrays from which `unpacked` makes an equal model."""
        names: list[list[str]] = [[] for _ in TRAITS]
        order: list[list[int]] = [[] for _ in TRAITS]
        for (trait, text), place in self.places.items():
            names[trait].append(text)
            order[trait].append(place)
        places = np.array([p for one in order for p in one] + [len(self.odds_K) - 1], dtype=np.int64)
        values = {"traits": dict(zip(TRAITS, names, strict=True)), "longest": self.longest}
        return {**values, "separator": self.separator}, {"odds": self.odds_K[places], "weights": self.weights_T}

    @classmethod
    def unpacked(cls, values: Mapping[str, Any], arrays: Mapping[str, Array]) -> "Phrases":
        """Returns the model that `packed` made the values of."""
        keys = [(trait, text) for trait, name in enumerate(TRAITS) for text in values["traits"][name]]
        places = {key: place for place, key in enumerate(keys)}
        return cls(places, arrays["odds"], arrays["weights"], values["longest"], values["separator"])


@dataclass(frozen=True)
class Tried:
    """A fitted model, and the candidates of training rows scored by models that were not fitted on their groups."""

    model: Phrases
    rows: Array
    """Places of the rows that were used."""
    scored: list[dict[str, tuple[str, float]]]
    """As `Phrases.scored`, for each of these rows; empty dictionaries if there are too few groups."""


def try_phrases(
    texts: Sequence[str], items: Sequence[Sequence[str]], groups: Sequence[str], separator: str
) -> Tried | None:
    """Returns the model of training rows; None if too few of their items stand in their texts."""
    lengths, n_items = _lengths(texts, items)
    if len(lengths) < max(2, MIN_SHARE * n_items):
        return None
    longest = min(LONGEST, int(np.quantile(lengths, 0.98, method="higher")))
    size = sum(min(len(text), 4000) for text in texts) * longest // 6
    rows = evenly(len(texts), len(texts) if size <= MAX_CANDIDATES else len(texts) * MAX_CANDIDATES // size)
    offered = [candidates(texts[i], longest, separator) for i in rows]
    wanted = [{key_of(item) for item in items[i]} for i in rows]
    is_item_C = np.array([one.key in keys for row, keys in zip(offered, wanted, strict=True) for one in row])
    row_C = np.repeat(np.arange(len(rows)), [len(row) for row in offered])
    names = {name: place for place, name in enumerate(dict.fromkeys(groups[i] for i in rows))}
    group_C = np.array([names[groups[i]] for i in rows])[row_C]
    known: dict[tuple[int, str], int] = {}
    ids_CT = numbered(offered, known, is_new=True)
    odds_K, weights_T = _fitted(ids_CT, group_C, is_item_C, len(known))
    chances_C = np.zeros(len(is_item_C))
    parts = folds([groups[i] for i in rows])
    for fitted, rest in parts:
        in_fitted, in_rest = np.isin(row_C, fitted), np.isin(row_C, rest)
        fold = _fitted(ids_CT[in_fitted], group_C[in_fitted], is_item_C[in_fitted], len(known))
        chances_C[in_rest] = _chances(fold[0][ids_CT[in_rest]], fold[1])
    scored = _by_row(offered, chances_C) if parts else [{} for _ in offered]
    places, odds_K = _pruned(known, ids_CT, is_item_C, odds_K)
    return Tried(Phrases(places, odds_K, weights_T, longest, separator), rows, scored)


def _lengths(texts: Sequence[str], items: Sequence[Sequence[str]]) -> tuple[list[int], int]:
    """Returns the number of words of each item that stands in its row's text, and the number of all items."""
    keys = [key_of(text) for text in texts]
    lengths = [n_words(item) for text, row in zip(keys, items, strict=True) for item in row if key_of(item) in text]
    return [n for n in lengths if n], sum(map(len, items))


def _by_row(offered: Sequence[Sequence[Candidate]], chances_C: Array) -> list[dict[str, tuple[str, float]]]:
    chances = iter(chances_C.tolist())
    return [{one.key: (one.phrase, next(chances)) for one in row} for row in offered]


def _fitted(ids_CT: Array, group_C: Array, is_item_C: Array, n_known: int) -> tuple[Array, Array]:
    """Returns the log odds of all traits' texts with the usual ones at the end, and the weights of the traits."""
    from sklearn.linear_model import LogisticRegression

    share = float(np.clip(is_item_C.mean(), 1e-4, 0.5))
    items_K, all_K = np.zeros(n_known + 1), np.zeros(n_known + 1)
    own_CT = np.zeros(ids_CT.shape)
    for trait in range(ids_CT.shape[1]):
        ids = ids_CT[:, trait]
        items_K += np.bincount(ids, is_item_C, minlength=n_known + 1)
        all_K += np.bincount(ids, minlength=n_known + 1)
        _, pairs = np.unique(group_C * (n_known + 1) + ids, return_inverse=True)
        own_items, own_all = np.bincount(pairs, is_item_C)[pairs], np.bincount(pairs)[pairs]
        own_CT[:, trait] = _log_odds(items_K[ids] - own_items, all_K[ids] - own_all, share)
    odds_K = _log_odds(items_K, all_K, share).astype(np.float32)
    if not is_item_C.any() or is_item_C.all():
        return odds_K, np.append(np.zeros(ids_CT.shape[1]), -9.0)
    model = LogisticRegression(C=1.0, max_iter=200).fit(own_CT, is_item_C)
    return odds_K, np.append(model.coef_[0], model.intercept_)


def _log_odds(items: Array, n: Array, share: float) -> Array:
    odds: Array = np.log((items + SMOOTHING * share) / (n - items + SMOOTHING * (1 - share)))
    return odds


def _chances(odds_CT: Array, weights_T: Array) -> Array:
    chances: Array = 1 / (1 + np.exp(-np.clip(odds_CT @ weights_T[:-1] + weights_T[-1], -30, 30)))
    return chances


def _pruned(
    known: Mapping[tuple[int, str], int], ids_CT: Array, is_item_C: Array, odds_K: Array
) -> tuple[dict[tuple[int, str], int], Array]:
    """Returns the traits that differ enough from the usual to be stored, with their log odds."""
    ids, n = ids_CT.ravel(), len(odds_K)
    items_K = np.bincount(ids, np.repeat(is_item_C, ids_CT.shape[1]), minlength=n)
    is_kept = (items_K > 0) | (np.bincount(ids, minlength=n) >= KEPT)
    kept = [(key, old) for key, old in known.items() if is_kept[old]]
    return {key: place for place, (key, _) in enumerate(kept)}, odds_K[[*(old for _, old in kept), n - 1]]
