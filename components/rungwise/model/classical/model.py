"""Fits, saves, loads and asks the rung without a language model; an object's fields are answered one by one.

A folder holds `classical.json` and `classical.safetensors`, never a pickle, so that the model that was scored is the
model that is served.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from rungwise.core.errors import ModelError, Problem
from rungwise.core.folders import read_json, write_json
from rungwise.core.prompts import list_text, object_text, parse_list, parse_object, slots
from rungwise.core.records import AnswerForm, AttemptSpec, Example, Prediction, prediction_of
from rungwise.model.classical.features import Array, Features, Sparse, affordable, text_of
from rungwise.model.classical.labels import Labels
from rungwise.model.classical.lists import Lists
from rungwise.model.classical.replies import Replies

MODEL, WEIGHTS = "classical.json", "classical.safetensors"
VERSION: Final = 2
"""The version of the two files."""
Part = Labels | Lists | Replies
"""The model of a whole answer, or of one field of an object."""
Value = str | list[str]
"""The answer of a part: a label or a text, or the items of a list."""
_PARTS: Final[Mapping[str, type[Part]]] = {"label": Labels, "list": Lists, "text": Replies}


@dataclass(frozen=True)
class Fitted:
    """What came of fitting a model."""

    rows: int = 0
    """Training rows that were used."""
    parameters: int = 0
    note: str = ""
    """Why nothing could be fitted; empty if a model was saved."""


def fit(folder: Path, spec: AttemptSpec, rows: Sequence[Example]) -> Fitted:
    """Fits the model on `rows` and saves it in `folder`; writes nothing if nothing can be fitted."""
    texts = [text_of(spec, e) for e in rows]
    usable = [i for i in affordable(texts) if spec.form.format != "json" or parse_object(spec.form, rows[i].answer)]
    texts, rows = [texts[i] for i in usable], [rows[i] for i in usable]
    answers = _answers(spec.form, rows)
    if why_not := _nothing(spec.form, answers.get("", ())):
        return Fitted(note=f"nothing to fit: {why_not}")
    try:
        features = Features.fitted(texts, _n_labels(spec.form, answers))
    except ValueError:
        return Fitted(note="nothing to fit: no training row has a text")
    texts_NV, groups = features(texts), [e.group for e in rows]
    parts = {
        name: _fitted_part(form, texts_NV, texts, answers[name], groups) for name, form in _forms(spec.form).items()
    }
    _save(folder, features, parts)
    return Fitted(len(rows), sum(part.size for part in parts.values()))


def _forms(form: AnswerForm) -> Mapping[str, AnswerForm]:
    """Returns the form of each part; a whole answer is the part without a name."""
    return form.fields if form.format == "json" else {"": form}


def _answers(form: AnswerForm, rows: Sequence[Example]) -> dict[str, list[Value]]:
    """Returns each part's answers of all rows."""
    if form.format == "json":
        values = [parse_object(form, e.answer) or {} for e in rows]
        return {name: [row[name] for row in values] for name in form.fields}
    if form.format == "list":
        return {"": [parse_list(e.answer, form.separator) for e in rows]}
    return {"": [e.answer for e in rows]}


def _n_labels(form: AnswerForm, answers: Mapping[str, Sequence[Value]]) -> int:
    """Returns the largest number of labels of a part, at least 1."""
    parts = (answers[name] for name, one in _forms(form).items() if one.format == "label")
    return max([1, *(len(set(map(str, part))) for part in parts)])


def _nothing(form: AnswerForm, answers: Sequence[Value]) -> str:
    """Returns why no model can be learnt from a task's answers; empty if one can."""
    if form.format == "label" and len(set(map(str, answers))) < 2:
        return "all training rows have the same label"
    if form.format == "list" and not any(answers):
        return "no training row has an item"
    return ""


def _fitted_part(
    form: AnswerForm, texts_NV: Sparse, texts: Sequence[str], answers: Sequence[Any], groups: Sequence[str]
) -> Part:
    if form.format == "label":
        return Labels.fitted(texts_NV, answers, groups)
    if form.format == "list":
        return Lists.fitted(texts_NV, texts, answers, groups, form.separator)
    return Replies.fitted(texts_NV, answers)


