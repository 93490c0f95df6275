"""Attempts and their store: what was trained or scored once is never trained or scored again.

One attempt = one base x one training set x one setting x one seed; its digest is its name. The store lies
outside DVC: `train-<digest>/` holds the adapter and what the training counted, `evaluate-<digest>/` the
predictions of one attempt on one set of rows. Folders are sealed, so a killed run leaves nothing half-done.
"""

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from components.climbing import bundles
from components.climbing.bundles import Bundle
from components.evaluation import classical
from components.evaluation import predict as predict_module
from components.evaluation.metrics import Metric
from components.evaluation.predict import Answering, Prompted, answer_limit
from components.folders import is_sealed, read_json, read_lines, write_folder, write_json, write_lines
from components.methods import METHODS
from components.model.adapters import VIRTUAL, base_parameters, with_room
from components.model.adapters import load as load_adapter
from components.model.adapters import save as save_adapter
from components.model.bases import base_digest, base_folder
from components.model.language_model import LanguageModel, Progress, device_name, encode_answers, load
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
from components.training.audit import Audit, audit, check, check_again
from components.training.batches import encode, token_rows
from components.training.checkpoints import Checkpoints
from components.workspace import say

SPEC, RESULT, SHOWN, COST, PREDICTIONS = "spec.json", "result.json", "shown.json", "cost.json", "predictions.jsonl"
AUDIT, LOSSES = "audit.json", "losses.json"


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
    """Returns the versions of the libraries that decide a training's numbers; a build's name (`+cpu`) is left out."""
    return {name: version(name).partition("+")[0] for name in ("torch", "transformers", "peft")}


def classical_versions() -> dict[str, str]:
    """Returns the versions of the libraries that decide the numbers of a rung without a language model."""
    return {name: version(name) for name in ("scikit-learn", "numpy", "scipy")}


def attempt_digest(spec: AttemptSpec, rows: Sequence[Example], root: Path, looked_at: Sequence[Example] = ()) -> str:
    """Returns the name of the attempt: base content, rows, settings, library versions, recipes."""
    is_classical = spec.base is None
    return digest(
        {
            "base": base_digest(base_folder(spec.base, root)) if spec.base else "",
            "settings": to_json(spec),
            "rows": [[dict(e.fields), e.answer] for e in rows if spec.method != "prompt" or not e.is_synthetic],
            **({"looked_at": [[e.id, dict(e.fields), e.answer] for e in looked_at]} if looked_at else {}),
            "versions": classical_versions() if is_classical else versions(),
            "recipes": [classical.RECIPE] if is_classical else [train_module.RECIPE, predict_module.RECIPE],
        }
    )


def _looked_at(spec: AttemptSpec, dev: Sequence[Example]) -> Sequence[Example]:
    """Returns the development rows that a training looks at: some of them, by their ids' hashes; none by default."""
    if not spec.look_every:
        return ()
    return sorted(dev, key=lambda e: digest(e.id))[: spec.look_rows]


