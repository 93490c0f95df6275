"""The training loop: rows in, an adapter out. Read it from top to bottom.

Every step is one loss (see `training.step`); the rate follows `training.learning_rate`. Several processes work through
Accelerate (https://huggingface.co/docs/accelerate): under `torchrun` or `accelerate launch` each process takes its
share of every step's rows.
"""

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from rungwise.core.errors import ModelError, Problem
from rungwise.core.methods import METHODS
from rungwise.core.records import AttemptSpec
from rungwise.model.adapters import attach, trained_parameters, trained_weights
from rungwise.model.kernels.low_rank import fuse
from rungwise.model.kernels.rms_norm import fuse_norms
from rungwise.model.kernels.training_attention import training_attention
from rungwise.model.language_model import LanguageModel, Progress
from rungwise.training.batches import TokenRow, batches
from rungwise.training.checkpoints import Checkpoint, Checkpoints
from rungwise.training.divergence import (
    broken_base,
    check_gradients,
    check_losses,
    check_outputs,
    check_weights,
    diverged,
)
from rungwise.training.learning_rate import peak_learning_rate, share_of_peak
from rungwise.training.step import Prepared, accumulate, check_probe, mixed_precision, shared_prefix_length


@dataclass(frozen=True)
class Trained:
    """A trained adapter on its base, and what the training run measured."""

    lm: LanguageModel
    losses: tuple[float, ...]
    """Mean loss per answer token, one value a step, before the step's update."""
    tokens: int
    """Tokens of all rows that passed through the model, without padding."""
    answer_tokens: int
    """Of these, the tokens that carried loss."""
    parameters: int
    """Number of trainable parameters."""
    learning_rate: float
    """The peak."""
    seconds: float
    scores: tuple[tuple[int, float], ...] = ()
    """Step and score of every evaluation."""
    best_step: int = 0
    """The step whose weights are returned: that of the best score, or the last one without evaluation."""
    notes: tuple[str, ...] = field(default=())
    """Events that did not change the result: smaller microbatches after out of memory, a resumed run."""


