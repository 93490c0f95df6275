"""Two collections as numbers of words."""

from collections.abc import Sequence

import numpy as np

from rungwise.dataset.similar.hashing import Numbers, distinct


class Words:
    """Two collections of plain texts as numbers of words, one after the other: `left`, then `right`."""

    def __init__(self, left: Sequence[str], right: Sequence[str]) -> None:
        self.n_left, self.texts = len(left), [*left, *right]
        numbers: dict[str, int] = {}
        split = [text.split(" ") for text in self.texts]
        self.sizes: Numbers = np.array([len(words) for words in split], dtype=np.int64)
        self.starts: Numbers = np.concatenate([[0], np.cumsum(self.sizes)])
        flat = (numbers.setdefault(word, len(numbers)) for words in split for word in words)
        self.flat: Numbers = np.fromiter(flat, dtype=np.int64, count=int(self.starts[-1]))
        rows = np.repeat(np.arange(len(split)), self.sizes)
        seen = distinct(rows * len(numbers) + self.flat) % max(1, len(numbers))
        held_by = np.bincount(seen, minlength=len(numbers))
        self.weights = np.log((1 + len(split)) / (1 + held_by)) + 0.1
        """Word -> its inverse document frequency: how much it says that two texts share it."""

    def words(self, row: int) -> Numbers:
        return self.flat[self.starts[row] : self.starts[row + 1]]
