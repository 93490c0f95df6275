"""Attempts and their store: what was trained or scored once is never trained or scored again.

One attempt = one base x one training set x one setting x one seed; its digest is its name. The store lies
outside DVC: `train-<digest>/` holds the adapter and what the training counted, `evaluate-<digest>/` the
predictions of one attempt on one set of rows. Folders are sealed, so a killed run leaves nothing half-done.
"""

import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from components.evaluation import classical
from components.evaluation import predict as predict_module
from components.evaluation.predict import Answering, Prompted, answer_limit
from components.folders import is_sealed, read_json, read_lines, write_folder, write_json, write_lines
from components.model.adapters import base_parameters
from components.model.adapters import load as load_adapter
from components.model.adapters import save as save_adapter
from components.model.bases import base_digest, base_folder
from components.model.language_model import Progress, device_name, encode_answers, load
from components.records import (
    AttemptSpec,
    Example,
    Json,
    Prediction,
    digest,
    prediction_from_json,
    spec_from_json,
    to_json,
    to_lines,
)
from components.training import train as train_module
from components.training.batches import token_rows

SPEC, RESULT, SHOWN, COST, PREDICTIONS = "spec.json", "result.json", "shown.json", "cost.json", "predictions.jsonl"


@dataclass(frozen=True)
class Attempt:
    """A finished attempt in the store."""

    digest: str
    folder: Path

    @property
    def result(self) -> Mapping[str, Json]:
        """What the training counted: rows, tokens, parameters, the base's digest, a note where it could not."""
        return dict(read_json(self.folder / RESULT))

    @property
    def cost(self) -> Mapping[str, Json]:
        """Seconds, threads and machine; it differs from run to run and enters no hashed output."""
        return dict(read_json(self.folder / COST))


def versions() -> dict[str, str]:
    """Returns the versions of the libraries that decide a training's numbers."""
    return {name: version(name) for name in ("torch", "transformers", "peft")}


def classical_versions() -> dict[str, str]:
    """Returns the versions of the libraries that decide the numbers of a rung without a language model."""
    return {name: version(name) for name in ("scikit-learn", "numpy", "scipy")}


def attempt_digest(spec: AttemptSpec, rows: Sequence[Example], root: Path) -> str:
    """Returns the name of the attempt: base content, rows, settings, library versions, recipes."""
    is_classical = spec.base is None
    return digest(
        {
            "base": base_digest(base_folder(spec.base, root)) if spec.base else "",
            "settings": to_json(spec),
            "rows": [[dict(e.fields), e.answer] for e in rows if spec.method != "prompt" or not e.is_synthetic],
            "versions": classical_versions() if is_classical else versions(),
            "recipes": [classical.RECIPE] if is_classical else [train_module.RECIPE, predict_module.RECIPE],
        }
    )


def train_attempt(store: Path, spec: AttemptSpec, rows: Sequence[Example], root: Path, progress: Progress) -> Attempt:
    """Returns the attempt of `spec` on `rows`, trained now unless the store has it.

    An attempt whose base can take none of the rows is kept too, with a note and no adapter.
    """
    name = attempt_digest(spec, rows, root)
    folder = store / f"train-{name}"
    if not is_sealed(folder):
        write_folder(folder, lambda part: _train_into(part, spec, rows, root, progress))
    return Attempt(name, folder)


def _train_into(part: Path, spec: AttemptSpec, rows: Sequence[Example], root: Path, progress: Progress) -> None:
    started = time.perf_counter()
    result: dict[str, Any] = {
        "base_digest": "",
        "base_parameters": 0,
        "template_digest": "",
        "train_rows": 0,
        "train_rejected": {},
        "train_tokens": 0,
        "trained_parameters": 0,
        "max_answer_tokens": 0,
        "note": "",
    }
    if spec.base is None:
        result |= _fit_into(part, spec, rows)
    else:
        result |= _adapt_into(part, spec, rows, root, progress)
    write_json(part / SPEC, to_json(spec))
    write_json(part / RESULT, result)
    write_json(part / COST, _cost(spec, started))


