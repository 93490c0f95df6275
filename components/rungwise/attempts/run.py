"""Runs an attempt unless the store has it. A killed run leaves no partial result."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rungwise.attempts import bundle as bundles
from rungwise.attempts.bundle import Bundle
from rungwise.attempts.cost import cost_of
from rungwise.attempts.launch import launched
from rungwise.attempts.result import check_spec
from rungwise.attempts.store import AUDIT, COST, LOSSES, RESULT, SHOWN, SPEC, Attempt, attempt_digest, versions_of
from rungwise.core.folders import is_sealed, read_json, write_folder, write_json
from rungwise.core.methods import METHODS
from rungwise.core.progress import say
from rungwise.core.records import AttemptSpec, Example, Json, to_json
from rungwise.evidence.metrics import Metric
from rungwise.model import classical, constrain, embed
from rungwise.model.adapter_files import save as save_adapter
from rungwise.model.adapters import base_parameters, with_room
from rungwise.model.encoder import load_encoder
from rungwise.model.language_model import LanguageModel, Progress, encode_answers, load
from rungwise.model.predict import Prompted, answer_limit
from rungwise.model.prompt_choice import choose
from rungwise.model.vectors import vectors_of
from rungwise.training import loop
from rungwise.training.audit import Audit, audit, check, check_again
from rungwise.training.batches import encode, token_rows
from rungwise.training.checkpoints import Checkpoints


@dataclass(frozen=True)
class RunOptions:
    """Options of a run that do not change its result."""

    checkpoint_steps: int = 50
    """Steps between two checkpoints, from which a killed run resumes."""
    launch: tuple[str, ...] = ()
    """The command that starts several processes, such as torchrun; empty: this process trains."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """Fault -> largest share of rows that may have it (see `faults.LIMITS`)."""
    shown: Path = Path("audit.txt")
    """The file for the faulty rows that the audit found."""
    say: Callable[[str], None] = say
    resume: Path | None = None
    """The folder of the checkpoints; None: in the store."""

    @property
    def portable(self) -> dict[str, Json]:
        """The options that a bundle takes along."""
        return {"checkpoint_steps": self.checkpoint_steps, "limits": dict(self.limits)}


def bundle_of(
    spec: AttemptSpec, rows: Sequence[Example], root: Path, *, eval_rows: Sequence[Example], options: RunOptions
) -> Bundle:
    """Returns the attempt of `spec` on `rows`, to be run; `eval_rows`: see `train_attempt`."""
    name = attempt_digest(spec, rows, root, eval_rows)
    return Bundle(name, spec, rows, eval_rows, root, versions_of(spec), options.portable)


def train_attempt(
    store: Path,
    spec: AttemptSpec,
    rows: Sequence[Example],
    root: Path,
    progress: Progress,
    *,
    eval_rows: Sequence[Example] = (),
    options: RunOptions | None = None,
) -> Attempt:
    """Returns the attempt of `spec` on `rows`; trains it only if the store does not have it.

    `eval_rows`: those of the evaluations every `spec.eval_every` steps, none of them in `rows`. If too many rows exceed
    the context of the base, the attempt is stored with a note and without an adapter.

    Raises:
        TrainingError: the rows' tokens have faults, training diverges, or a single row is out of memory.
        ModelError: the base or the method can't be used.
    """
    options = options or RunOptions()
    bundle = bundle_of(spec, rows, root, eval_rows=eval_rows, options=options)
    folder = store / f"train-{bundle.name}"
    if not is_sealed(folder):
        if options.launch and METHODS[spec.method].trains:
            _launched(store, bundle, options, progress)
        else:
            checkpoints = _checkpoints(store, bundle, options)
            write_folder(folder, lambda part: _train_into(part, bundle, options, progress, checkpoints, store))
            checkpoints.clear()
        return Attempt(bundle.name, folder)
    check_spec(folder, spec)
    if (folder / AUDIT).is_file() and not read_json(folder / RESULT)["note"]:
        earlier = read_json(folder / AUDIT)
        check_again(earlier["faults"], earlier["rows"], {**options.limits, "over_context": 1.0}, f"base {spec.base}")
    return Attempt(bundle.name, folder)


def _launched(store: Path, bundle: Bundle, options: RunOptions, progress: Progress) -> None:
    """Trains on several processes: they run a bundle in the store."""
    folder = store / f"bundle-{bundle.name}"
    bundles.pack(folder, bundle, with_base=False)
    code = bundle.spec.base.code if bundle.spec.base else ""
    launched(options.launch, folder, bundle.root, options.say, progress, allow_code=code)
    bundles.unpack(folder, bundle, store)
    shutil.rmtree(folder, ignore_errors=True)


def _checkpoints(store: Path, bundle: Bundle, options: RunOptions) -> Checkpoints:
    made_for = {"attempt": bundle.name, **to_json(bundle.spec), "base": str(bundle.spec.base)}
    return Checkpoints(
        options.resume or store / f"resume-{bundle.name}", made_for, options.checkpoint_steps, options.say
    )


def _train_into(
    part: Path, bundle: Bundle, options: RunOptions, progress: Progress, checkpoints: Checkpoints, store: Path
) -> None:
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
    elif METHODS[bundle.spec.method].engine == "encoder":
        fitted, notes = _embed_into(part, bundle, options, progress, store)
        result |= fitted
    else:
        trained, notes = _adapt_into(part, bundle, options, progress, checkpoints)
        result |= trained
    write_json(part / SPEC, to_json(bundle.spec))
    write_json(part / RESULT, result)
    write_json(part / COST, {**cost_of(bundle.spec, started), "notes": list(notes)})


def _fit_into(part: Path, spec: AttemptSpec, rows: Sequence[Example]) -> dict[str, Any]:
    fitted = classical.fit(part, spec, rows)
    return {"train_rows": fitted.rows, "trained_parameters": fitted.parameters, "note": fitted.note}


def _embed_into(
    part: Path, bundle: Bundle, options: RunOptions, progress: Progress, store: Path
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Returns the result of fitting linear models on the vectors of a frozen encoder, and notes on the vectors."""
    spec, rows = bundle.spec, bundle.rows
    assert spec.base is not None  # as the caller checked
    encoder = load_encoder(spec.base, bundle.root, precision=spec.precision)
    vectors = vectors_of(encoder, embed.texts_of(spec, rows), store, progress)
    n, why_not = embed.fit(part, spec, rows, vectors)
    notes = encoder.notes
    if vectors.cut:
        limit = f"the encoder's input of {encoder.max_tokens} tokens"
        notes = (*notes, f"{vectors.cut} of {len(rows)} training rows are longer than {limit} and were cut")
    for note in notes:
        options.say(note)
    return {
        "base_digest": encoder.digest,
        "base_parameters": encoder.parameters,
        "train_rows": 0 if why_not else len(rows),
        "train_tokens": vectors.tokens,
        "trained_parameters": n,
        "note": why_not,
    }, notes


