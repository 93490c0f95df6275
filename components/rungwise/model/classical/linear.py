"""Linear models with one column for each label or item, and what they are worth on rows that they were not fitted on.

Squared hinge loss, one column against the rest, by liblinear (Fan et al., 2008): on n-grams it is faster and better
than the logistic loss. The scores become probabilities by a logistic function of the scores of rows that were held out
(Platt, 1999). Held-out rows are whole lineage groups, so that a near duplicate in training proves nothing.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from rungwise.model.classical.features import Array, Sparse, evenly

GRID: Final = (0.1, 0.3, 1.0, 3.0)
"""The values of C, from strong regularisation to weak; of equally good ones the first is used."""
USUAL: Final = 1.0
"""The value of C where too few rows or groups are there to compare."""
FOLDS: Final = 3
CHOOSING_WORK: Final = 40_000_000
FITTING_WORK: Final = 4_000_000_000
"""Most non-zero weights times columns, of one fit in the comparison and of the last fit: 1e8 take about 2 seconds of
processor time. With more, evenly spaced rows are used."""
USUAL_LOGISTIC: Final = (4.0, 0.0)
"""Slope and shift of the logistic function where the rows do not show them."""
LOWEST: Final = -3.0
"""The score of a column without a training row."""


@dataclass(frozen=True)
class Linear:
    """A fitted model: the score of a row in a column is about 1 if it belongs there and about -1 if not."""

    coefficients_LV: Array
    intercepts_L: Array

    def __call__(self, texts_NV: Sparse) -> Array:
        """Returns scores, shape (texts, columns), float64."""
        return np.asarray(texts_NV @ self.coefficients_LV.T, dtype=np.float64) + self.intercepts_L

    @property
    def size(self) -> int:
        """The number of fitted parameters."""
        return int(self.coefficients_LV.size + self.intercepts_L.size)

    def packed(self) -> dict[str, Array]:
        """Returns the arrays from which `Linear(**arrays)` makes an equal model."""
        return {"coefficients_LV": self.coefficients_LV, "intercepts_L": self.intercepts_L}


def folds(groups: Sequence[str]) -> list[tuple[Array, Array]]:
    """Returns (fitted, held out) places of each fold; none if there are fewer than two groups."""
    from sklearn.model_selection import GroupKFold

    n = min(FOLDS, len(set(groups)))
    return list(GroupKFold(n).split(np.zeros(len(groups)), groups=groups)) if n > 1 else []


def within(work: int, texts_NV: Sparse, n_columns: int) -> Array:
    """Returns places of the rows, evenly spaced, so that a fit costs at most `work`."""
    n = texts_NV.shape[0]
    cost = max(1, texts_NV.nnz * n_columns)
    return evenly(n, n if cost <= work else max(1, n * work // cost))


def fit_labels(texts_NV: Sparse, labels_N: Array, n_labels: int, c: float) -> Linear:
    """Returns a model of one label for each row; `labels_N`: places of the labels."""
    model = _solved(texts_NV, labels_N, c)
    coefficients, intercepts = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # scikit-learn keeps one column for two labels
        coefficients, intercepts = (np.concatenate([-x, x]) for x in (coefficients, intercepts))
    return _placed(texts_NV.shape[1], n_labels, model.classes_, coefficients, intercepts)


def fit_items(texts_NV: Sparse, items_NL: Array, c: float) -> Linear:
    """Returns a model of any number of items for each row; `items_NL`: whether the row has the item."""
    counts = items_NL.sum(0)
    known = np.flatnonzero((counts > 0) & (counts < len(items_NL)))
    doubles_NV = texts_NV.astype(np.float64)  # liblinear's own type, which would be made again for each item
    models = [_solved(doubles_NV, items_NL[:, item], c) for item in known]
    n_features = texts_NV.shape[1]
    coefficients = np.concatenate([m.coef_ for m in models]) if models else np.zeros((0, n_features))
    intercepts = np.concatenate([m.intercept_ for m in models]) if models else np.zeros(0)
    fitted = _placed(n_features, items_NL.shape[1], known, coefficients, intercepts)
    fitted.intercepts_L[counts == len(items_NL)] = -LOWEST  # every row has the item
    return fitted


def _placed(n_features: int, n_columns: int, places: Array, coefficients: Array, intercepts: Array) -> Linear:
    """Returns the model with the fitted columns at their places; the others have the lowest score."""
    all_LV = np.zeros((n_columns, n_features), dtype=np.float32)
    all_L = np.full(n_columns, LOWEST, dtype=np.float32)
    all_LV[places], all_L[places] = coefficients, intercepts
    return Linear(all_LV, all_L)


def _solved(texts_NV: Sparse, answers: Array, c: float) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    with warnings.catch_warnings():  # close to the optimum is as good: the comparison measures what was fitted
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LinearSVC(C=c, dual=True, random_state=0, max_iter=300).fit(texts_NV, answers)


Fit = Callable[[Sparse, Array, float], Linear]
"""Weights, answers and C -> a model."""


def choose(
    texts_NV: Sparse, answers: Array, groups: Sequence[str], fit: Fit, worth: Callable[[Array, Array], float]
) -> tuple[float, Array | None]:
    """Returns the value of C with the best scores of held-out rows, and these scores, in the order of the rows.

    `worth`: scores and answers -> how good the scores are. The scores are None if there are too few groups.
    """
    parts = folds(groups)
    best, chosen = (-np.inf, USUAL), None
    for c in GRID if parts else ():
        scores_NL = held_out(texts_NV, answers, parts, lambda x, y, c=c: fit(x, y, c))  # type: ignore[misc]
        value = worth(scores_NL, answers)
        if value > best[0]:
            best, chosen = (value, c), scores_NL
    return best[1], chosen


def held_out(
    texts_NV: Sparse, answers: Array, parts: Sequence[tuple[Array, Array]], fit: Callable[[Sparse, Array], Linear]
) -> Array:
    """Returns each row's scores by the model of the fold that holds it out."""
    scores: Array | None = None
    for fitted, rest in parts:
        part = fit(texts_NV[fitted], answers[fitted])(texts_NV[rest])
        scores = np.full((texts_NV.shape[0], part.shape[1]), LOWEST) if scores is None else scores
        scores[rest] = part
    assert scores is not None  # there are at least two folds
    return scores


def logistic(scores: Array, is_right: Array) -> tuple[float, float]:
    """Returns slope and shift of the logistic function that turns scores into probabilities.

    It is a usual one where the rows are all right or all wrong.
    """
    from sklearn.linear_model import LogisticRegression

    if is_right.all() or not is_right.any():
        return USUAL_LOGISTIC
    fitted = LogisticRegression(C=1e3).fit(scores.reshape(-1, 1), is_right)
    return float(max(fitted.coef_[0, 0], 1e-3)), float(fitted.intercept_[0])


def probability(scores: Array, slope: float, shift: float) -> Array:
    """Returns probabilities of scores."""
    return 1 / (1 + np.exp(-(slope * scores + shift)))