def _save(folder: Path, features: Features, parts: Mapping[str, Part]) -> None:
    from safetensors.numpy import save_file

    values, arrays = features.packed()
    model: dict[str, Any] = {"version": VERSION, "features": values, "order": list(parts), "parts": {}}
    weights = {f"features/{name}": array for name, array in arrays.items()}
    for field, part in parts.items():
        model["parts"][field], arrays = part.packed()
        weights |= {f"parts/{field}/{name}": array for name, array in arrays.items()}
    save_file({name: np.ascontiguousarray(array) for name, array in weights.items()}, folder / WEIGHTS)
    write_json(folder / MODEL, model)


class Classical:
    """A fitted classical model that answers rows."""

    def __init__(self, folder: Path, spec: AttemptSpec) -> None:
        from safetensors.numpy import load_file

        self._spec = spec
        model: Mapping[str, Any] = read_json(folder / MODEL)
        if model.get("version") != VERSION:
            raise ModelError(
                Problem(
                    "a model was fitted by another version of Rungwise",
                    where=str(folder / MODEL),
                    found=f"version {model.get('version', 1)} of its files",
                    wanted=f"version {VERSION}",
                    do="`rungwise run` fits it again",
                )
            )
        weights = load_file(folder / WEIGHTS)
        self._features = Features.unpacked(model["features"], _below(weights, "features/"))
        self._parts: dict[str, Part] = {
            name: _PARTS[form.format].unpacked(model["parts"][name], _below(weights, f"parts/{name}/"))
            for name, form in sorted(_forms(spec.form).items(), key=lambda item: model["order"].index(item[0]))
        }

    @property
    def digest(self) -> str:
        """Empty, as there is no base."""
        return ""

    @property
    def slots(self) -> tuple[str, ...]:
        """The fields that a row must have."""
        return slots(self._spec.prompt)

    def predict(self, rows: Sequence[Example], progress: Any = None) -> tuple[Prediction, ...]:
        """Returns one prediction for each row, in order.

        The probability of an object is that of its least probable field, the probability of a text the similarity of
        the training row that it comes from.
        """
        if not rows:
            return ()
        texts = [text_of(self._spec, e) for e in rows]
        texts_NV = self._features(texts)
        answers = {name: _ask(part, texts_NV, texts) for name, part in self._parts.items()}
        predictions = []
        for number, row in enumerate(rows):
            values = {name: one[number][0] for name, one in answers.items()}
            share = min(one[number][1] for one in answers.values())
            predictions.append(prediction_of(row, self._written(values), round(share, 6)))
        return tuple(predictions)

    def _written(self, values: Mapping[str, Value]) -> str:
        """Returns the answer as a language model would write it."""
        form = self._spec.form
        if form.format == "json":
            return object_text(values)
        value = values[""]
        return value if isinstance(value, str) else list_text(value, form.separator)

    def probe(self, texts: Sequence[Mapping[str, str]]) -> dict[str, Any]:
        """Returns arrays that show whether the model reloads unchanged: probabilities, or replies as bytes."""
        rows = [Example(str(i), fields, "", "probe", i, str(i)) for i, fields in enumerate(texts)]
        joined = [text_of(self._spec, e) for e in rows]
        texts_NV = self._features(joined)
        return {f"probe-{name or 'answer'}": _probed(part, texts_NV, joined) for name, part in self._parts.items()}


def _below(weights: Mapping[str, Array], start: str) -> dict[str, Array]:
    return {name.removeprefix(start): array for name, array in weights.items() if name.startswith(start)}


def _ask(part: Part, texts_NV: Sparse, texts: Sequence[str]) -> Sequence[tuple[Value, float]]:
    return part.answers(texts_NV, texts) if isinstance(part, Lists) else part.answers(texts_NV)


def _probed(part: Part, texts_NV: Sparse, texts: Sequence[str]) -> Array:
    """Returns what a part computes for texts: a number for each label or item, or the replies as bytes."""
    if isinstance(part, Labels):
        return part.shares(texts_NV)
    if isinstance(part, Lists):
        chances = [sorted(row.items()) for rows in part.chances(texts_NV, texts) for row in rows]
        return np.frombuffer(repr((chances, part.rule)).encode(), dtype=np.uint8)
    return np.frombuffer(repr(part.answers(texts_NV)).encode(), dtype=np.uint8)
