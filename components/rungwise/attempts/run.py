"""Runs an attempt: trained now, unless the store has it. A killed run leaves nothing half-done."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rungwise.attempts import bundle as bundles
from rungwise.attempts.bundle import Bundle
from rungwise.attempts.cost import cost_of
from rungwise.attempts.store import AUDIT, COST, LOSSES, RESULT, SHOWN, SPEC, Attempt, attempt_digest, versions
from rungwise.core.folders import is_sealed, read_json, write_folder, write_json
from rungwise.core.methods import METHODS
from rungwise.core.progress import say
from rungwise.core.records import AttemptSpec, Example, Json, digest, to_json
from rungwise.evidence.metrics import Metric
from rungwise.model import classical
from rungwise.model import predict as predict_module
from rungwise.model.adapter_files import save as save_adapter
from rungwise.model.adapters import VIRTUAL, base_parameters, with_room
from rungwise.model.language_model import LanguageModel, Progress, encode_answers, load
from rungwise.model.predict import Prompted, answer_limit
from rungwise.training import loop
from rungwise.training.audit import Audit, audit, check, check_again
from rungwise.training.batches import encode, token_rows
from rungwise.training.checkpoints import Checkpoints


def _looked_at(spec: AttemptSpec, dev: Sequence[Example]) -> Sequence[Example]:
    """Returns the development rows that a training looks at: some of them, by their ids' hashes; none by default."""
    if not spec.eval_every:
        return ()
    return sorted(dev, key=lambda e: digest(e.id))[: spec.eval_rows]


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
    write_json(part / COST, {**cost_of(bundle.spec, started), "notes": list(notes)})


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
    trained = loop.train(
        lm, spec, tokens, progress=progress, checkpoints=checkpoints, score=_score(spec, bundle.looked_at, result)
    )
    for note in trained.notes:
        how.say(note)
    save_adapter(trained.lm, spec, part)
    result |= {"train_tokens": trained.tokens, "trained_parameters": trained.parameters}
    result |= {"learning_rate": trained.learning_rate, "kept_step": trained.best_step}
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
