"""The training loop: an adapter from rows, read top to bottom.

Loss stands on answer tokens only: their negative log-likelihoods summed over the step's rows and divided by their
number, however many rows go through the model at once and on however many processes. Shape letters: B rows, S tokens,
T answer positions, V vocabulary.

Processes by Accelerate (https://huggingface.co/docs/accelerate): under `torchrun` or `accelerate launch` each takes its
share of every step's rows.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from rungwise.core.errors import ModelError, Problem, TrainingError
from rungwise.core.methods import METHODS
from rungwise.core.records import AttemptSpec
from rungwise.model import limits
from rungwise.model.adapters import attach, trained_parameters, trained_weights
from rungwise.model.answer_loss import IGNORED, answer_loss, frozen_head, hidden_for_logits
from rungwise.model.architectures import architecture
from rungwise.model.language_model import LanguageModel, Progress
from rungwise.model.low_rank import fuse
from rungwise.model.memory import is_out_of_memory
from rungwise.model.shared_prefix import can_share, padded, read_prefix, shared_tokens
from rungwise.training.batches import TokenRow, batches, micro_batches, part_tokens
from rungwise.training.checkpoints import Checkpoint, Checkpoints

FULL_RATE = 5e-5
"""Learning rate of full fine-tuning of a model of WIDTH; of LoRA it is ten times that, and smaller models learn best
with more: the rule that the authors of "LoRA Without Regret" (2025, https://thinkingmachines.ai/blog/lora/) publish
with their training service, https://tinker-docs.thinkingmachines.ai/supervised-learning/sl-hyperparams."""
WIDTH = 2000
_HEADS = ("classifier", "summary")
"""How settings begin that belong to heads which a causal model does not have."""
PROBE_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2}
"""How far a row's loss may depend on the rows beside it, by the base's type."""


@dataclass(frozen=True)
class Trained:
    """A trained adapter on its base, and what the training counted."""

    lm: LanguageModel
    losses: tuple[float, ...]
    """Mean loss per answer token, one value a step, before the step's update."""
    tokens: int
    """Tokens of all rows that were shown, without padding."""
    answer_tokens: int
    """Of these, the ones that carried loss."""
    parameters: int
    """Numbers that were trained."""
    learning_rate: float
    """The peak."""
    seconds: float
    scores: tuple[tuple[int, float], ...] = ()
    """Step and score of every look at the development rows."""
    kept_step: int = 0
    """The step whose weights are kept."""
    notes: tuple[str, ...] = field(default=())
    """What happened on the way that did not change the result: memory that ran out, a training taken up again."""


