"""The rows that are most like a text, by the words that they share (TF-IDF and the cosine)."""

from collections.abc import Sequence

import numpy as np

from rungwise.core.texts import terms_of


class Nearest:
    """An index of texts; call it with other texts to get the most similar ones."""

    def __init__(self, texts: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._n = len(texts)
        self._vectorizer = TfidfVectorizer(analyzer=terms_of, sublinear_tf=True)
        try:
            self._rows_NV = self._vectorizer.fit_transform(texts)
        except ValueError:  # no text has a word
            self._n = 0

    def __call__(self, texts: Sequence[str], most: int) -> list[list[int]]:
        """Returns the places of at most `most` indexed texts for each text, the most similar first."""
        if not self._n or not texts:
            return [[] for _ in texts]
        cosine_MN = (self._vectorizer.transform(texts) @ self._rows_NV.T).toarray()
        order_MN = np.argsort(-np.round(cosine_MN, 9), axis=1, kind="stable")
        return [[int(i) for i in row] for row in order_MN[:, :most]]
