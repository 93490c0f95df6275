"""Texts as weights of their words, word pairs and character n-grams, in any script.

TF-IDF with logarithmic counts (https://scikit-learn.org/stable/modules/feature_extraction.html). In scripts without
spaces each character is a word (see `core.texts`), so that their word pairs are pairs of characters. Memory and time
are bounded by the constants below.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from rungwise.core.prompts import slots
from rungwise.core.records import AttemptSpec, Example
from rungwise.core.texts import folded, tokens_of

Array = np.ndarray[Any, Any]
Sparse = Any
"""A scipy.sparse.csr_matrix, rows by features."""

MAX_FEATURES: Final = 60_000
"""Most words and word pairs, and as many character n-grams; the most frequent ones are used."""
MAX_COEFFICIENTS: Final = 20_000_000
"""Most features times labels or items: with more labels there are fewer features."""
VOCABULARY_ROWS: Final = 20_000
"""The vocabulary is collected from at most so many rows, evenly spaced."""
MAX_CHARACTERS: Final = 20_000_000
"""Most characters of all training rows together; of more, evenly spaced rows are used."""
RARE_FROM_ROWS: Final = 50
"""With so many rows, what occurs in a single row is left out: it halves the vocabulary and changes few answers."""


def text_of(spec: AttemptSpec, example: Example) -> str:
    """Returns the fields of a row that the prompt uses as one text: a line for each, sorted by name."""
    return "\n".join(example.fields[name] for name in sorted(slots(spec.prompt)))


def evenly(n: int, most: int) -> Array:
    """Returns at most `most` of the places 0 to n - 1, evenly spaced."""
    return np.arange(n) if n <= most else np.linspace(0, n - 1, max(most, 1)).astype(int)


def affordable(texts: Sequence[str]) -> Array:
    """Returns the places of the rows that training uses: all, or so many that MAX_CHARACTERS is kept."""
    total = sum(map(len, texts))
    return evenly(len(texts), len(texts) if total <= MAX_CHARACTERS else len(texts) * MAX_CHARACTERS // total)


@dataclass(frozen=True)
class Features:
    """What the training texts hold, and how informative each feature is."""

    words: tuple[str, ...]
    """Words, and pairs separated by a space; the place is the column."""
    letters: tuple[str, ...]
    """Character n-grams inside what white space separates; a space marks its ends."""
    idf_V: Array
    """The weight of each column, first words, then letters; float32."""

    @classmethod
    def fitted(cls, texts: Sequence[str], n_columns: int = 1) -> "Features":
        """Returns the features of training texts, for a model of so many labels.

        Raises:
            ValueError: no text has a character that is not white space.
        """
        sample = [texts[i] for i in evenly(len(texts), VOCABULARY_ROWS)]
        columns, weights = [], []
        most = min(MAX_FEATURES, MAX_COEFFICIENTS // 2 // n_columns)
        for kind in _KINDS:
            try:
                vectorizer = _vectorizer(kind, most=most, rarest=1 + (len(sample) >= RARE_FROM_ROWS)).fit(sample)
            except ValueError:  # nothing occurs in two rows, or there is nothing at all
                vectorizer = _vectorizer(kind, most=most).fit(sample)
            columns.append(tuple(sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)))
            weights.append(vectorizer.idf_)
        return cls(columns[0], columns[1], np.concatenate(weights).astype(np.float32))

    def __call__(self, texts: Sequence[str]) -> Sparse:
        """Returns the texts' weights, shape (texts, features), float32; a text's length is at most 1."""
        from scipy.sparse import hstack

        n_words = len(self.words)
        parts = []
        for kind, names, idf in (
            ("words", self.words, self.idf_V[:n_words]),
            ("letters", self.letters, self.idf_V[n_words:]),
        ):
            vectorizer = _vectorizer(kind, {name: column for column, name in enumerate(names)})
            vectorizer.idf_ = idf
            parts.append(vectorizer.transform(texts))
        return (hstack(parts) * np.float32(0.5**0.5)).tocsr()

    def packed(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Returns JSON values and arrays from which `unpacked` makes equal features."""
        return {"words": list(self.words), "letters": list(self.letters)}, {"idf": self.idf_V}

    @classmethod
    def unpacked(cls, values: Mapping[str, Any], arrays: Mapping[str, Array]) -> "Features":
        """Returns the features that `packed` made the values of."""
        return cls(tuple(values["words"]), tuple(values["letters"]), arrays["idf"])


_KINDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "words": {"tokenizer": tokens_of, "token_pattern": None, "ngram_range": (1, 2)},
    "letters": {"analyzer": "char_wb", "ngram_range": (2, 5)},
}


def _vectorizer(
    kind: str, vocabulary: Mapping[str, int] | None = None, *, most: int = MAX_FEATURES, rarest: int = 1
) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    limits = {"min_df": rarest, "max_features": most} if vocabulary is None else {"vocabulary": vocabulary}
    return TfidfVectorizer(preprocessor=folded, sublinear_tf=True, dtype=np.float32, **_KINDS[kind], **limits)