def train(
    lm: LanguageModel,
    spec: AttemptSpec,
    rows: Sequence[TokenRow],
    *,
    progress: Progress,
    checkpoints: Checkpoints | None = None,
    score: Callable[[LanguageModel], float] | None = None,
) -> Trained:
    """Returns the base with an adapter trained on `rows`; the modules of `lm` are wrapped in place.

    Equal arguments give bit-identical weights on one machine with one number of threads, also if the run was killed and
    resumed from `checkpoints`. `score` evaluates the model every `spec.eval_every` steps; the best step's weights are
    returned.

    Raises:
        TrainingError: the loss, a gradient or a weight is not finite, the loss rose, a single row is out of memory, a
            checkpoint belongs to another run, or the model's logits depend on a batch's padding.
        ModelError: the base does not support the method, or its own loss is not finite.
    """
    started = time.perf_counter()
    prepared, peak = _prepared(lm, spec)
    tuned, model, weights, accelerator = prepared.lm, prepared.model, prepared.weights, prepared.accelerator
    is_sharded = accelerator.num_processes > 1 and any(hasattr(w, "full_tensor") for w in weights.values())
    checkpoints = None if is_sharded else checkpoints  # shards are not saved; a killed run starts again
    run = _Run(
        max_tokens_per_microbatch=spec.max_tokens_per_microbatch or max(r.length for r in rows) * spec.batch_size,
        n_shared=0 if is_sharded else shared_prefix_length(tuned, spec, rows),
    )
    with torch.random.fork_rng(), training_attention():
        torch.manual_seed(spec.seed)  # for dropout
        check_probe(model, tuned, rows, spec, run.n_shared)
        if checkpoints and (last := checkpoints.last()):
            run = _resumed(last, weights, prepared.optimizer)
        model.train()
        in_order = batches(rows, batch_size=spec.batch_size, steps=spec.steps, seed=spec.seed)
        for batch in itertools.islice(in_order, run.step, None):
            for group in prepared.optimizer.param_groups:
                group["lr"] = peak * share_of_peak(spec, run.step)
            result = accumulate(
                prepared,
                batch,
                step=run.step + 1,
                max_tokens_per_microbatch=run.max_tokens_per_microbatch,
                n_shared=run.n_shared,
            )
            run.max_tokens_per_microbatch = result.max_tokens_per_microbatch
            run.notes += result.notes
            if run.step == 0:
                check_gradients(weights, spec)
            norm = accelerator.clip_grad_norm_(weights.values(), spec.clip_norm)
            if run.step == 0 and not math.isfinite(result.loss):
                raise broken_base(spec, result.loss)
            if not (math.isfinite(result.loss) and math.isfinite(float(norm))):
                raise diverged(spec, run.step, f"loss {result.loss}, gradient norm {float(norm)}", peak)
            prepared.optimizer.step()
            run.losses.append(result.loss)
            run.step += 1
            run.tokens += sum(row.length for row in batch)
            run.answer_tokens += sum(len(row.answer) for row in batch)
            progress(run.step, spec.steps, f"steps, loss {result.loss:.3f}")
            is_over = run.step == spec.steps
            if score and spec.eval_every and (is_over or run.step % spec.eval_every == 0):
                with mixed_precision(tuned, spec):
                    is_over = _evaluate(tuned, spec, score, weights, run) or is_over
                model.train()
            if is_over:
                break
            if checkpoints and run.step % checkpoints.every == 0 and accelerator.is_main_process:
                checkpoints.save(_checkpoint(run, weights, prepared.optimizer, lm.device))
    if not run.best:
        check_losses(spec, run.losses, peak)
    for name, best in run.best.items():
        weights[name].data.copy_(best)
    tuned.model.eval()
    check_weights(weights, spec, peak)
    if not is_sharded:
        check_outputs(tuned, min(rows, key=lambda row: row.length), spec, peak)
    return Trained(
        lm=tuned,
        losses=tuple(run.losses),
        tokens=run.tokens,
        answer_tokens=run.answer_tokens,
        parameters=trained_parameters(tuned),
        learning_rate=peak,
        seconds=time.perf_counter() - started,
        scores=tuple((int(step), float(value)) for step, value in run.scores),
        best_step=_best_step(run) if run.scores else run.step,
        notes=tuple(run.notes),
    )


@dataclass
class _Run:
    """The state of a training run: the only value that changes while it runs."""

    max_tokens_per_microbatch: int
    n_shared: int = 0
    """Length of the prefix that all rows share; each microbatch computes it once."""
    step: int = 0
    """Steps done."""
    tokens: int = 0
    answer_tokens: int = 0
    losses: list[float] = field(default_factory=list)
    scores: list[list[float]] = field(default_factory=list)
    """Step and score of every evaluation."""
    notes: list[str] = field(default_factory=list)
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    """Copies of the weights with the best score; empty without evaluation."""


def _prepared(lm: LanguageModel, spec: AttemptSpec) -> tuple[Prepared, float]:
    """Returns the base with a fresh adapter and its optimizer, and the peak learning rate."""
    from accelerate import Accelerator

    tuned = attach(lm, spec)
    fuse(tuned.model)
    fuse_norms(tuned.model)
    _enable_checkpointing(tuned, spec)
    peak = peak_learning_rate(tuned, spec)
    accelerator = Accelerator(cpu=lm.device == "cpu")
    parameters = list(trained_weights(tuned).values())
    optimizer: Any = torch.optim.AdamW(parameters, lr=peak, weight_decay=spec.weight_decay, fused=True)
    model, optimizer = accelerator.prepare(tuned.model, optimizer)
    tuned = replace(tuned, model=accelerator.unwrap_model(model))
    weights = trained_weights(tuned)  # again: FSDP replaces parameters by shards
    if spec.compiled:
        model = torch.compile(model, dynamic=True)
    return Prepared(accelerator, model, tuned, weights, optimizer, spec), peak


