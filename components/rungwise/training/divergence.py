"""Refuses a training run whose numbers say that it failed, with the cause: nothing broken is stored as finished."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Final

import torch

from rungwise.core.errors import ModelError, Problem, TrainingError
from rungwise.core.records import AttemptSpec
from rungwise.model.language_model import LanguageModel
from rungwise.training.batches import TokenRow
from rungwise.training.step import mixed_precision

MAX_RISE: Final = 1.0
"""Rise of the mean loss, in nats per token, at which a training run is refused: 2.7 times as unlikely answers."""
CLEAR_RISE: Final = 0.3
"""A rise of so many nats is enough if it is `CLEAR_SHARE` of the loss and `CLEAR_ERRORS` standard errors too."""
CLEAR_SHARE: Final = 0.5
CLEAR_ERRORS: Final = 4.0
"""One batch of unusual rows at the end moves the mean of a quarter by 3.4 standard errors."""
LARGE_ERRORS: Final = 3.0
"""A rise of more than MAX_RISE counts from so many standard errors on."""


def check_gradients(weights: Mapping[str, torch.Tensor], spec: AttemptSpec) -> None:
    """Checks after the first backward pass that every trainable parameter has a gradient.

    Raises:
        TrainingError: one has none.
    """
    without = [name for name, weight in weights.items() if weight.grad is None]
    if without or not weights:
        raise TrainingError(
            Problem(
                "trainable parameters get no gradient",
                where=f"base {spec.base}, method {spec.method}",
                found=f"{len(without)} of {len(weights)}, such as {without[0] if without else 'none at all'}",
                wanted="a gradient for each",
                do="choose another method for this base",
            )
        )


def broken_base(spec: AttemptSpec, loss: float) -> ModelError:
    """Returns the error of a base whose loss is not finite before anything was learned."""
    is_full = spec.precision == "fp32"
    return ModelError(
        Problem(
            "a base's loss is not a finite number",
            where=f"base {spec.base}, precision {spec.precision}",
            found=f"loss {loss} before the first update",
            wanted="finite numbers: its weights may be damaged"
            + ("" if is_full else ", or too large for this precision"),
            do="fetch or convert the base again" + ("" if is_full else ", or set `train.precision: fp32`"),
        )
    )


def diverged(spec: AttemptSpec, step: int, what: str, peak: float) -> TrainingError:
    """Returns the error of a training run that diverged in the step after `step` steps; `what`: what was seen."""
    return TrainingError(
        Problem(
            "training diverged",
            where=f"step {step + 1} of {spec.steps}, base {spec.base}",
            found=what,
            wanted="finite numbers",
            do=f"lower `train.learning_rate` or this rung's own (it was {peak:.3g})",
        )
    )


def check_losses(spec: AttemptSpec, losses: Sequence[float], peak: float) -> None:
    """Checks that the loss did not rise: the model would be worse than its base.

    Batches differ, so a small rise counts only if it is far beyond the noise from step to step.

    Raises:
        TrainingError: the mean of the last quarter of the steps is above that of the first by more than MAX_RISE, or
            clearly so; or the last twentieth is above the whole first quarter, on average by more than MAX_RISE.
    """
    if len(losses) < 3:
        return
    quarter = max(1, len(losses) // 4)
    first, last = losses[:quarter], losses[-quarter:]
    base, rise = fmean(first), fmean(last) - fmean(first)
    tail = losses[-max(3, len(losses) // 20) :]
    error = _noise(losses) * math.sqrt(2 / quarter)
    is_clear = rise > max(CLEAR_RISE, CLEAR_SHARE * base) and rise > CLEAR_ERRORS * error
    is_large = rise > MAX_RISE and rise > LARGE_ERRORS * error
    if len(losses) >= 20 and min(tail) > max(first) and fmean(tail) > base + MAX_RISE:
        where, end = f"the last {len(tail)}", fmean(tail)
    elif is_clear or is_large:
        where, end = "the last" if quarter > 1 else "the last step", fmean(last)
    else:
        return
    begin = "the first quarter of the steps" if quarter > 1 else "the first step"
    raise TrainingError(
        Problem(
            "the loss rose during the training",
            where=f"base {spec.base}, {len(losses)} steps",
            found=f"{base:.2f} in {begin}, {end:.2f} in {where}",
            wanted="a loss that falls",
            do=f"lower `train.learning_rate` or this rung's own (it was {peak:.3g})",
        )
    )


def _noise(losses: Sequence[float]) -> float:
    """Returns the standard deviation of the loss from step to step, without its trend; larger for few steps.

    Second differences of independent values have six times their variance, and those of a straight line are 0. Few of
    them can be small by chance.
    """
    bends = [a - 2 * b + c for a, b, c in zip(losses, losses[1:], losses[2:], strict=False)]
    return math.sqrt(fmean(bend * bend for bend in bends) / 6) * (1 + 4 / len(bends))


def check_weights(weights: Mapping[str, torch.Tensor], spec: AttemptSpec, peak: float) -> None:
    """Checks that the trained weights are finite: no loss shows what the last update did.

    Raises:
        TrainingError: one is not.
    """
    parts = (w.detach().to_local() if hasattr(w, "to_local") else w.detach() for w in weights.values())
    if not all(bool(part.isfinite().all()) for part in parts):
        raise diverged(spec, spec.steps - 1, "weights that are not finite after the last update", peak)


def check_outputs(lm: LanguageModel, row: TokenRow, spec: AttemptSpec, peak: float) -> None:
    """Checks that the trained model's outputs for a row are finite: weights can be too large for its sums.

    Raises:
        TrainingError: one is not.
    """
    ids = torch.tensor([[*row.prompt, *row.answer]], device=lm.device)
    with torch.no_grad(), mixed_precision(lm, spec):
        logits = lm.model(input_ids=ids, use_cache=False, logits_to_keep=1).logits
    if not math.isfinite(float(logits.abs().max())):
        raise diverged(spec, spec.steps - 1, "outputs that are not finite after the last update", peak)
