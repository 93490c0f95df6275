"""Two collections of texts as arrays of word ids, with the weight of each word."""

from collections.abc import Sequence

import numpy as np

from rungwise.dataset.similar.hashing import Integers, distinct


class WordIds:
    """Two collections of plain texts as word ids in one array: first `left`, then `right`."""

    def __init__(self, left: Sequence[str], right: Sequence[str]) -> None:
        self.n_left, self.texts = len(left), [*left, *right]
        ids: dict[str, int] = {}
        split = [text.split(" ") for text in self.texts]
        self.sizes: Integers = np.array([len(words) for words in split], dtype=np.int64)
        self.starts: Integers = np.concatenate([[0], np.cumsum(self.sizes)])
        flat = (ids.setdefault(word, len(ids)) for words in split for word in words)
        self.flat: Integers = np.fromiter(flat, dtype=np.int64, count=int(self.starts[-1]))
        rows = np.repeat(np.arange(len(split)), self.sizes)
        seen = distinct(rows * len(ids) + self.flat) % max(1, len(ids))
        n_texts = np.bincount(seen, minlength=len(ids))
        self.weights = np.log((1 + len(split)) / (1 + n_texts)) + 0.1
        """Word id -> inverse document frequency: how informative it is that two texts share the word."""

    def words(self, row: int) -> Integers:
        """Returns the word ids of one text, in their order."""
        return self.flat[self.starts[row] : self.starts[row + 1]]