def _fit_into(part: Path, spec: AttemptSpec, rows: Sequence[Example]) -> dict[str, Any]:
    if why_not := classical.fits(spec):
        return {"note": why_not}
    n, why_not = classical.fit(part, spec, rows)
    return {"train_rows": len(rows), "trained_parameters": n, "note": why_not}


def _adapt_into(
    part: Path, spec: AttemptSpec, rows: Sequence[Example], root: Path, progress: Progress
) -> dict[str, Any]:
    assert spec.base is not None  # as the caller checked
    lm = load(spec.base, root, template=spec.template, precision=spec.precision)
    is_label = spec.form.format == "label"
    result: dict[str, Any] = {
        "base_digest": lm.digest,
        "base_parameters": base_parameters(lm),
        "template_digest": lm.template_digest,
        "max_answer_tokens": 0 if is_label else answer_limit(lm, rows),
    }
    if spec.method == "prompt":
        labels = max((len(tokens) for tokens in encode_answers(lm, spec.form.labels)), default=1) if is_label else 0
        room = labels or result["max_answer_tokens"]
        write_json(part / SHOWN, predict_module.fitting_shown(lm, spec, rows, room))
    else:
        tokens, rejected = token_rows(lm, spec.prompt, rows)
        result |= {"train_rows": len(tokens), "train_rejected": rejected}
        if tokens:
            trained = train_module.train(lm, spec, tokens, progress=progress)
            save_adapter(trained.lm, part)
            result |= {"train_tokens": trained.tokens, "trained_parameters": trained.parameters}
            write_json(part / "losses.json", [round(loss, 6) for loss in trained.losses])
        else:
            context = f"the context of {lm.context_tokens} tokens"
            result["note"] = f"could not be trained: all {len(rows)} training rows are longer than {context}"
    return result


def _cost(spec: AttemptSpec, started: float) -> dict[str, Any]:
    import torch

    return {
        "seconds": round(time.perf_counter() - started, 3),
        "threads": torch.get_num_threads(),
        "device": device_name() if spec.base else "cpu",
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "versions": versions(),
    }


def open_attempt(folder: Path, root: Path, spec: AttemptSpec | None = None) -> Answering:
    """Returns the model of an attempt's folder, ready to answer.

    `spec` overrides the folder's own; the base comes from where it says.
    """
    spec = spec or spec_from_json(read_json(folder / SPEC))
    if spec.base is None:
        return classical.Classical(folder, spec)
    limit = int(read_json(folder / RESULT)["max_answer_tokens"])
    lm = load(spec.base, root, template=spec.template, precision=spec.precision)
    if spec.method == "prompt":
        examples = [(dict(fields), answer) for fields, answer in read_json(folder / SHOWN)]
        return Prompted(lm, spec, examples, limit)
    return Prompted(load_adapter(lm, folder), spec, (), limit)


def evaluate_attempt(
    store: Path, attempt: Attempt, spec: AttemptSpec, rows: Sequence[Example], root: Path, progress: Progress
) -> tuple[Prediction, ...]:
    """Returns the attempt's predictions on `rows`, computed now unless the store has them."""
    if attempt.result["note"]:
        return tuple(Prediction(e.id, e.group, e.answer, None, unscored="not_trained", facts=e.facts) for e in rows)
    content = [[e.id, e.group, dict(e.fields), e.answer, list(e.facts)] for e in rows]
    name = digest({"attempt": attempt.digest, "rows": content, "recipe": predict_module.RECIPE})
    folder = store / f"evaluate-{name}"
    if not is_sealed(folder):
        started = time.perf_counter()
        predictions = open_attempt(attempt.folder, root, spec).predict(rows, progress)

        def write(part: Path) -> None:
            write_lines(part / PREDICTIONS, to_lines(predictions))
            write_json(part / COST, _cost(spec, started))

        write_folder(folder, write)
    return tuple(prediction_from_json(line) for line in read_lines(folder / PREDICTIONS))
