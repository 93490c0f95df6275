"""The training loop: an adapter from rows, read top to bottom.

Loss stands on answer tokens only: their negative log-likelihoods summed over the step's rows and divided by
their number. Shape letters: B rows, S tokens, T answer positions, V vocabulary.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from components.errors import TrainingError, problem
from components.model.adapters import attach, trained_parameters
from components.model.language_model import LanguageModel, Progress
from components.records import AttemptSpec
from components.training.batches import TokenRow, batches

RECIPE = 1
"""Raised by hand whenever the numbers of a training change; a golden-loss test fails if they change without it."""
_IGNORED = -100
"""cross_entropy's mark for positions without a target."""


@dataclass(frozen=True)
class Trained:
    """A trained adapter on its base, and what the training counted."""

    lm: LanguageModel
    losses: tuple[float, ...]
    """Mean loss per answer token, one value a step, before the step's update."""
    tokens: int
    """Tokens that passed through the model, without padding."""
    answer_tokens: int
    """Of these, the ones that carried loss."""
    parameters: int
    """Numbers that were trained."""
    seconds: float


def train(lm: LanguageModel, spec: AttemptSpec, rows: Sequence[TokenRow], *, progress: Progress) -> Trained:
    """Returns the base with an adapter trained on `rows`; `lm`'s own modules are wrapped in place.

    Equal arguments give bit-identical weights on one machine with one number of threads.

    Raises:
        TrainingError: the loss or gradient is not finite; the weights of that step are not used.
        ModelError: a target module matches nothing.
    """
    tuned = attach(lm, spec)
    weights = [p for p in tuned.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=spec.learning_rate, weight_decay=spec.weight_decay)
    losses: list[float] = []
    tokens = answer_tokens = 0
    started = time.perf_counter()
    with torch.random.fork_rng():
        torch.manual_seed(spec.seed)  # dropout
        tuned.model.train()
        shown = batches(rows, batch_size=spec.batch_size, steps=spec.steps, seed=spec.seed)
        for step, batch in enumerate(shown):
            for group in optimizer.param_groups:
                group["lr"] = spec.learning_rate * rate_share(spec, step)
            loss, n_targets = loss_sum(tuned, batch)
            loss = loss / n_targets
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(weights, spec.clip_norm)
            losses.append(loss.item())
            if not (math.isfinite(losses[-1]) and math.isfinite(norm.item())):
                raise TrainingError(
                    problem(
                        "the training diverged",
                        where=f"step {step + 1} of {spec.steps}, base {spec.base}",
                        found=f"loss {losses[-1]}, gradient norm {norm.item()}",
                        wanted="finite numbers",
                        do="lower `train.learning_rate` or this rung's own",
                    )
                )
            optimizer.step()
            tokens += sum(row.length for row in batch)
            answer_tokens += n_targets
            progress(step + 1, spec.steps, f"steps, loss {losses[-1]:.3f}")
    tuned.model.eval()
    seconds = time.perf_counter() - started
    return Trained(tuned, tuple(losses), tokens, answer_tokens, trained_parameters(tuned), seconds)


def rate_share(spec: AttemptSpec, step: int) -> float:
    """Returns the share of the peak learning rate at a step counted from 0: a linear rise, then the schedule."""
    warmup = math.ceil(spec.warmup_share * spec.steps)
    if step < warmup:
        return (step + 1) / warmup
    if spec.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, spec.steps - warmup)))


def loss_sum(lm: LanguageModel, batch: Sequence[TokenRow]) -> tuple[torch.Tensor, int]:
    """Returns the summed negative log-likelihood of a batch's answer tokens, and their number.

    Rows are padded on the left, so the answers end together and logits are computed for the last T positions
    only, T being the longest answer of the batch.
    """
    width = max(row.length for row in batch)
    longest = max(len(row.answer) for row in batch)
    ids_BS = torch.tensor([[lm.end] * (width - r.length) + [*r.prompt, *r.answer] for r in batch], device=lm.device)
    mask_BS = torch.tensor([[0] * (width - r.length) + [1] * r.length for r in batch], device=lm.device)
    targets_BT = torch.tensor(
        [[_IGNORED] * (longest - len(r.answer)) + list(r.answer) for r in batch], device=lm.device
    )
    out = lm.model(
        input_ids=ids_BS,
        attention_mask=mask_BS,
        position_ids=(mask_BS.cumsum(1) - 1).clamp(min=0),
        use_cache=False,
        logits_to_keep=longest + 1,
    )
    logits_BTV = out.logits[:, -longest - 1 : -1].float()
    loss = cross_entropy(logits_BTV.transpose(1, 2), targets_BT, ignore_index=_IGNORED, reduction="sum")
    return loss, sum(len(row.answer) for row in batch)