def train(
    lm: LanguageModel,
    spec: AttemptSpec,
    rows: Sequence[TokenRow],
    *,
    progress: Progress,
    checkpoints: Checkpoints | None = None,
    score: Callable[[LanguageModel], float] | None = None,
) -> Trained:
    """Returns the base with an adapter trained on `rows`; `lm`'s own modules are wrapped in place.

    Equal arguments give bit-identical weights on one machine with one number of threads, killed and taken up again by
    `checkpoints` or not. `score` looks at the model every `spec.eval_every` steps; the best step's weights are kept.

    Raises:
        TrainingError: the loss or gradient is not finite (the weights of that step are not used), a row alone does not
            fit the memory, a checkpoint is another training's, or the model's logits depend on a batch's padding.
        ModelError: the method does not suit the base.
    """
    from accelerate import Accelerator

    started = time.perf_counter()
    tuned = attach(lm, spec)
    fuse(tuned.model)
    _prepare_memory(tuned, spec)
    weights = trained_weights(tuned)
    peak = learning_rate(tuned, spec)
    accelerator = Accelerator(cpu=lm.device == "cpu")
    optimizer: Any = torch.optim.AdamW(list(weights.values()), lr=peak, weight_decay=spec.weight_decay, fused=True)
    model, optimizer = accelerator.prepare(tuned.model, optimizer)
    tuned = replace(tuned, model=accelerator.unwrap_model(model))
    weights = trained_weights(tuned)  # FSDP puts shards in the place of the numbers themselves
    is_sharded = accelerator.num_processes > 1 and any(hasattr(w, "full_tensor") for w in weights.values())
    checkpoints = None if is_sharded else checkpoints  # shards are not kept; a killed training begins anew
    if spec.compiled:
        model = torch.compile(model, dynamic=True)
    run = _Run(
        max_tokens_per_microbatch=spec.max_tokens_per_microbatch or max(r.length for r in rows) * spec.batch_size,
        n_shared=0 if is_sharded else shared_in_training(tuned, spec, rows),
    )
    with torch.random.fork_rng():
        torch.manual_seed(spec.seed)  # dropout
        _check_probe(model, tuned, rows, spec, run.n_shared)
        if checkpoints and (last := checkpoints.last()):
            run = _taken_up(last, weights, optimizer)
        model.train()
        shown = batches(rows, batch_size=spec.batch_size, steps=spec.steps, seed=spec.seed)
        for batch in itertools.islice(shown, run.step, None):
            for group in optimizer.param_groups:
                group["lr"] = peak * rate_share(spec, run.step)
            n_targets = sum(len(row.answer) for row in batch)
            loss = _accumulate(accelerator, model, tuned, spec, batch, n_targets, run, optimizer)
            if run.step == 0:
                _check_gradients(weights, spec)
            norm = accelerator.clip_grad_norm_(weights.values(), spec.clip_norm)
            if not (math.isfinite(loss) and math.isfinite(float(norm))):
                raise _diverged(spec, run.step, loss, float(norm), peak)
            optimizer.step()
            run.losses.append(loss)
            run.step += 1
            run.tokens += sum(row.length for row in batch)
            run.answer_tokens += n_targets
            progress(run.step, spec.steps, f"steps, loss {loss:.3f}")
            is_over = run.step == spec.steps
            if score and spec.eval_every and (is_over or run.step % spec.eval_every == 0):
                with mixed_types(tuned, spec):
                    is_over = _look(tuned, spec, score, weights, run) or is_over
                model.train()
            if is_over:
                break
            if checkpoints and run.step % checkpoints.every == 0 and accelerator.is_main_process:
                checkpoints.save(_checkpoint(run, weights, optimizer, lm.device))
    for name, best in run.best.items():
        weights[name].data.copy_(best)
    tuned.model.eval()
    return Trained(
        lm=tuned,
        losses=tuple(run.losses),
        tokens=run.tokens,
        answer_tokens=run.answer_tokens,
        parameters=trained_parameters(tuned),
        learning_rate=peak,
        seconds=time.perf_counter() - started,
        scores=tuple((int(step), float(value)) for step, value in run.scores),
        kept_step=int(max(run.scores, key=lambda one: one[1])[0]) if run.scores else run.step,
        notes=tuple(run.notes),
    )


@dataclass
class _Run:
    """Where a training stands: the one thing that changes while it runs."""

    max_tokens_per_microbatch: int
    n_shared: int = 0
    """First tokens of all rows, which each pass reads once."""
    step: int = 0
    tokens: int = 0
    answer_tokens: int = 0
    losses: list[float] = field(default_factory=list)
    scores: list[list[float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    """The weights of the best look; empty where nobody looks."""


def learning_rate(lm: LanguageModel, spec: AttemptSpec) -> float:
    """Returns the peak learning rate: the spec's own, or by the rule at FULL_RATE for the method and the base."""
    if spec.learning_rate is not None:
        return spec.learning_rate
    config = lm.model.config
    power = architecture(getattr(config, "model_type", "")).rate_width_power
    method = METHODS[spec.method]
    rate: float = FULL_RATE * method.rate * (WIDTH / float(config.hidden_size)) ** power
    return min(rate, method.most_rate)


def rate_share(spec: AttemptSpec, step: int) -> float:
    """Returns the share of the peak learning rate at a step counted from 0: a linear rise, then the schedule."""
    warmup = math.ceil(spec.warmup_share * spec.steps)
    if step < warmup:
        return (step + 1) / warmup
    if spec.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, spec.steps - warmup)))


