"""The answer of the most similar training row: what a support team does with canned replies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from rungwise.model.classical.features import Array, Sparse

AT_ONCE: Final = 256
"""Rows whose similarities are computed together: with 100,000 training rows they take 100 MB."""


@dataclass(frozen=True)
class Replies:
    """The training rows' weights and answers."""

    known_NV: Sparse
    replies: tuple[str, ...]

    def answers(self, texts_NV: Sparse) -> list[tuple[str, float]]:
        """Returns the reply of each row's most similar training row, and the similarity, 0 to 1.

        Of equally similar rows the first is used.
        """
        answers = []
        for start in range(0, texts_NV.shape[0], AT_ONCE):
            similarities = (texts_NV[start : start + AT_ONCE] @ self.known_NV.T).toarray()
            for row in similarities:
                best = int(row.argmax())
                answers.append((self.replies[best], min(1.0, float(row[best]))))
        return answers

    @property
    def size(self) -> int:
        """The number of stored weights."""
        return int(self.known_NV.nnz)

    def packed(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Returns JSON values and arrays from which `unpacked` makes an equal model."""
        known = self.known_NV
        arrays = {"data": known.data, "indices": known.indices.astype(np.int32), "starts": known.indptr.astype("int64")}
        return {"replies": list(self.replies), "features": int(known.shape[1])}, arrays

    @classmethod
    def unpacked(cls, values: Mapping[str, Any], arrays: Mapping[str, Array]) -> "Replies":
        """Returns the model that `packed` made the values of."""
        from scipy.sparse import csr_matrix

        replies = tuple(values["replies"])
        shape = (len(replies), values["features"])
        return cls(csr_matrix((arrays["data"], arrays["indices"], arrays["starts"]), shape=shape), replies)

    @classmethod
    def fitted(cls, texts_NV: Sparse, answers: Sequence[str]) -> "Replies":
        """Returns the model of training rows."""
        return cls(texts_NV, tuple(answers))
