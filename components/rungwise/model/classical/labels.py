"""The likeliest label of each row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from rungwise.model.classical.features import Array, Sparse
from rungwise.model.classical.linear import (
    CHOOSING_WORK,
    FITTING_WORK,
    Linear,
    choose,
    fit_labels,
    within,
)

SHARPNESS: Final = tuple(float(x) for x in np.geomspace(0.5, 16.0, 31))
"""Factors of the scores in front of the softmax."""
USUAL_SHARPNESS: Final = 4.0
"""The factor where no row could be held out."""


@dataclass(frozen=True)
class Labels:
    """A linear model of one label for each row; with a single label, that label."""

    labels: tuple[str, ...]
    linear: Linear
    sharpness: float
    """Factor of the scores in front of the softmax, chosen so that held-out rows have the probability they earn."""

    @classmethod
    def fitted(cls, texts_NV: Sparse, answers: Sequence[str], groups: Sequence[str]) -> "Labels":
        """Returns the model of training rows."""
        names = tuple(sorted(set(answers)))
        places = {name: place for place, name in enumerate(names)}
        labels_N = np.array([places[answer] for answer in answers])
        if len(names) == 1:
            return cls(names, Linear(np.zeros((1, texts_NV.shape[1]), np.float32), np.zeros(1, np.float32)), 1.0)
        rows = within(CHOOSING_WORK, texts_NV, len(names))
        fit = partial(_fit, n_labels=len(names))
        c, scores_NL = choose(texts_NV[rows], labels_N[rows], [groups[i] for i in rows], fit, _accuracy)
        sharpness = USUAL_SHARPNESS if scores_NL is None else _sharpness(scores_NL, labels_N[rows])
        rows = within(FITTING_WORK, texts_NV, len(names))
        return cls(names, fit(texts_NV[rows], labels_N[rows], c), sharpness)

    def shares(self, texts_NV: Sparse) -> Array:
        """Returns the labels' probabilities, shape (texts, labels), float64."""
        return softmax(self.linear(texts_NV) * self.sharpness)

    def answers(self, texts_NV: Sparse) -> list[tuple[str, float]]:
        """Returns each row's likeliest label and its probability; of equally likely labels the first by name."""
        shares_NL = self.shares(texts_NV)
        return [(self.labels[int(row.argmax())], float(row.max())) for row in shares_NL]

    @property
    def size(self) -> int:
        """The number of fitted parameters."""
        return self.linear.size

    def packed(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Returns JSON values and arrays from which `unpacked` makes an equal model."""
        return {"labels": list(self.labels), "sharpness": self.sharpness}, self.linear.packed()

    @classmethod
    def unpacked(cls, values: Mapping[str, Any], arrays: Mapping[str, Array]) -> "Labels":
        """Returns the model that `packed` made the values of."""
        return cls(tuple(values["labels"]), Linear(**arrays), values["sharpness"])


def softmax(scores_NL: Array) -> Array:
    """Returns each row's shares of the exponentials."""
    exp_NL = np.exp(scores_NL - scores_NL.max(1, keepdims=True))
    shares_NL: Array = exp_NL / exp_NL.sum(1, keepdims=True)
    return shares_NL


def _fit(texts_NV: Sparse, labels_N: Array, c: float, n_labels: int) -> Linear:
    return fit_labels(texts_NV, labels_N, n_labels, c)


def _accuracy(scores_NL: Array, labels_N: Array) -> float:
    return float((scores_NL.argmax(1) == labels_N).mean())


def _sharpness(scores_NL: Array, labels_N: Array) -> float:
    """Returns the factor with the smallest mean loss."""

    def loss(factor: float) -> float:
        shares_NL = softmax(scores_NL * factor)
        return float(-np.log(np.maximum(shares_NL[np.arange(len(labels_N)), labels_N], 1e-12)).mean())

    return min(SHARPNESS, key=loss)