def _accumulate(
    accelerator: Any,
    model: Any,
    lm: LanguageModel,
    spec: AttemptSpec,
    batch: Sequence[TokenRow],
    n_targets: int,
    run: _Run,
    optimizer: Any,
) -> float:
    """Leaves the gradient of the step's mean loss in the weights; returns that loss.

    Where the memory runs out the step begins anew with half as many tokens at once.
    """
    rank, n_processes = accelerator.process_index, accelerator.num_processes
    mine = sorted(batch, key=lambda row: row.length)[rank::n_processes]
    while True:
        optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=lm.device)
        parts = list(micro_batches(mine, run.max_tokens_per_microbatch, targets_at_once(lm), run.n_shared))
        try:
            for number, part in enumerate(parts):
                with _no_sync(accelerator, model, is_last=number == len(parts) - 1):
                    # processes' gradients are averaged, so each counts its own as many times as there are processes
                    with mixed_types(lm, spec):
                        loss = loss_sum(model, part, lm, n_shared=run.n_shared) * (n_processes / n_targets)
                    loss.backward()
                total += loss.detach() / n_processes
            mean: float = (accelerator.reduce(total, "sum") if n_processes > 1 else total).item()
            return mean
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            _halve(run, part, n_processes, error)
        torch.cuda.empty_cache()


