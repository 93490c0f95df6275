"""The rung without a language model: TF-IDF with logistic regression for labels, counted rules for lists.

A climb without it can sell a fine-tune for something that a minute of scikit-learn does as well. It is kept as
plain numbers (safetensors and JSON, never a pickle), so that what is served is what was scored.
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
MORE_THAN = 0.5
"""An item is listed where a word stands with which it was right in more than this share of the training rows."""
LEAST_ROWS = 2
"""A word points to an item only if it stood in so many training rows."""
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
        """There is no base whose digest could change."""
        return ""

    @property
    def slots(self) -> tuple[str, ...]:
        """The fields that a row must have."""
        return slots(self._spec.prompt)

    def predict(self, rows: Sequence[Example], progress: Any = None) -> tuple[Prediction, ...]:
        """Returns one prediction a row, in the rows' order."""
        if not rows:
            return ()
        answers = self._labels(rows) if self._spec.form.format == "label" else self._lists(rows)
        return tuple(
            Prediction(e.id, e.group, e.answer, text, round(share, 6), facts=e.facts)
            for e, (text, share) in zip(rows, answers, strict=True)
        )

    def probe(self, texts: Sequence[Mapping[str, str]]) -> dict[str, Any]:
        """Returns what proves that the model reloads as it was: probabilities, or the lists themselves as bytes."""
        import numpy as np

        rows = [Example(str(i), fields, "", "probe", i, str(i)) for i, fields in enumerate(texts)]
        if self._spec.form.format == "label":
            return {"probe-labels": self._shares_NL(rows)}
        told = "\n".join(text for text, _ in self._lists(rows)) + repr(sorted(self._model["items"].items()))
        return {"probe-lists": np.frombuffer(told.encode(), dtype=np.uint8)}

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
            found: dict[str, float] = {}
            for item, pointers in self._model["items"].items():
                share = max((pointers[w] for w in words & pointers.keys()), default=0.0)
                if share > MORE_THAN:
                    found[item] = share
            text = list_text(sorted(found), self._spec.form.separator)
            answers.append((text, min(found.values(), default=0.0)))
        return answers


def fits(spec: AttemptSpec) -> str:
    """Returns why there is no such rung for the task; empty where there is one."""
    if spec.form.format in ("label", "list"):
        return ""
    return f"no rung without a language model can write an answer of format {spec.form.format}"


def fit(folder: Path, spec: AttemptSpec, rows: Sequence[Example]) -> tuple[int, str]:
    """Fits on `rows` into `folder`; returns how many numbers were fitted, and why none were (else empty)."""
    return _fit_labels(folder, spec, rows) if spec.form.format == "label" else _fit_lists(folder, spec, rows)


def _fit_labels(folder: Path, spec: AttemptSpec, rows: Sequence[Example]) -> tuple[int, str]:
    import numpy as np
    from safetensors.numpy import save_file
    from sklearn.linear_model import LogisticRegression

    vectorizer, regression = _vectorizer(), LogisticRegression(C=30.0, max_iter=300)
    try:
        texts = vectorizer.fit_transform([_text(spec, e) for e in rows])
        regression.fit(texts, [e.answer for e in rows])
    except ValueError as error:  # scikit-learn's word for "nothing to fit": a single label, texts without a word
        return 0, f"nothing to fit: {str(error).splitlines()[0]}"
    coefficients, intercepts = regression.coef_, regression.intercept_
    if len(regression.classes_) == 2:  # scikit-learn keeps one row for two labels
        coefficients, intercepts = (np.concatenate([-x / 2, x / 2]) for x in (coefficients, intercepts))
    weights = {"idf": vectorizer.idf_, "coefficients": coefficients, "intercepts": intercepts}
    save_file({n: np.ascontiguousarray(w, dtype=np.float32) for n, w in weights.items()}, folder / WEIGHTS)
    vocabulary = {word: int(place) for word, place in vectorizer.vocabulary_.items()}
    write_json(folder / MODEL, {"labels": [str(c) for c in regression.classes_], "vocabulary": vocabulary})
    return int(coefficients.size + intercepts.size), ""


def _fit_lists(folder: Path, spec: AttemptSpec, rows: Sequence[Example]) -> tuple[int, str]:
    """Counts how often an item was right where a word or pair of words stood, and keeps what points to it."""
    stood: Counter[str] = Counter()
    right: dict[str, Counter[str]] = {}
    for row in rows:
        pieces = sorted(set(_pieces(_text(spec, row))))
        stood.update(pieces)
        for item in parse_list(row.answer, spec.form.separator):
            right.setdefault(item, Counter()).update(pieces)
    items = {}
    for item, counts in sorted(right.items()):
        own = " ".join(_WORD.findall(item.casefold()))
        pointers = {
            piece: round(n / stood[piece], 6)
            for piece, n in sorted(counts.items())
            if n / stood[piece] > MORE_THAN and (stood[piece] >= LEAST_ROWS or piece == own)
        }
        if pointers:
            items[item] = pointers
    write_json(folder / MODEL, {"items": items})
    return sum(len(pointers) for pointers in items.values()), "" if items else "nothing to fit: no item ever recurs"


def _vectorizer(vocabulary: Mapping[str, int] | None = None) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    pattern = r"(?u)\b\w+\b"
    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=pattern, vocabulary=vocabulary)


def _text(spec: AttemptSpec, example: Example) -> str:
    return "\n".join(example.fields[name] for name in sorted(slots(spec.prompt)))


def _pieces(text: str) -> list[str]:
    """Returns a text's words, and its pairs of neighbours."""
    words = _WORD.findall(text.casefold())
    return [*words, *(f"{a} {b}" for a, b in zip(words, words[1:], strict=False))]
