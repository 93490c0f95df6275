"""One training step: its loss, its microbatches, and what happens when a microbatch is out of memory.

The loss covers answer tokens only: the sum of their negative log-likelihoods over all rows of the step, divided by the
number of these tokens. It is the same for any number of microbatches and processes.

Shape letters: B rows, S tokens, T answer positions, H hidden size, V vocabulary.
"""

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from rungwise.core.errors import Problem, TrainingError
from rungwise.core.methods import METHODS
from rungwise.core.records import AttemptSpec
from rungwise.model import limits
from rungwise.model.kernels.answer_loss import IGNORED, answer_loss, frozen_head, hidden_for_logits
from rungwise.model.kernels.shared_prefix import can_share, padded, read_prefix, shared_tokens
from rungwise.model.language_model import LanguageModel
from rungwise.model.memory import is_out_of_memory
from rungwise.training.batches import TokenRow, micro_batches, microbatch_tokens

_HEAD_SETTINGS = ("classifier", "summary")
"""Prefixes of dropout settings that apply only to classification heads."""
PROBE_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2}
"""Type of the base's weights -> relative difference of the probe's loss that counts as rounding."""


@dataclass(frozen=True)
class Prepared:
    """A model with its adapter and optimizer, as Accelerate prepared them for this process."""

    accelerator: Any
    model: Any
    """The model to call: that of `lm`, possibly wrapped by DDP, FSDP or torch.compile."""
    lm: LanguageModel
    weights: Mapping[str, torch.Tensor]
    """Name -> trainable parameters."""
    optimizer: Any
    spec: AttemptSpec


@dataclass(frozen=True)
class StepLoss:
    """What one step computed."""

    loss: float
    """Mean negative log-likelihood of an answer token."""
    max_tokens_per_microbatch: int
    """The limit for the next step: lower than the one given if a microbatch was out of memory."""
    notes: tuple[str, ...] = ()
    """One message for each time that the limit was lowered."""


def accumulate(
    prepared: Prepared, batch: Sequence[TokenRow], *, step: int, max_tokens_per_microbatch: int, n_shared: int
) -> StepLoss:
    """Leaves the gradient of the step's mean loss in the weights and returns that loss.

    If a microbatch is out of memory, the step starts again with microbatches of half its tokens. `step` counts from 1.
    `n_shared`: length of the prefix that all rows share, see `shared_prefix_length`.

    Raises:
        TrainingError: a single row is out of memory, or any microbatch on several processes.
    """
    lm, accelerator = prepared.lm, prepared.accelerator
    rank, n_processes = accelerator.process_index, accelerator.num_processes
    mine = sorted(batch, key=lambda row: row.length)[rank::n_processes]
    n_targets = sum(len(row.answer) for row in batch)
    limit = max_tokens_per_microbatch
    notes: list[str] = []
    while True:
        prepared.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=lm.device)
        parts = list(micro_batches(mine, limit, targets_at_once(lm), n_shared))
        try:
            for number, part in enumerate(parts):
                with _no_sync(accelerator, prepared.model, is_last=number == len(parts) - 1):
                    # DDP averages the processes' gradients, so each multiplies its own by their number
                    with mixed_precision(lm, prepared.spec):
                        loss = loss_sum(prepared.model, part, lm, n_shared=n_shared) * (n_processes / n_targets)
                    loss.backward()
                total += loss.detach() / n_processes
            mean: float = (accelerator.reduce(total, "sum") if n_processes > 1 else total).item()
            return StepLoss(mean, limit, tuple(notes))
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            tokens = microbatch_tokens(len(part), max(row.length for row in part), n_shared)
            if len(part) == 1 or n_processes > 1:
                raise _out_of_memory(step, tokens, len(part), n_processes, error) from None
            limit = n_shared + (tokens - n_shared) // 2
            notes.append(f"step {step}: out of memory with {tokens} tokens per microbatch; from here on {limit}")
        torch.cuda.empty_cache()


