"""Products of bf16 matrices on a CPU that has no instructions for them, such as most laptops.

There torch multiplies bf16 matrices at a third of the rate of fp32 ones. Here they are converted, multiplied in fp32,
and the result is rounded once: on 1,000 tokens with the layers of a 135-million model a third of the time. Results are
equal up to rounding.

Shape letters: N rows and tokens together, I inputs, O outputs, C a chunk of them.
"""

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

import torch
from torch.nn.functional import linear

FEWEST: Final = 48
"""With fewer tokens, converting the weight takes more time than it saves."""

BLOCK: Final = 2**22
"""Elements of a weight that are converted at a time: an output layer as a whole would take too much memory."""


@cache
def has_bf16() -> bool:
    """Whether this machine's processor multiplies bf16 numbers itself; True if that is not known."""
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    is_x86 = capabilities.get("architecture") == "x86_64"
    return not is_x86 or bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def is_slow(x: torch.Tensor) -> bool:
    """Whether products with a tensor are faster in fp32; its dimensions but the last are rows and tokens."""
    is_bf16 = x.dtype == torch.bfloat16 and x.device.type == "cpu" and not has_bf16()
    return is_bf16 and x.numel() >= FEWEST * x.shape[-1]


class _Room(threading.local):
    """Memory that is used again: the system clears new memory, which takes longer than to convert a matrix."""

    def __init__(self) -> None:
        self.buffers: dict[tuple[str, bool], torch.Tensor] = {}

    def of(self, name: str, shape: Sequence[int]) -> torch.Tensor:
        """Returns an fp32 tensor with any values, which the next call with this name overwrites."""
        n, key = math.prod(shape), (name, torch.is_inference_mode_enabled())  # what is made there can't leave it
        if key not in self.buffers or self.buffers[key].numel() < n:
            self.buffers[key] = torch.empty(n)
        return self.buffers[key][:n].view(*shape)


_room: Final = _Room()


def widened(name: str, x: torch.Tensor) -> torch.Tensor:
    """Returns a tensor in fp32, in memory that the next call with this name overwrites."""
    return _room.of(name, x.shape).copy_(x)


def product(a_NI: torch.Tensor, b_IO: torch.Tensor) -> torch.Tensor:
    """Returns the product of two fp32 matrices, in memory that the next call overwrites."""
    return torch.mm(a_NI, b_IO, out=_room.of("product", (a_NI.shape[0], b_IO.shape[1])))


def times(x: torch.Tensor, weight_OI: torch.Tensor, bias_O: torch.Tensor | None = None) -> torch.Tensor:
    """Returns `linear(x, weight, bias)`, in the type of `x`; no gradients are computed."""
    if not is_slow(x) or weight_OI.dtype != x.dtype:
        same: torch.Tensor = linear(x, weight_OI, bias_O)
        return same
    wide_NI = widened("left", x.reshape(-1, x.shape[-1]))
    y_NO = torch.empty(len(wide_NI), len(weight_OI), dtype=x.dtype)
    for at, weight_CI in _blocks(weight_OI):
        y_NC = product(wide_NI, weight_CI.t())
        y_NO[:, at : at + len(weight_CI)] = y_NC if bias_O is None else y_NC.add_(bias_O[at : at + len(weight_CI)])
    return y_NO.view(*x.shape[:-1], -1)


def times_back(grad_NO: torch.Tensor, weight_OI: torch.Tensor) -> torch.Tensor:
    """Returns `grad @ weight`, in the type of the weight; `grad` may be in fp32."""
    if not is_slow(weight_OI) or len(grad_NO) < FEWEST:
        return grad_NO.to(weight_OI.dtype) @ weight_OI
    total_NI = torch.zeros(len(grad_NO), weight_OI.shape[1])
    for at, weight_CI in _blocks(weight_OI):
        total_NI.addmm_(grad_NO[:, at : at + len(weight_CI)].float(), weight_CI)
    return total_NI.to(weight_OI.dtype)


def _blocks(weight_OI: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
    """Yields the first output of each block of a weight, and the block in fp32, which the next one overwrites."""
    at_once = max(1, BLOCK // weight_OI.shape[1])
    for at in range(0, len(weight_OI), at_once):
        yield at, widened("right", weight_OI[at : at + at_once])
