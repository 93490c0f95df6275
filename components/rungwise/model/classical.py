"""The rung without a language model: TF-IDF with logistic regression for labels, word rules for lists.

It shows whether a task needs a language model at all. It is saved as safetensors and JSON, never as a pickle, so that
the model that was scored is the model that is served.
https://scikit-learn.org/stable/modules/feature_extraction.html#text-feature-extraction
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rungwise.core.folders import read_json, write_json
from rungwise.core.prompts import list_text, parse_list, slots
from rungwise.core.records import AttemptSpec, Example, Prediction

MODEL, WEIGHTS = "classical.json", "classical.safetensors"
MIN_SHARE = 0.5
"""A word predicts an item if more than this share of the training rows with the word have the item."""
MIN_ROWS = 2
"""A word predicts an item only if at least this many training rows have the word."""
_WORD = re.compile(r"\w+")


class Classical:
    """A fitted classical model that answers rows."""

    def __init__(self, folder: Path, spec: AttemptSpec) -> None:
        self._spec = spec
        self._model: Mapping[str, Any] = read_json(folder / MODEL)
        if spec.form.format == "label":
            from safetensors.numpy import load_file

            weights = load_file(folder / WEIGHTS)
            self._vectorizer = _vectorizer(self._model["vocabulary"])
            self._vectorizer.idf_ = weights["idf"].astype("float64")
            self._coefficients_LV = weights["coefficients"].astype("float64")
            self._intercepts_L = weights["intercepts"].astype("float64")

    @property
    def digest(self) -> str:
        """Empty, as there is no base."""
        return ""

    @property
    def slots(self) -> tuple[str, ...]:
        """The fields that a row must have."""
        return slots(self._spec.prompt)

    def predict(self, rows: Sequence[Example], progress: Any = None) -> tuple[Prediction, ...]:
        """Returns one prediction for each row, in order."""
        if not rows:
            return ()
        answers = self._labels(rows) if self._spec.form.format == "label" else self._lists(rows)
        return tuple(
            Prediction(e.id, e.group, e.answer, text, round(share, 6), facts=e.facts)
            for e, (text, share) in zip(rows, answers, strict=True)
        )

    def probe(self, texts: Sequence[Mapping[str, str]]) -> dict[str, Any]:
        """Returns arrays that show whether the model reloads unchanged: probabilities, or written lists as bytes."""
        import numpy as np

        rows = [Example(str(i), fields, "", "probe", i, str(i)) for i, fields in enumerate(texts)]
        if self._spec.form.format == "label":
            return {"probe-labels": self._shares_NL(rows)}
        text = "\n".join(text for text, _ in self._lists(rows)) + repr(sorted(self._model["items"].items()))
        return {"probe-lists": np.frombuffer(text.encode(), dtype=np.uint8)}

    def _shares_NL(self, rows: Sequence[Example]) -> Any:
        import numpy as np

        scores_NL = self._vectorizer.transform([_text(self._spec, e) for e in rows]) @ self._coefficients_LV.T
        scores_NL = scores_NL + self._intercepts_L
        exp_NL = np.exp(scores_NL - scores_NL.max(1, keepdims=True))
        return exp_NL / exp_NL.sum(1, keepdims=True)

    def _labels(self, rows: Sequence[Example]) -> list[tuple[str, float]]:
        return [(self._model["labels"][int(row.argmax())], float(row.max())) for row in self._shares_NL(rows)]

    def _lists(self, rows: Sequence[Example]) -> list[tuple[str, float]]:
        answers = []
        for row in rows:
            words = set(_pieces(_text(self._spec, row)))
            items: dict[str, float] = {}
            for item, shares in self._model["items"].items():
                share = max((shares[w] for w in words & shares.keys()), default=0.0)
                if share > MIN_SHARE:
                    items[item] = share
            text = list_text(sorted(items), self._spec.form.separator)
            answers.append((text, min(items.values(), default=0.0)))
        return answers


def fits(spec: AttemptSpec) -> str:
    """Returns why there is no such rung for the task's answers; empty if there is one."""
    if spec.form.format in ("label", "list"):
        return ""
    return f"no rung without a language model can write an answer of format {spec.form.format}"


def fit(folder: Path, spec: AttemptSpec, rows: Sequence[Example]) -> tuple[int, str]:
    """Fits the model on `rows` and saves it in `folder`.

    Returns the number of fitted parameters, and the reason if nothing could be fitted, otherwise an empty text.
    """
    return _fit_labels(folder, spec, rows) if spec.form.format == "label" else _fit_lists(folder, spec, rows)


def _fit_labels(folder: Path, spec: AttemptSpec, rows: Sequence[Example]) -> tuple[int, str]:
    import numpy as np
    from safetensors.numpy import save_file
    from sklearn.linear_model import LogisticRegression

    vectorizer, regression = _vectorizer(), LogisticRegression(C=30.0, max_iter=300)
    try:
        texts = vectorizer.fit_transform([_text(spec, e) for e in rows])
        regression.fit(texts, [e.answer for e in rows])
    except ValueError as error:  # from scikit-learn: a single label, or texts without a word
        return 0, f"nothing to fit: {str(error).splitlines()[0]}"
    coefficients, intercepts = regression.coef_, regression.intercept_
    if len(regression.classes_) == 2:  # scikit-learn keeps one row for two labels
        coefficients, intercepts = (np.concatenate([-x / 2, x / 2]) for x in (coefficients, intercepts))
    weights = {"idf": vectorizer.idf_, "coefficients": coefficients, "intercepts": intercepts}
    save_file({n: np.ascontiguousarray(w, dtype=np.float32) for n, w in weights.items()}, folder / WEIGHTS)
    vocabulary = {word: int(column) for word, column in vectorizer.vocabulary_.items()}
    write_json(folder / MODEL, {"labels": [str(c) for c in regression.classes_], "vocabulary": vocabulary})
    return int(coefficients.size + intercepts.size), ""


def _fit_lists(folder: Path, spec: AttemptSpec, rows: Sequence[Example]) -> tuple[int, str]:
    """Counts the rows with each word or pair of words and each item, and saves the words that predict an item."""
    n_with_word: Counter[str] = Counter()
    n_with_item: dict[str, Counter[str]] = {}
    for row in rows:
        pieces = sorted(set(_pieces(_text(spec, row))))
        n_with_word.update(pieces)
        for item in parse_list(row.answer, spec.form.separator):
            n_with_item.setdefault(item, Counter()).update(pieces)
    items = {}
    for item, counts in sorted(n_with_item.items()):
        own_words = " ".join(_WORD.findall(item.casefold()))
        shares = {
            piece: round(n / n_with_word[piece], 6)
            for piece, n in sorted(counts.items())
            if n / n_with_word[piece] > MIN_SHARE and (n_with_word[piece] >= MIN_ROWS or piece == own_words)
        }
        if shares:
            items[item] = shares
    write_json(folder / MODEL, {"items": items})
    return sum(len(shares) for shares in items.values()), "" if items else "nothing to fit: no item ever recurs"


def _vectorizer(vocabulary: Mapping[str, int] | None = None) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    pattern = r"(?u)\b\w+\b"
    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=pattern, vocabulary=vocabulary)


def _text(spec: AttemptSpec, example: Example) -> str:
    return "\n".join(example.fields[name] for name in sorted(slots(spec.prompt)))


def _pieces(text: str) -> list[str]:
    """Returns the words of a text and its pairs of neighbouring words."""
    words = _WORD.findall(text.casefold())
    return [*words, *(f"{a} {b}" for a, b in zip(words, words[1:], strict=False))]