def _best_step(run: _Run) -> int:
    """Returns the first step with the best score."""
    return int(max(run.scores, key=lambda one: one[1])[0])


def _evaluate(
    lm: LanguageModel,
    spec: AttemptSpec,
    score: Callable[[LanguageModel], float],
    weights: Mapping[str, torch.Tensor],
    run: _Run,
) -> bool:
    """Scores the model and keeps a copy of the best weights; returns whether the patience is used up."""
    lm.model.eval()
    with torch.random.fork_rng(), torch.no_grad():
        value = score(lm)
    if not run.scores or value > max(earlier for _, earlier in run.scores):
        run.best = {name: weight.detach().clone() for name, weight in weights.items()}
    run.scores.append([run.step, value])
    best = _best_step(run)
    since = sum(step > best for step, _ in run.scores)
    is_over = bool(spec.patience) and since >= spec.patience
    if is_over and run.step < spec.steps:
        run.notes.append(f"stopped early after step {run.step}: no better score since step {best}")
    return is_over


def _checkpoint(run: _Run, weights: Mapping[str, torch.Tensor], optimizer: Any, device: str) -> Checkpoint:
    tensors: dict[str, torch.Tensor] = {"random": torch.get_rng_state()}
    if device.startswith("cuda"):
        tensors["random_cuda"] = torch.cuda.get_rng_state(device)
    for name, weight in weights.items():
        moments = optimizer.state[weight]
        tensors |= {
            f"weight.{name}": weight,
            f"mean.{name}": moments["exp_avg"],
            f"square.{name}": moments["exp_avg_sq"],
        }
    tensors |= {f"best.{name}": value for name, value in run.best.items()}
    counts = ("max_tokens_per_microbatch", "n_shared", "tokens", "answer_tokens", "losses", "scores", "notes")
    # copies, as safetensors can't write one tensor under two names
    copies = {name: value.detach().clone() for name, value in tensors.items()}
    return Checkpoint(run.step, copies, {name: getattr(run, name) for name in counts})


def _resumed(last: Checkpoint, weights: Mapping[str, torch.Tensor], optimizer: Any) -> _Run:
    """Sets weights, moments and random states to those of the checkpoint; returns the run's state at its step."""
    tensors = last.tensors
    for name, weight in weights.items():
        weight.data.copy_(tensors[f"weight.{name}"])
        optimizer.state[weight] = {
            "step": torch.tensor(float(last.step), device=weight.device),  # where fused AdamW reads it
            "exp_avg": tensors[f"mean.{name}"].to(weight.device).clone(),
            "exp_avg_sq": tensors[f"square.{name}"].to(weight.device).clone(),
        }
    torch.set_rng_state(tensors["random"].cpu())
    if "random_cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random_cuda"].cpu())
    named = {name.removeprefix("best."): value for name, value in tensors.items() if name.startswith("best.")}
    best = {name: value.to(weights[name].device) for name, value in named.items()}
    run = _Run(**last.state, step=last.step, best=best)
    run.notes.append(f"resumed from step {last.step}")
    return run


def _enable_checkpointing(lm: LanguageModel, spec: AttemptSpec) -> None:
    if not spec.checkpointing:
        return
    base = getattr(lm.model, "base", lm.model)
    needs_cache = METHODS[spec.method].virtual_tokens == "cache"
    if needs_cache or not getattr(base, "supports_gradient_checkpointing", False):
        raise ModelError(
            Problem(
                "activation checkpointing is not supported",
                where=f"base {spec.base}, method {spec.method}, `train.checkpointing`",
                found="a method that needs the key cache" if needs_cache else "no support in the model",
                wanted="an architecture and a method that support it",
                do="leave `train.checkpointing` out and lower `train.max_tokens_per_microbatch`",
            )
        )
    base.activation_checkpointing_enable({"use_reentrant": False})
