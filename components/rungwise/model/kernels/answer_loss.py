"""The loss of answer tokens from hidden states, without holding all logits at once.

A frozen output layer needs no gradient. The logits of a few positions at a time are computed, turned into the loss and
the gradient of the hidden states, and dropped. Otherwise, for a small model with a large vocabulary, the logits and
what autograd keeps of them take most of the memory of training and a third of its time.

Shape letters: B rows, T answer positions, N positions with a target, C a chunk of them, H hidden size, V vocabulary.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from rungwise.model import limits
from rungwise.model.kernels.last_layer import is_short
from rungwise.model.kernels.products import times, times_back

IGNORED = -100
"""Marks positions without a target."""


def frozen_head(model: Any) -> Any:
    """Returns the output layer if it is frozen and its product with the hidden states is the logits; otherwise None.

    A model that divides its logits by a number (Granite) divides the hidden states in place of them in
    `hidden_for_logits`. One that caps its logits (Gemma 2) is not supported.
    """
    base = getattr(model, "base", model)
    base = base.get_base_model() if hasattr(base, "get_base_model") else base
    is_capped = getattr(base.config, "final_logit_softcapping", None) is not None
    head: Any = base.get_output_embeddings() if is_short(base) and not is_capped else None
    is_plain = (
        type(head) is torch.nn.Linear and type(head.weight.data) is torch.Tensor and not head.weight.requires_grad
    )
    return head if is_plain else None


@contextlib.contextmanager
def hidden_for_logits(head: Any) -> Iterator[None]:
    """Context in which a model returns its last hidden states instead of logits."""
    own = vars(head).get("forward")  # that of `folded`
    head.forward = lambda hidden: hidden
    try:
        yield
    finally:
        if own is None:
            del head.forward
        else:
            head.forward = own


def answer_loss(hidden_BTH: torch.Tensor, head: Any, targets_BT: torch.Tensor) -> torch.Tensor:
    """Returns the summed negative log-likelihood of the targets that are not IGNORED, a scalar in fp32."""
    has_target_BT = targets_BT != IGNORED
    hidden_NH, targets_N = hidden_BTH[has_target_BT], targets_BT[has_target_BT]
    by_logits = limits.LOSS_LOGITS.get(hidden_BTH.device.type, limits.LOSS_LOGITS["cuda"]) // head.weight.shape[0]
    at_once = max(limits.LOSS_MIN_POSITIONS, by_logits)
    found: torch.Tensor = _AnswerLoss.apply(hidden_NH, head.weight, head.bias, targets_N, at_once)
    return found


class _AnswerLoss(torch.autograd.Function):  # type: ignore[misc]  # torch is not followed by mypy
    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: torch.Tensor,
        weight_VH: torch.Tensor,
        bias_V: torch.Tensor | None,
        targets_N: torch.Tensor,
        at_once: int,
    ) -> torch.Tensor:
        total = torch.zeros((), device=hidden_NH.device)
        grad_NH = torch.empty_like(hidden_NH) if ctx.needs_input_grad[0] else None
        for at in range(0, len(hidden_NH), at_once):
            targets_C1 = targets_N[at : at + at_once, None]
            logits_CV = times(hidden_NH[at : at + at_once], weight_VH, bias_V).float()
            logits_CV -= logits_CV.amax(1, keepdim=True)
            picked_C1 = logits_CV.gather(1, targets_C1)
            sums_C1 = logits_CV.exp_().sum(1, keepdim=True)
            total += (sums_C1.log() - picked_C1).sum()
            if grad_NH is not None:
                logits_CV /= sums_C1
                logits_CV.scatter_add_(1, targets_C1, torch.full_like(picked_C1, -1.0))
                grad_NH[at : at + at_once] = times_back(logits_CV, weight_VH)
        ctx.save_for_backward(grad_NH)
        return total

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        (grad_NH,) = ctx.saved_tensors
        return grad_NH * grad, None, None, None, None