def targets_at_once(lm: LanguageModel) -> int | None:
    """Returns how many targets one forward pass may have; any number where their logits are never held together."""
    if frozen_head(lm.model) is not None:
        return None
    most = limits.TRAINING_LOGITS.get(lm.device.partition(":")[0], limits.TRAINING_LOGITS["cuda"])
    return max(1, most // int(lm.model.config.vocab_size))


def _no_sync(accelerator: Any, model: Any, *, is_last: bool) -> Any:
    import contextlib

    return contextlib.nullcontext() if is_last or accelerator.num_processes == 1 else accelerator.no_sync(model)


def _halve(run: _Run, part: Sequence[TokenRow], n_processes: int, error: BaseException) -> None:
    """Lowers the tokens at once to half of the part that was too large; raises TrainingError where it can't."""
    tokens = part_tokens(len(part), max(row.length for row in part), run.n_shared)
    if len(part) == 1 or n_processes > 1:
        alone = "a row alone" if len(part) == 1 else f"a step on {n_processes} processes"
        raise TrainingError(
            Problem(
                f"the memory does not hold {alone}",
                where=f"step {run.step + 1}, {tokens} tokens at once",
                found=" ".join(str(error).split())[:160],
                wanted="memory for its activations",
                do="set `train.checkpointing: true`, lower `train.max_tokens_per_microbatch`, or remove long rows",
            )
        ) from None
    run.max_tokens_per_microbatch = run.n_shared + (tokens - run.n_shared) // 2
    run.notes.append(
        f"step {run.step + 1}: out of memory with {tokens} tokens per microbatch; from here on "
        f"{run.max_tokens_per_microbatch}"
    )


def loss_sum(model: Any, rows: Sequence[TokenRow], lm: LanguageModel, *, n_shared: int = 0) -> torch.Tensor:
    """Returns the summed negative log-likelihood of the rows' answer tokens.

    `model` is `lm.model`, or what was wrapped around it. Rows are padded on the left, so the answers end together and
    logits are computed for T positions only, T being the longest answer. The last token is never read: nothing
    follows it. The `n_shared` first tokens, which all rows have in common, are read once.
    """
    longest = max(len(row.answer) for row in rows)
    targets_BT = torch.tensor([[IGNORED] * (longest - len(r.answer)) + list(r.answer) for r in rows], device=lm.device)
    head = None if hasattr(model, "_orig_mod") else frozen_head(lm.model)
    if head is not None:
        with hidden_for_logits(head):
            hidden_BTH = answer_logits(model, rows, lm, n_shared=n_shared)
        return answer_loss(hidden_BTH[:, -longest:], head, targets_BT)
    logits_BTV = answer_logits(model, rows, lm, n_shared=n_shared)[:, -longest:].float()
    return cross_entropy(logits_BTV.transpose(1, 2), targets_BT, ignore_index=IGNORED, reduction="sum")


def answer_logits(
    model: Any, rows: Sequence[TokenRow], lm: LanguageModel, *, n_shared: int = 0, is_whole: bool = False
) -> torch.Tensor:
    """Returns the logits of the rows' last positions, shape (B, T, V); `is_whole`: of all positions, (B, S - 1, V)."""
    prefix = read_prefix(model, rows[0].prompt[:n_shared], lm.device) if n_shared and len(rows) > 1 else None
    out = model(
        **padded([[*r.prompt, *r.answer][:-1] for r in rows], prefix, pad=lm.end, device=lm.device),
        use_cache=prefix is not None,
        logits_to_keep=0 if is_whole else max(len(row.answer) for row in rows),
    )
    logits: torch.Tensor = out.logits
    return logits


def shared_in_training(lm: LanguageModel, spec: AttemptSpec, rows: Sequence[TokenRow]) -> int:
    """Returns how many first tokens of all rows each pass reads once; `lm` has its adapter on.

    None where numbers are dropped at random, which is another draw for each row; where a layer is computed again in the
    backward pass, which keeps no cache; and where the model is compiled or its base can't share them.
    """
    config, modules = lm.model.config, lm.model.modules()
    drops = [value for name, value in config.to_dict().items() if "drop" in name and not name.startswith(_HEADS)]
    has_dropout = any(drops) or any(isinstance(module, torch.nn.Dropout) and module.p for module in modules)
    if spec.compiled or spec.checkpointing or has_dropout or not can_share(config):
        return 0
    return shared_tokens([row.prompt for row in rows])


def _check_probe(model: Any, lm: LanguageModel, rows: Sequence[TokenRow], spec: AttemptSpec, n_shared: int) -> None:
    """Checks on a short and a longer row that neither padding nor shared first tokens change anything.

    And that the last logits are the whole's last.
    """
    ordered = sorted(rows, key=lambda row: (row.length, row.prompt, row.answer))
    later = ordered[len(ordered) // 2 :]
    probe = [ordered[0], next((row for row in later if row.length > ordered[0].length), later[0])]
    model.eval()
    with torch.no_grad(), mixed_types(lm, spec):
        together = float(loss_sum(model, probe, lm, n_shared=n_shared))
        alone = 0.0
        for row in probe:
            n = len(row.answer)
            logits_TV = answer_logits(model, [row], lm, is_whole=True)[0, -n:].float()
            alone += float(cross_entropy(logits_TV, torch.tensor(row.answer, device=lm.device), reduction="sum"))
    kind = torch.float32 if spec.precision == "fp32" else torch.bfloat16
    if math.isfinite(alone) and abs(together - alone) > PROBE_TOLERANCE[kind] * max(1.0, abs(alone)):
        raise TrainingError(
            Problem(
                "a row's loss depends on the rows beside it",
                where=f"base {lm.base}, architecture {getattr(lm.model.config, 'model_type', '?')}",
                found=f"{together:.6g} for two rows together, {alone:.6g} one by one",
                wanted="equal losses, whatever the padding",
                do="choose a base whose attention knows masks and explicit positions",
            )
        )


def _check_gradients(weights: dict[str, torch.Tensor], spec: AttemptSpec) -> None:
    lost = [name for name, weight in weights.items() if weight.grad is None]
    if lost or not weights:
        raise TrainingError(
            Problem(
                "trained numbers get no gradient",
                where=f"base {spec.base}, method {spec.method}",
                found=f"{len(lost)} of {len(weights)}, such as {lost[0] if lost else 'none at all'}",
                wanted="a gradient for each",
                do="choose another method for this base",
            )
        )


def _diverged(spec: AttemptSpec, step: int, loss: float, norm: float, peak: float) -> TrainingError:
    return TrainingError(
        Problem(
            "the training diverged",
            where=f"step {step + 1} of {spec.steps}, base {spec.base}",
            found=f"loss {loss}, gradient norm {norm}",
            wanted="finite numbers",
            do=f"lower `train.learning_rate` or this rung's own (it was {peak:.3g})",
        )
    )


def _look(
    lm: LanguageModel,
    spec: AttemptSpec,
    score: Callable[[LanguageModel], float],
    weights: dict[str, torch.Tensor],
    run: _Run,
) -> bool:
    """Scores the model and remembers the best weights; returns whether the patience is at its end."""
    lm.model.eval()
    with torch.random.fork_rng(), torch.no_grad():
        value = score(lm)
    if not run.scores or value > max(found for _, found in run.scores):
        run.best = {name: weight.detach().clone() for name, weight in weights.items()}
    run.scores.append([run.step, value])
    best = max(run.scores, key=lambda one: one[1])[0]
    since = sum(step > best for step, _ in run.scores)
    is_over = bool(spec.patience) and since >= spec.patience
    if is_over and run.step < spec.steps:
        run.notes.append(f"ended after step {run.step}: no better look since step {int(best)}, which is kept")
    return is_over


def _checkpoint(run: _Run, weights: dict[str, torch.Tensor], optimizer: Any, device: str) -> Checkpoint:
    numbers: dict[str, torch.Tensor] = {"random": torch.get_rng_state()}
    if device.startswith("cuda"):
        numbers["random_cuda"] = torch.cuda.get_rng_state(device)
    for name, weight in weights.items():
        moments = optimizer.state[weight]
        numbers |= {
            f"weight.{name}": weight,
            f"mean.{name}": moments["exp_avg"],
            f"square.{name}": moments["exp_avg_sq"],
        }
    numbers |= {f"best.{name}": value for name, value in run.best.items()}
    counts = ("max_tokens_per_microbatch", "n_shared", "tokens", "answer_tokens", "losses", "scores", "notes")
    # the same tensor under two names can't be written; a checkpoint holds copies
    copied = {name: value.detach().clone() for name, value in numbers.items()}
    return Checkpoint(run.step, copied, {name: getattr(run, name) for name in counts})


def _taken_up(last: Checkpoint, weights: dict[str, torch.Tensor], optimizer: Any) -> _Run:
    """Puts weights, moments and random states to where the checkpoint left them; returns where the training stands."""
    numbers = last.numbers
    for name, weight in weights.items():
        weight.data.copy_(numbers[f"weight.{name}"])
        optimizer.state[weight] = {
            "step": torch.tensor(float(last.step)),
            "exp_avg": numbers[f"mean.{name}"].to(weight.device).clone(),
            "exp_avg_sq": numbers[f"square.{name}"].to(weight.device).clone(),
        }
    torch.set_rng_state(numbers["random"].cpu())
    if "random_cuda" in numbers:
        torch.cuda.set_rng_state(numbers["random_cuda"].cpu())
    best = {
        n.removeprefix("best."): t.to(weights[n.removeprefix("best.")].device) for n, t in _starting(numbers, "best.")
    }
    run = _Run(**last.state, step=last.step, best=best)
    run.notes.append(f"taken up again after step {last.step}")
    return run


def _starting(numbers: Any, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    return ((name, value) for name, value in numbers.items() if name.startswith(prefix))


def mixed_types(lm: LanguageModel, spec: AttemptSpec) -> Any:
    """Returns the context in which a forward pass computes in bf16 though weights of the base are trained in fp32.

    It stands around each pass alone: it remembers what it made of the weights until it ends.
    """
    is_mixed = spec.precision == "bf16" and METHODS[spec.method].family in ("full", "selection")
    return torch.autocast(lm.device.partition(":")[0], torch.bfloat16, enabled=is_mixed)


def _prepare_memory(lm: LanguageModel, spec: AttemptSpec) -> None:
    if not spec.checkpointing:
        return
    base = getattr(lm.model, "base", lm.model)
    if spec.method == "prefix-tuning" or not getattr(base, "supports_gradient_checkpointing", False):
        raise ModelError(
            Problem(
                "activations can't be computed again",
                where=f"base {spec.base}, method {spec.method}, `train.checkpointing`",
                found="a cache of keys that must stay" if spec.method == "prefix-tuning" else "no support in the model",
                wanted="an architecture and a method that can",
                do="leave `train.checkpointing` out and lower `train.max_tokens_per_microbatch`",
            )
        )
    base.activation_checkpointing_enable({"use_reentrant": False})