@dataclass(frozen=True)
class How:
    """How an attempt is run: nothing here changes what it is."""

    checkpoint_steps: int = 50
    """Steps between two points from which a killed training goes on."""
    launch: tuple[str, ...] = ()
    """A command in front of `python -m` that starts several processes; empty: this one process trains."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """Fault -> share of rows from which the audit stops (see `faults.LIMITS`)."""
    shown: Path = Path("audit.txt")
    """Where the audit writes rows for a person to look at."""
    say: Callable[[str], None] = say
    resume: Path | None = None
    """Where the checkpoints lie; None: beside the attempt."""

    @property
    def settings(self) -> dict[str, Json]:
        """Returns what travels with a bundle."""
        return {"checkpoint_steps": self.checkpoint_steps, "limits": dict(self.limits)}


def bundle_of(spec: AttemptSpec, rows: Sequence[Example], root: Path, *, dev: Sequence[Example], how: How) -> Bundle:
    """Returns the attempt of `spec` on `rows` before it is run; `dev`: see `train_attempt`."""
    seen = _looked_at(spec, dev)
    name = attempt_digest(spec, rows, root, seen)
    return Bundle(name, spec, rows, seen, root, versions(), how.settings)


def train_attempt(
    store: Path,
    spec: AttemptSpec,
    rows: Sequence[Example],
    root: Path,
    progress: Progress,
    *,
    dev: Sequence[Example] = (),
    how: How | None = None,
) -> Attempt:
    """Returns the attempt of `spec` on `rows`, trained now unless the store has it.

    `dev`: the rows that are looked at on the way, where the spec says so. An attempt whose base can take none of the
    rows, or too few, is kept too, with a note and no adapter.

    Raises:
        TrainingError: the rows' tokens are faulty, the training diverges, or the memory does not hold a row.
        ModelError: the base or the method can't be used.
    """
    how = how or How()
    bundle = bundle_of(spec, rows, root, dev=dev, how=how)
    folder = store / f"train-{bundle.name}"
    if not is_sealed(folder):
        if how.launch and METHODS[spec.method].trains:
            _launched(store, bundle, how, progress)
        else:
            checkpoints = _checkpoints(store, bundle, how)
            write_folder(folder, lambda part: _train_into(part, bundle, how, progress, checkpoints))
            checkpoints.clear()
    elif (folder / AUDIT).is_file() and not read_json(folder / RESULT)["note"]:
        known = read_json(folder / AUDIT)
        check_again(known["faults"], known["rows"], {**how.limits, "over_context": 1.0}, f"base {spec.base}")
    return Attempt(bundle.name, folder)


def _launched(store: Path, bundle: Bundle, how: How, progress: Progress) -> None:
    """Trains on several processes: they run a bundle that lies in the store."""
    folder = store / f"bundle-{bundle.name}"
    bundles.pack(folder, bundle, with_base=False)
    bundles.launched(how.launch, folder, bundle.root, how.say, progress)
    bundles.unpack(folder, store)
    shutil.rmtree(folder, ignore_errors=True)


def _checkpoints(store: Path, bundle: Bundle, how: How) -> Checkpoints:
    made_for = {"attempt": bundle.name, **to_json(bundle.spec), "base": str(bundle.spec.base)}
    return Checkpoints(how.resume or store / f"resume-{bundle.name}", made_for, how.checkpoint_steps, how.say)


def _train_into(part: Path, bundle: Bundle, how: How, progress: Progress, checkpoints: Checkpoints) -> None:
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
    notes: tuple[str, ...] = ()
    if bundle.spec.base is None:
        result |= _fit_into(part, bundle.spec, bundle.rows)
    else:
        made, notes = _adapt_into(part, bundle, how, progress, checkpoints)
        result |= made
    write_json(part / SPEC, to_json(bundle.spec))
    write_json(part / RESULT, result)
    write_json(part / COST, {**_cost(bundle.spec, started), "notes": list(notes)})


def _fit_into(part: Path, spec: AttemptSpec, rows: Sequence[Example]) -> dict[str, Any]:
    if why_not := classical.fits(spec):
        return {"note": why_not}
    n, why_not = classical.fit(part, spec, rows)
    return {"train_rows": len(rows), "trained_parameters": n, "note": why_not}


def _adapt_into(
    part: Path, bundle: Bundle, how: How, progress: Progress, checkpoints: Checkpoints
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Returns what the training counted, and what happened on the way."""
    spec, rows = bundle.spec, bundle.rows
    assert spec.base is not None  # as the caller checked
    lm = load(spec.base, bundle.root, template=spec.template, precision=spec.precision)
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
        return result, ()
    if spec.method in VIRTUAL:
        reader = with_room(lm, spec.tokens, f"ladder: base {spec.base}, method {spec.method}, `tokens`")
    else:
        reader = lm
    encoded = encode(reader, spec.prompt, rows)
    found = audit(reader, encoded)
    write_json(part / AUDIT, {"rows": found.rows, "loss_share": found.loss_share, "faults": dict(found.faults)})
    tokens, rejected = token_rows(reader, encoded)
    result |= {"train_rows": len(tokens), "train_rejected": rejected}
    if too_long := _too_long(found, spec, reader, tokens):
        return {**result, "train_rows": 0, "note": too_long}, ()
    check(found, reader, encoded, {**how.limits, "over_context": 1.0}, how.shown)
    how.say(f"{found.loss_share:.1%} of {found.tokens:,} tokens carry loss")
    if left_out := sum(rejected.values()):
        how.say(f"{left_out} of {len(rows)} training rows are longer than the base reads, and left out")
    trained = train_module.train(
        lm, spec, tokens, progress=progress, checkpoints=checkpoints, score=_score(spec, bundle.looked_at, result)
    )
    for note in trained.notes:
        how.say(note)
    save_adapter(trained.lm, spec, part)
    result |= {"train_tokens": trained.tokens, "trained_parameters": trained.parameters}
    result |= {"learning_rate": trained.learning_rate, "kept_step": trained.kept_step}
    losses = [round(loss, 6) for loss in trained.losses]
    write_json(part / LOSSES, {"losses": losses, "scores": [list(score) for score in trained.scores]})
    return result, trained.notes


def _too_long(found: Audit, spec: AttemptSpec, lm: LanguageModel, tokens: Sequence[object]) -> str:
    """Returns why the rung is passed over where too many rows are too long for its base; empty where they are not."""
    share = found.faults.get("over_context", 0.0)
    context = f"the context of {lm.context_tokens} tokens"
    if not tokens:
        return f"could not be trained: all {found.rows} training rows are longer than {context}"
    if share > spec.max_over_context:
        told = f"{round(share * found.rows)} of {found.rows} training rows are longer than {context}"
        return f"was not trained: {told} (limit {spec.max_over_context:.0%})"
    return ""


def _score(spec: AttemptSpec, dev: Sequence[Example], result: Mapping[str, Any]) -> Callable[[LanguageModel], float]:
    """Returns what looks at a model: the mean of the spec's metric over the rows that can be scored."""
    metric = Metric(spec.metric, spec.form)

    def score(lm: LanguageModel) -> float:
        predictions = Prompted(lm, spec, (), int(result["max_answer_tokens"])).predict(dev)
        values = [metric(p) for p in predictions if p.answer is not None]
        return sum(values) / len(values) if values else 0.0

    return score


def _cost(spec: AttemptSpec, started: float) -> dict[str, Any]:
    import torch

    return {
        "seconds": round(time.perf_counter() - started, 3),
        "threads": torch.get_num_threads(),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "peak_mib": round(peak_mib(), 1),
        "device": device_name() if spec.base else "cpu",
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "versions": versions(),
    }


def peak_mib() -> float:
    """Returns the most memory that this process has held, in MiB: the GPU's where it computes on one."""
    import resource

    import torch

    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return float(torch.cuda.max_memory_allocated()) / 2**20
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


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
