"""A linear layer with a low-rank update as one operation, in training and in answering.

PEFT adds the update in separate operations, in fp32 whatever the type of the base; each of them passes over activations
as large as the layer's output. Here they are part of the matrix products (`addmm`), and the frozen weight gets no
gradient. On a CPU a training step of a small model takes about two thirds of the time, and reading a prompt in bf16
with such a layer a fourth; results are equal up to rounding.

Shape letters: N rows and tokens together, I inputs, O outputs, R rank.
"""

import types
from typing import Any

import torch
from torch.nn.functional import linear

from rungwise.model.kernels.products import is_slow, product, widened


class _LowRankLinear(torch.autograd.Function):  # type: ignore[misc]  # torch is not followed by mypy
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight_OI: torch.Tensor,
        bias_O: torch.Tensor | None,
        a_RI: torch.Tensor,
        b_OR: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        x_NI = x.reshape(-1, x.shape[-1])
        y_NO, inner_NR = _updated(x_NI, weight_OI, bias_O, a_RI, b_OR, scale)
        ctx.save_for_backward(x_NI, inner_NR, weight_OI, a_RI.to(x.dtype), b_OR.to(x.dtype))
        ctx.scale = scale
        return y_NO.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        x_NI, inner_NR, weight_OI, a_RI, b_OR = ctx.saved_tensors
        grad_NO = grad.reshape(-1, grad.shape[-1])
        if is_widened := is_slow(grad_NO) and x_NI.dtype == grad.dtype == weight_OI.dtype:
            grad_NO = widened("left", grad_NO)
        inner_NR, a_RI, b_OR = (one.to(grad_NO.dtype) for one in (inner_NR, a_RI, b_OR))
        back_NR = grad_NO @ b_OR
        grad_b_OR = (grad_NO.t() @ inner_NR).float().mul_(ctx.scale)
        grad_a_RI = (back_NR.to(x_NI.dtype).t() @ x_NI).float().mul_(ctx.scale)
        grad_x = None
        if ctx.needs_input_grad[0]:
            whole_NI = product(grad_NO, widened("right", weight_OI)) if is_widened else grad_NO @ weight_OI
            grad_x = whole_NI.addmm_(back_NR, a_RI, alpha=ctx.scale).to(grad.dtype).view(*grad.shape[:-1], -1)
        return grad_x, None, None, grad_a_RI, grad_b_OR, None


def _updated(
    x_NI: torch.Tensor,
    weight_OI: torch.Tensor,
    bias_O: torch.Tensor | None,
    a_RI: torch.Tensor,
    b_OR: torch.Tensor,
    scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the layer's output with the update, shape (N, O), and the update's inner values, shape (N, R)."""
    a_RI, b_OR = a_RI.to(x_NI.dtype), b_OR.to(x_NI.dtype)
    if not is_slow(x_NI) or weight_OI.dtype != x_NI.dtype:
        inner_NR = x_NI @ a_RI.t()
        return linear(x_NI, weight_OI, bias_O).addmm_(inner_NR, b_OR.t(), alpha=scale), inner_NR
    wide_NI = widened("left", x_NI)
    inner_NR = wide_NI @ a_RI.float().t()
    y_NO = product(wide_NI, widened("right", weight_OI).t()).addmm_(inner_NR, b_OR.float().t(), alpha=scale)
    if bias_O is not None:
        y_NO += bias_O
    return y_NO.to(x_NI.dtype), inner_NR.to(x_NI.dtype)


def fuse(model: Any) -> int:
    """Makes PEFT's LoRA layers use this operation; returns the number of changed layers.

    Layers with dropout, DoRA or a quantized weight are left as they are, also while their update is off or part of the
    weight. Names, weights and saved files do not change.
    """
    modules = [module for module in model.modules() if _is_plain(module)]
    for module in modules:
        module.forward = types.MethodType(_forward, module)
    return len(modules)


def fuse_for_answers(model: Any) -> int:
    """Makes a loaded adapter's LoRA layers use this operation, with weights of the base's type, as in training.

    Returns the number of changed layers. The model can answer, and must not be trained or saved afterwards.
    """
    for module in model.modules():
        if _is_plain(module):
            for weights in (module.lora_A["default"], module.lora_B["default"]):
                weights.to(module.base_layer.weight.dtype)
    return fuse(model)


def _is_plain(module: Any) -> bool:
    from peft.tuners.lora.layer import Linear

    return (
        type(module) is Linear
        and list(module.lora_A) == ["default"]
        and not module.lora_variant
        and type(module.base_layer) is torch.nn.Linear
        and isinstance(module.lora_dropout["default"], torch.nn.Identity)
        and module.lora_A["default"].bias is None
        and module.lora_B["default"].bias is None
    )


def _forward(module: Any, x: torch.Tensor, *given: Any, **named: Any) -> torch.Tensor:
    y: torch.Tensor
    if module.merged or module.disable_adapters:
        y = type(module).forward(module, x, *given, **named)
        return y
    base, a, b = module.base_layer, module.lora_A["default"], module.lora_B["default"]
    if torch.is_grad_enabled():
        y = _LowRankLinear.apply(x, base.weight, base.bias, a.weight, b.weight, module.scaling["default"])
        return y
    scale = module.scaling["default"]
    y, _ = _updated(x.reshape(-1, x.shape[-1]), base.weight, base.bias, a.weight, b.weight, scale)
    return y.view(*x.shape[:-1], -1)
