"""The rung of a frozen encoder: linear models on the vectors of a row's text.

A label is chosen by logistic regression. A list holds the items whose probability exceeds a threshold. A text is the
answer of the most similar training row. An object is answered field by field. The strength of the penalty, and a list's
threshold, are chosen by cross-validation on training rows in which all rows of a lineage group are in one fold. The
result is plain numbers in safetensors and JSON.
https://scikit-learn.org/stable/modules/linear_model.html#logistic-regression
Shape letters: N rows, D elements of a vector, K labels or items.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rungwise.core.errors import ModelError, Problem
from rungwise.core.folders import read_json, write_json
from rungwise.core.prompts import list_text, object_text, parse_list, parse_object, slots
from rungwise.core.records import AnswerForm, AttemptSpec, Example, Prediction, prediction_of
from rungwise.core.texts import on_one_line
from rungwise.model.encoder import Encoder
from rungwise.model.language_model import Progress
from rungwise.model.linear import Fitted, fit_items, fit_labels, label_shares, sigmoid
from rungwise.model.vectors import Vectors, vectors_of

MODEL, WEIGHTS = "embed.json", "embed.safetensors"
ANSWERS = "answers.json"
"""The answers of training rows, which hold text of rows."""
_WHOLE: Final = ""
"""The name of the one part of an answer that is not an object."""


class Embedded:
    """A frozen encoder with fitted linear models that answers rows."""

    def __init__(self, folder: Path, spec: AttemptSpec, encoder: Encoder, store: Path | None = None) -> None:
        from safetensors.numpy import load_file

        self._spec, self._encoder, self._store = spec, encoder, store
        self._heads: Mapping[str, Any] = read_json(folder / MODEL)
        self._weights = load_file(folder / WEIGHTS)
        self._answers: Mapping[str, list[str]] = read_json(folder / ANSWERS) if (folder / ANSWERS).is_file() else {}

    @property
    def digest(self) -> str:
        """Digest of the base's files."""
        return self._encoder.digest

    @property
    def slots(self) -> tuple[str, ...]:
        """The fields that a row must have."""
        return slots(self._spec.prompt)

    def predict(self, rows: Sequence[Example], progress: Progress | None = None) -> tuple[Prediction, ...]:
        """Returns one prediction for each row, in order; a text that is too long is cut."""
        if not rows:
            return ()
        vectors_ND = vectors_of(self._encoder, texts_of(self._spec, rows), self._store, progress).rows_ND
        parts = {name: self._part(name, vectors_ND) for name in _forms(self._spec.form)}
        answers = [self._answer({name: part[i] for name, part in parts.items()}) for i in range(len(rows))]
        return tuple(
            prediction_of(row, text, round(share, 6)) for row, (text, share) in zip(rows, answers, strict=True)
        )

    def probe(self, texts: Sequence[Mapping[str, str]]) -> dict[str, Any]:
        """Returns arrays that show whether encoder and linear models reload unchanged: vectors, and scores of each."""
        rows = [Example(str(i), fields, "", "probe", i, str(i)) for i, fields in enumerate(texts)]
        vectors_ND = vectors_of(self._encoder, texts_of(self._spec, rows)).rows_ND
        scores = {f"probe-{name or 'scores'}": self._scores(name, vectors_ND) for name in _forms(self._spec.form)}
        return {"probe-vectors": vectors_ND, **scores}

    def _scores(self, name: str, vectors_ND: Any) -> Any:
        """Returns each row's probability of each label or item, or its similarity to each training row: (N, K)."""
        kind = _forms(self._spec.form)[name].format
        if kind == "text":
            return _unit(vectors_ND) @ self._weights[f"{name}/vectors"].T
        scaled_ND = (vectors_ND - self._weights["mean"]) / self._weights["scale"]
        scores_NK = scaled_ND @ self._weights[f"{name}/coefficients"].T + self._weights[f"{name}/intercepts"]
        return label_shares(scores_NK) if kind == "label" else sigmoid(scores_NK)

    def _part(self, name: str, vectors_ND: Any) -> list[tuple[str | list[str], float]]:
        """Returns one part of each row's answer with its probability."""
        scores_NK = self._scores(name, vectors_ND)
        head, kind = self._heads[name], _forms(self._spec.form)[name].format
        if kind == "list":
            return [_items(row, head["items"], head["threshold"]) for row in scores_NK]
        values = head["labels"] if kind == "label" else self._answers[name]
        best_N = scores_NK.argmax(1)
        return [(values[k], float(min(1.0, max(0.0, row[k])))) for k, row in zip(best_N, scores_NK, strict=True)]

    def _answer(self, parts: Mapping[str, tuple[str | list[str], float]]) -> tuple[str, float]:
        """Returns a row's answer; its probability is that of its least certain part."""
        form = self._spec.form
        share = min(share for _, share in parts.values())
        if form.format == "json":
            return object_text({name: value for name, (value, _) in parts.items()}), share
        value = parts[_WHOLE][0]
        return value if isinstance(value, str) else list_text(value, form.separator), share


def keeps_answers(form: AnswerForm) -> bool:
    """Whether a model of this form keeps the answers of training rows."""
    return any(part.format == "text" for part in _forms(form).values())


