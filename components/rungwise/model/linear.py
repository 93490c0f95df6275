"""Logistic regression on dense vectors, with its penalty chosen by cross-validation on training rows.

https://scikit-learn.org/stable/modules/linear_model.html#logistic-regression. The rows of a lineage group are in one
fold. Shape letters: N rows, D elements of a vector, K labels or items.
"""

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from rungwise.evidence.metrics import set_f1

STRENGTHS: Final = (0.003, 0.01, 0.03, 0.1)
"""The values of scikit-learn's C that are tried: the smaller, the stronger the penalty. For vectors whose elements have
variance 1."""
DEFAULT: Final = 0.01
"""C where there are too few lineage groups for cross-validation."""
THRESHOLDS: Final = tuple(round(0.05 * n, 2) for n in range(1, 15))
"""The probabilities above which an item is written that are tried."""
FOLDS, MOST_ROWS, MOST_ITEMS = 3, 5_000, 500
"""Folds; most rows of a cross-validation, evenly taken; most items of a closed vocabulary, the most frequent."""
MIN_ROWS: Final = 2
"""Training rows that must have an item before it is written."""
_ITERATIONS: Final = 200


@dataclass(frozen=True)
class Fitted:
    """A fitted linear model."""

    coefficients_KD: Any
    intercepts_K: Any
    head: Mapping[str, Any]
    """Its labels or items, its C, and for items the threshold; as JSON values."""


def fit_labels(vectors_ND: Any, labels: Sequence[str], groups: Sequence[str], seed: int) -> Fitted | str:
    """Returns a model of one label for each row, or the reason why it can't be fitted."""
    import numpy as np

    if len(set(labels)) < 2:
        return f"the training rows have {len(set(labels))} label"
    y_N = np.array(labels)

    def score(strength: float, folds: Sequence[tuple[Any, Any]]) -> float:
        right = 0
        for train, test in folds:
            if len(set(y_N[train])) > 1:
                right += int(
                    (_regression(vectors_ND[train], y_N[train], strength).predict(vectors_ND[test]) == y_N[test]).sum()
                )
        return right

    strength = _best({c: score(c, folds) for c in STRENGTHS}) if (folds := _folds(y_N, groups, seed)) else DEFAULT
    model = _regression(vectors_ND, y_N, strength)
    coefficients_KD, intercepts_K = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # scikit-learn keeps one row for two labels
        coefficients_KD, intercepts_K = (np.concatenate([-x / 2, x / 2]) for x in (coefficients_KD, intercepts_K))
    head = {"labels": [str(label) for label in model.classes_], "C": strength}
    return Fitted(coefficients_KD, intercepts_K, head)


def fit_items(vectors_ND: Any, lists: Sequence[Sequence[str]], groups: Sequence[str], seed: int) -> Fitted | str:
    """Returns a model of the items of each row, or the reason why it can't be fitted; only recurring items count."""
    import numpy as np

    counts = Counter(item for items in lists for item in set(items))
    frequent = sorted((item for item, n in counts.items() if n >= MIN_ROWS), key=lambda item: (-counts[item], item))
    items = sorted(frequent[:MOST_ITEMS])
    if not items:
        return "no item is in two training rows"
    column = {item: k for k, item in enumerate(items)}
    y_NK = np.zeros((len(lists), len(items)), dtype=np.int64)
    for row, own in enumerate(lists):
        y_NK[row, [column[item] for item in set(own) if item in column]] = 1
    scores: dict[tuple[float, float], float] = {}
    for strength in STRENGTHS if (folds := _folds(None, groups, seed)) else ():
        scores |= {
            (strength, threshold): value
            for threshold, value in _by_threshold(vectors_ND, y_NK, lists, items, strength, folds).items()
        }
    strength, threshold = _best(scores) if scores else (DEFAULT, 0.5)
    coefficients_KD, intercepts_K = _items_model(vectors_ND, y_NK, strength)
    return Fitted(coefficients_KD, intercepts_K, {"items": items, "C": strength, "threshold": threshold})


def _by_threshold(
    vectors_ND: Any,
    y_NK: Any,
    lists: Sequence[Sequence[str]],
    items: Sequence[str],
    strength: float,
    folds: Sequence[tuple[Any, Any]],
) -> dict[float, float]:
    """Returns threshold -> the sum of set F1 over the rows of all folds."""
    scores = dict.fromkeys(THRESHOLDS, 0.0)
    for train, test in folds:
        coefficients_KD, intercepts_K = _items_model(vectors_ND[train], y_NK[train], strength)
        shares_NK = sigmoid(vectors_ND[test] @ coefficients_KD.T + intercepts_K)
        for threshold in THRESHOLDS:
            for row, shares_K in zip(test, shares_NK >= threshold, strict=True):
                scores[threshold] += set_f1(lists[row], [items[k] for k in shares_K.nonzero()[0]])
    return scores


def _regression(vectors_ND: Any, y_N: Any, strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    with _without_warnings():
        return LogisticRegression(C=strength, max_iter=_ITERATIONS).fit(vectors_ND, y_N)


def _items_model(vectors_ND: Any, y_NK: Any, strength: float) -> tuple[Any, Any]:
    """Returns coefficients and intercepts of a logistic regression for each item.

    A network without a hidden layer is just that, and fits all items in one problem: 100 items on 2,500 vectors of 384
    elements took 2.2 s of processor time, where one regression after the other took 30.6.
    """
    import numpy as np
    from sklearn.neural_network import MLPClassifier

    padded = np.concatenate([y_NK, np.zeros((len(y_NK), 1), dtype=y_NK.dtype)], axis=1)  # always several columns
    model = MLPClassifier((), solver="lbfgs", alpha=1 / strength, max_iter=_ITERATIONS, random_state=0)
    with _without_warnings():
        model.fit(vectors_ND, padded)
    return model.coefs_[0].T[:-1], model.intercepts_[0][:-1]


def _folds(y_N: Any, groups: Sequence[str], seed: int) -> list[tuple[Any, Any]]:
    """Returns the rows to fit and to score of each fold; none if there are fewer groups than folds."""
    import numpy as np
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    chosen = np.arange(0, len(groups), max(1, -(-len(groups) // MOST_ROWS)))
    own = np.array(groups)[chosen]
    if len(set(own)) < FOLDS:
        return []
    kind = GroupKFold if y_N is None else StratifiedGroupKFold
    with _without_warnings():
        split = list(
            kind(FOLDS, shuffle=True, random_state=seed).split(own, None if y_N is None else y_N[chosen], groups=own)
        )
    return [(chosen[train], chosen[test]) for train, test in split]


def _best(scores: Mapping[Any, float]) -> Any:
    """Returns the key of the highest score; the first of equals."""
    return max(scores, key=lambda key: scores[key])


def label_shares(scores_NK: Any) -> Any:
    """Returns the softmax of each row."""
    import numpy as np

    exp_NK = np.exp(scores_NK - scores_NK.max(1, keepdims=True))
    return exp_NK / exp_NK.sum(1, keepdims=True)


def sigmoid(scores_NK: Any) -> Any:
    """Returns the logistic function of each score."""
    import numpy as np

    return 1 / (1 + np.exp(-np.clip(scores_NK, -60, 60)))


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Hides scikit-learn's warnings of a fit that is not quite finished and of labels with few rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
