"""A frozen RMS norm as one autograd operation, for training on a CPU.

transformers computes an RMS norm (Zhang and Sennrich, 2019, https://arxiv.org/abs/1910.07467) in about eight
operations, and autograd adds a dozen for the backward pass; in bf16 they pass over fp32 copies of the hidden states.
Here the backward pass is six operations, and only the input is kept, in its own type. In bf16 both passes take a third
of the time and the gradient is more exact; values are those of transformers up to rounding.

Shape letters: H hidden size, the last dimension of every input.
"""

import types
from typing import Any

import torch


class _FrozenNorm(torch.autograd.Function):  # type: ignore[misc]  # torch is not followed by mypy
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale_H: torch.Tensor, eps: float) -> torch.Tensor:
        inverse = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        inverse = inverse.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, scale_H, inverse)
        if scale_H.dtype == torch.float32:  # as Gemma: rounded once, after the weight
            return (x * inverse).mul_(scale_H).to(x.dtype)
        y = x.to(torch.float32, copy=True).mul_(inverse)
        return y.to(x.dtype).mul_(scale_H)  # rounded before the weight, as Llama does

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        x, scale_H, inverse = ctx.saved_tensors
        scaled, x = grad.float() * scale_H, x.float()
        along = torch.linalg.vecdot(scaled, x).unsqueeze(-1).mul_(inverse.square().div_(-x.shape[-1]))
        return scaled.addcmul_(x, along).mul_(inverse).to(grad.dtype), None, None


def fuse_norms(model: Any) -> int:
    """Makes the model's frozen RMS norms use this operation where gradients are computed; returns how many.

    Norms that are trained, norms of other kinds and every pass on a GPU are left as they are. Names and weights do not
    change.
    """
    n = 0
    for module in model.modules():
        if _is_frozen_norm(module) and (scale_H := _scale(module)) is not None:
            module.forward = types.MethodType(_forward, module)
            # not a buffer: it must not move with the model or be saved
            vars(module)["frozen_scale"] = scale_H
            n += 1
    return n


def _is_frozen_norm(module: Any) -> bool:
    kind = type(module)
    if not kind.__module__.startswith("transformers.models.") or not kind.__name__.endswith("RMSNorm"):
        return False
    weights = list(module.parameters())
    return len(weights) == 1 and not weights[0].requires_grad and weights[0].device.type == "cpu" and _eps(module) > 0


def _eps(module: Any) -> float:
    return float(getattr(module, "variance_epsilon", getattr(module, "eps", 0.0)))


def _scale(module: Any) -> torch.Tensor | None:
    """Returns what the normalised input is multiplied with, in fp32 where the module does that in fp32.

    Tries the module on a made-up input; returns None if it computes something else than an RMS norm.
    """
    (weight_H,) = module.parameters()
    x = torch.linspace(-1.0, 2.0, 3 * len(weight_H)).view(3, -1)
    plain = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + _eps(module))
    with torch.no_grad():
        actual = type(module).forward(module, x)
        for scale_H in (weight_H.detach(), 1.0 + weight_H.detach().float()):
            if torch.allclose(actual.float(), plain * scale_H.float(), rtol=1e-4, atol=1e-5):
                return scale_H
    return None


def _forward(module: Any, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    is_trained = torch.is_grad_enabled() and not torch.compiler.is_compiling()
    if not is_trained or x.device.type != "cpu" or module.weight.requires_grad:
        whole: torch.Tensor = type(module).forward(module, x)
        return whole
    fast: torch.Tensor = _FrozenNorm.apply(x, module.frozen_scale, _eps(module))
    return fast
