"""Linear layers that read a slice of hidden states without one copy of their weight for each row.

For a frozen weight and a slice of shape (rows, tokens, width) whose rows do not follow each other in memory, torch
multiplies row by row and expands the weight to the number of rows (`should_fold` in
https://github.com/pytorch/pytorch/blob/main/aten/src/ATen/native/LinearAlgebra.cpp). In bf16 on a CPU the expanded
weight is really written: with a vocabulary of 262,144, a width of 640 and 32 rows that is 10.7 GB for one pass. Here
such an input is read as a matrix, with one row for each token.
"""

import types
from typing import Any

import torch
from torch.nn.functional import linear

from rungwise.model.kernels.products import times


def fold_inputs(model: Any) -> int:
    """Makes the model's linear layers read slices as matrices; returns the number of changed layers.

    Names and weights do not change, and results only by rounding, where an input is a slice. Layers of other types,
    such as quantized ones, are left as they are.
    """
    n = 0
    for module in model.modules():
        if type(module) is torch.nn.Linear:
            module.forward = types.MethodType(_forward, module)
            n += 1
    return n


def is_slice(x: torch.Tensor) -> bool:
    """Whether torch can't view the input as a matrix with one row for each token, and so expands a frozen weight."""
    if x.dim() == 3:
        # the strides decide, as in torch: a slice of a single row is contiguous and is not folded all the same
        return bool(x.stride(0) != x.stride(1) * x.shape[1])
    return x.dim() > 3 and not x.is_contiguous()


def _forward(layer: Any, x: torch.Tensor) -> torch.Tensor:
    x_NI = x.reshape(-1, x.shape[-1]) if is_slice(x) else x
    y = linear(x_NI, layer.weight, layer.bias) if torch.is_grad_enabled() else times(x_NI, layer.weight, layer.bias)
    return y.view(*x.shape[:-1], -1)