def _out_of_memory(step: int, tokens: int, n_rows: int, n_processes: int, error: BaseException) -> TrainingError:
    too_large = "a single row" if n_rows == 1 else f"a step on {n_processes} processes"
    return TrainingError(
        Problem(
            f"{too_large} is out of memory",
            where=f"step {step}, a microbatch of {tokens} tokens",
            found=" ".join(str(error).split())[:160],
            wanted="memory for its activations",
            do="set `train.checkpointing: true`, lower `train.max_tokens_per_microbatch`, or remove the longest rows",
        )
    )


def targets_at_once(lm: LanguageModel) -> int | None:
    """Returns how many targets one forward pass may have; None: any number, as it never holds all their logits."""
    if frozen_head(lm.model) is not None:
        return None
    most = limits.TRAINING_LOGITS.get(lm.device.partition(":")[0], limits.TRAINING_LOGITS["cuda"])
    return max(1, most // int(lm.model.config.vocab_size))


def _no_sync(accelerator: Any, model: Any, *, is_last: bool) -> Any:
    return contextlib.nullcontext() if is_last or accelerator.num_processes == 1 else accelerator.no_sync(model)


def loss_sum(model: Any, rows: Sequence[TokenRow], lm: LanguageModel, *, n_shared: int = 0) -> torch.Tensor:
    """Returns the summed negative log-likelihood of the rows' answer tokens, a scalar.

    `model` is `lm.model` or a wrapper of it. Rows are padded on the left, so that their answers end together and logits
    are computed for T positions only, T being the length of the longest answer. The last token is left out of the
    input, as nothing follows it. `n_shared`: length of the prefix that all rows share, which is computed once.
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


def shared_prefix_length(lm: LanguageModel, spec: AttemptSpec, rows: Sequence[TokenRow]) -> int:
    """Returns the length of the prefix that all rows share and that training computes once per microbatch, or 0.

    `lm` has its adapter on. The length is 0 with dropout, which differs for each row; with activation checkpointing,
    which keeps no cache; with torch.compile; and on bases that can't share a prefix.
    """
    config, modules = lm.model.config, lm.model.modules()
    dropouts = [v for name, v in config.to_dict().items() if "drop" in name and not name.startswith(_HEAD_SETTINGS)]
    has_dropout = any(dropouts) or any(isinstance(module, torch.nn.Dropout) and module.p for module in modules)
    if spec.compiled or spec.checkpointing or has_dropout or not can_share(config):
        return 0
    return shared_tokens([row.prompt for row in rows])


def check_probe(model: Any, lm: LanguageModel, rows: Sequence[TokenRow], spec: AttemptSpec, n_shared: int) -> None:
    """Checks on a short and a longer row that batching does not change their loss.

    The rows are computed together, padded and with a shared prefix, and then alone with the logits of all positions.

    Raises:
        TrainingError: the losses differ by more than rounding.
    """
    ordered = sorted(rows, key=lambda row: (row.length, row.prompt, row.answer))
    later = ordered[len(ordered) // 2 :]
    probe = [ordered[0], next((row for row in later if row.length > ordered[0].length), later[0])]
    model.eval()
    with torch.no_grad(), mixed_precision(lm, spec):
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
                "a row's loss depends on the other rows of its batch",
                where=f"base {lm.base}, architecture {getattr(lm.model.config, 'model_type', '?')}",
                found=f"{together:.6g} for two rows together, {alone:.6g} one by one",
                wanted="equal losses with and without padding",
                do="choose a base whose attention supports masks and explicit positions",
            )
        )


def mixed_precision(lm: LanguageModel, spec: AttemptSpec) -> Any:
    """Returns the context for a forward pass: it computes in bf16 if the base's own weights are trained in fp32.

    Use a new context for each pass: autocast caches the bf16 copies of the weights until it ends.
    """
    is_mixed = spec.precision == "bf16" and METHODS[spec.method].family in ("full", "selection")
    return torch.autocast(lm.device.partition(":")[0], torch.bfloat16, enabled=is_mixed)