def check(folder: Path, spec: AttemptSpec) -> None:
    """Checks that the files of a model from elsewhere have the forms that `fit` writes for `spec`.

    Raises:
        ModelError: a value is missing, has another type or shape, or is not finite.
    """
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    why = ""
    try:
        heads, weights = read_json(folder / MODEL), load_file(folder / WEIGHTS)
        answers = read_json(folder / ANSWERS) if keeps_answers(spec.form) else {}
        width = weights["mean"].shape
        wanted = {"mean": width, "scale": width}
        for name, part in _forms(spec.form).items():
            values = _head_values(heads[name], answers.get(name), part.format)
            rows = {"vectors": (len(values), *width)} if part.format == "text" else {}
            shapes = rows or {"coefficients": (len(values), *width), "intercepts": (len(values),)}
            wanted |= {f"{name}/{kind}": shape for kind, shape in shapes.items()}
        actual = {name: array.shape for name, array in weights.items()}
        if len(width) != 1 or actual != wanted:
            why = f"tensors {actual}; wanted {wanted}"
        elif not all(array.dtype == np.float32 and np.isfinite(array).all() for array in weights.values()):
            why = "a value that is not a finite number"
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        why = f"{type(error).__name__}: {error}"
    if why:
        raise ModelError(
            Problem(
                "the linear models of an attempt are not those of its settings",
                where=str(folder),
                found=on_one_line(why)[:300],
                wanted=f"{MODEL} and {WEIGHTS} as fitting writes them",
                do="don't use them; pack the rung again and run the new bundle on a machine that you trust",
            )
        )


def _head_values(head: Mapping[str, Any], answers: Any, kind: str) -> Sequence[str]:
    """Returns the labels, items or answers of a part; raises ValueError or TypeError if they are not texts."""
    values = answers if kind == "text" else head["labels" if kind == "label" else "items"]
    if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
        raise ValueError("a list of texts is wanted")
    if kind == "list" and not 0 <= head["threshold"] <= 1:
        raise ValueError("a threshold from 0 to 1 is wanted")
    return values


def texts_of(spec: AttemptSpec, rows: Sequence[Example]) -> list[str]:
    """Returns the text of each row: the fields that the prompt uses, one line for each, sorted by name."""
    names = sorted(slots(spec.prompt))
    return ["\n".join(row.fields[name] for name in names) for row in rows]


def fit(folder: Path, spec: AttemptSpec, rows: Sequence[Example], vectors: Vectors) -> tuple[int, str]:
    """Fits the models of an answer's parts on the vectors of `rows`, and saves them in `folder`.

    Returns the number of fitted parameters, and the reason if nothing could be fitted, otherwise an empty text.
    """
    import numpy as np
    from safetensors.numpy import save_file

    if not rows:
        return 0, "nothing to fit: no training rows"
    mean_D, scale_D = vectors.rows_ND.mean(0), vectors.rows_ND.std(0)
    scale_D = np.where(scale_D > 1e-4 * scale_D.max(), scale_D, 1.0)  # an element that hardly varies stays as it is
    scaled_ND = (vectors.rows_ND - mean_D) / scale_D
    weights: dict[str, Any] = {"mean": mean_D, "scale": scale_D}
    heads: dict[str, Any] = {}
    answers: dict[str, list[str]] = {}
    for name, form in _forms(spec.form).items():
        values = _values(spec.form, name, rows)
        used = [i for i, value in enumerate(values) if value is not None]
        groups = [rows[i].group for i in used]
        if form.format == "text":
            weights[f"{name}/vectors"] = _unit(vectors.rows_ND[used])
            answers[name] = [str(values[i]) for i in used]
            heads[name] = {}
            continue
        fitter = fit_labels if form.format == "label" else fit_items
        fitted: Fitted | str = fitter(scaled_ND[used], [values[i] for i in used], groups, spec.seed)
        if isinstance(fitted, str):
            return 0, f"nothing to fit: {f'{name}: ' if name else ''}{fitted}"
        weights |= {f"{name}/coefficients": fitted.coefficients_KD, f"{name}/intercepts": fitted.intercepts_K}
        heads[name] = dict(fitted.head)
    save_file({n: np.ascontiguousarray(w, dtype=np.float32) for n, w in weights.items()}, folder / WEIGHTS)
    write_json(folder / MODEL, heads)
    if answers:
        write_json(folder / ANSWERS, answers)
    return sum(int(w.size) for n, w in weights.items() if n.endswith(("/coefficients", "/intercepts"))), ""


def _forms(form: AnswerForm) -> Mapping[str, AnswerForm]:
    """Returns the parts of an answer: the fields of an object, otherwise the answer itself."""
    return form.fields if form.format == "json" else {_WHOLE: form}


def _values(form: AnswerForm, name: str, rows: Sequence[Example]) -> list[Any]:
    """Returns one part of each row's answer: a text, or a list of items; None if an object is not valid."""
    if form.format == "json":
        objects = [parse_object(form, row.answer) for row in rows]
        return [None if one is None else one[name] for one in objects]
    if form.format == "list":
        return [parse_list(row.answer, form.separator) for row in rows]
    return [row.answer for row in rows]


def _items(shares_K: Any, items: Sequence[str], threshold: float) -> tuple[list[str], float]:
    """Returns the items of a row above the threshold, and the probability of its least certain item."""
    chosen = [k for k, share in enumerate(shares_K) if share >= threshold]
    share = min((float(shares_K[k]) for k in chosen), default=1.0 - float(max(shares_K)))
    return sorted(items[k] for k in chosen), share


def _unit(vectors_ND: Any) -> Any:
    """Returns vectors of length 1, so that a product is a cosine; a vector of zeros stays."""
    import numpy as np

    lengths_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return vectors_ND / np.where(lengths_N1 > 0, lengths_N1, 1.0)
