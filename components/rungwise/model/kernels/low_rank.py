"""A linear layer with a low-rank update as one autograd operation.

PEFT adds the update in separate operations, each of which passes over activations as large as the layer's output. Here
they are part of the matrix products (`addmm`), and the frozen weight gets no gradient. On a CPU a training step of a
small model takes about two thirds of the time; results are equal up to rounding.

Shape letters: N rows and tokens together, I inputs, O outputs, R rank.
"""

import types
from typing import Any

import torch
from torch.nn.functional import linear


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
        a_RI, b_OR = a_RI.to(x.dtype), b_OR.to(x.dtype)
        inner_NR = x_NI @ a_RI.t()
        y_NO = linear(x_NI, weight_OI, bias_O).addmm_(inner_NR, b_OR.t(), alpha=scale)
        ctx.save_for_backward(x_NI, inner_NR, weight_OI, a_RI, b_OR)
        ctx.scale = scale
        return y_NO.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        x_NI, inner_NR, weight_OI, a_RI, b_OR = ctx.saved_tensors
        grad_NO = grad.reshape(-1, grad.shape[-1])
        back_NR = grad_NO @ b_OR
        grad_b_OR = (grad_NO.t() @ inner_NR).float().mul_(ctx.scale)
        grad_a_RI = (back_NR.t() @ x_NI).float().mul_(ctx.scale)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (grad_NO @ weight_OI).addmm_(back_NR, a_RI, alpha=ctx.scale).view(*grad.shape[:-1], -1)
        return grad_x, None, None, grad_a_RI, grad_b_OR, None


def fuse(model: Any) -> int:
    """Makes PEFT's LoRA layers use this operation; returns the number of changed layers.

    Layers with dropout, DoRA or a quantized weight are left as they are. Names, weights and saved files do not change.
    """
    from peft.tuners.lora.layer import Linear

    n = 0
    for module in model.modules():
        if type(module) is Linear and _is_plain(module):
            module.forward = types.MethodType(_forward, module)
            n += 1
    return n


def _is_plain(module: Any) -> bool:
    return (
        list(module.lora_A) == ["default"]
        and not module.lora_variant
        and type(module.base_layer) is torch.nn.Linear
        and isinstance(module.lora_dropout["default"], torch.nn.Identity)
        and module.lora_A["default"].bias is None
        and module.lora_B["default"].bias is None
    )


def _forward(module: Any, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    base = module.base_layer
    y: torch.Tensor = _LowRankLinear.apply(
        x,
        base.weight,
        base.bias,
        module.lora_A["default"].weight,
        module.lora_B["default"].weight,
        module.scaling["default"],
    )
    return y