def _adapt_into(
    part: Path, bundle: Bundle, options: RunOptions, progress: Progress, checkpoints: Checkpoints
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Returns the result of training, and notes on events that did not change it."""
    spec, rows = bundle.spec, bundle.rows
    assert spec.base is not None  # as the caller checked
    if spec.method == "prompt":
        return _choose_into(part, bundle, options), ()
    lm = load(spec.base, bundle.root, template=spec.template, precision=spec.precision)
    is_label = spec.form.format == "label"
    result: dict[str, Any] = {
        "base_digest": lm.digest,
        "base_parameters": base_parameters(lm),
        "template_digest": lm.template_digest,
        "max_answer_tokens": 0 if is_label else answer_limit(lm, rows),
    }
    if spec.constrained and (bundle.eval_rows or constrain.is_installed()):
        _check_constraint(lm, spec, rows, options.say)
    if METHODS[spec.method].takes_positions:
        reader = with_room(lm, spec.tokens, f"ladder: base {spec.base}, method {spec.method}, `tokens`")
    else:
        reader = lm
    encoded = encode(reader, spec.prompt, rows)
    audited = audit(reader, encoded)
    summary = {"rows": audited.rows, "loss_share": audited.loss_share, "faults": dict(audited.faults)}
    write_json(part / AUDIT, summary)
    tokens, rejected = token_rows(reader, encoded)
    result |= {"train_rows": len(tokens), "train_rejected": rejected}
    if too_long := _too_long(audited, spec, reader, tokens):
        return {**result, "train_rows": 0, "note": too_long}, ()
    check(audited, reader, encoded, {**options.limits, "over_context": 1.0}, options.shown)
    options.say(f"{audited.loss_share:.1%} of {audited.tokens:,} tokens carry loss")
    if left_out := sum(rejected.values()):
        options.say(f"{left_out} of {len(rows)} training rows exceed the base's context and are left out")
    trained = loop.train(
        lm, spec, tokens, progress=progress, checkpoints=checkpoints, score=_score(spec, bundle.eval_rows, result)
    )
    for note in trained.notes:
        options.say(note)
    save_adapter(trained.lm, spec, part)
    result |= {"train_tokens": trained.tokens, "trained_parameters": trained.parameters}
    result |= {"learning_rate": trained.learning_rate, "kept_step": trained.best_step}
    losses = [round(loss, 6) for loss in trained.losses]
    write_json(part / LOSSES, {"losses": losses, "scores": [list(score) for score in trained.scores]})
    return result, trained.notes


def _check_constraint(
    lm: LanguageModel, spec: AttemptSpec, rows: Sequence[Example], say: Callable[[str], None]
) -> None:
    """Writes a message if training answers are not among those that a constrained model can write.

    A machine that only trains does not need the library; an attempt that would fail later fails before it trains.

    Raises:
        ModelError: see `constraint_of`.
    """
    constraint = constrain.constraint_of(lm, spec.form)
    answers = sorted({e.answer for e in rows})
    refused = sum(not constraint.accepts(tokens) for tokens in encode_answers(lm, answers)) if answers else 0
    if refused:
        say(f"warning: {refused} of {len(answers)} different training answers can't be written under the constraint")


def _choose_into(part: Path, bundle: Bundle, options: RunOptions) -> dict[str, Any]:
    """Chooses the form of a prompt on the rows; returns the result of the attempt."""
    spec, rows = bundle.spec, bundle.rows
    assert spec.base is not None  # as the caller checked
    lm = load(spec.base, bundle.root, template="plain", precision=spec.precision)
    if spec.constrained:
        _check_constraint(lm, spec, rows, options.say)
    limit = 0 if spec.form.format == "label" else answer_limit(lm, rows)
    model, chosen = choose(lm, spec, rows, limit)
    write_json(part / SHOWN, model.examples)
    return {
        "base_digest": lm.digest,
        "base_parameters": base_parameters(lm),
        "template_digest": lm.template_digest,
        "max_answer_tokens": limit,
        "prompting": chosen,
    }


def _too_long(audited: Audit, spec: AttemptSpec, lm: LanguageModel, tokens: Sequence[object]) -> str:
    """Returns why the rung is skipped if too many rows exceed the context of its base; otherwise empty."""
    share = audited.faults.get("over_context", 0.0)
    context = f"the context of {lm.context_tokens} tokens"
    if not tokens:
        return f"could not be trained: all {audited.rows} training rows are longer than {context}"
    if share > spec.max_over_context:
        too_long = f"{round(share * audited.rows)} of {audited.rows} training rows are longer than {context}"
        return f"was not trained: {too_long} (limit {spec.max_over_context:.0%})"
    return ""


def _score(spec: AttemptSpec, dev: Sequence[Example], result: Mapping[str, Any]) -> Callable[[LanguageModel], float]:
    """Returns a function that evaluates a model: the mean of the spec's metric over the rows that can be scored."""
    metric = Metric(spec.metric, spec.form)

    def score(lm: LanguageModel) -> float:
        predictions = Prompted(lm, spec, int(result["max_answer_tokens"])).predict(dev)
        values = [metric(p) for p in predictions if p.answer is not None]
        return sum(values) / len(values) if values else 0.0

    return score
