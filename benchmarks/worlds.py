"""Simulated rows and models whose true scores are known, for the benchmarks of the gates."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np

from rungwise.core.records import AnswerForm, Prediction
from rungwise.evidence.metrics import Metric

CONFIDENCE: Final = 0.95
SHARED, COMMON = 0.8, 0.6
"""The share of difficulty in a row's outcome, and the share of a group in difficulty and luck."""
ACCURACY: Final = Metric("accuracy", AnswerForm("label", ("a", "b")))
Answers = Any
"""A float array of shape (rows,): 1 where the answer is right."""


@dataclass(frozen=True)
class World:
    """Rows in groups, on which models of a stated truth answer."""

    n: int
    size: int
    """Rows of a group."""
    draw: np.random.Generator

    @property
    def groups(self) -> list[str]:
        """Each row's group."""
        return [str(row // self.size) for row in range(self.n)]

    def rows(self) -> Any:
        """Returns the difficulty of each row, standard normal."""
        return self._noise()

    def answers(self, difficulty: Any, truth: float) -> Answers:
        """Returns the answers of a new model that is right with probability `truth`."""
        outcome = math.sqrt(SHARED) * difficulty + math.sqrt(1 - SHARED) * self._noise()
        return (outcome < NormalDist().inv_cdf(truth)).astype(float)

    def _noise(self) -> Any:
        own = self.draw.normal(size=self.n)
        if self.size == 1:
            return own
        common = np.repeat(self.draw.normal(size=self.n // self.size), self.size)
        return math.sqrt(COMMON) * common + math.sqrt(1 - COMMON) * own


def predictions(world: World, answers: Answers) -> list[Prediction]:
    """Returns the answers as predictions, of rows that expect `a`."""
    pairs = zip(answers, world.groups, strict=True)
    return [Prediction(f"r{i}", group, "a", "a" if right else "b", 0.9) for i, (right, group) in enumerate(pairs)]


def named(n: int, size: int) -> str:
    """Returns the name of a cell."""
    return f"{n} rows" + (f" in groups of {size}" if size > 1 else "")
