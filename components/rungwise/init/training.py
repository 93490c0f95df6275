"""How long and in which precision a new workspace trains: from the number of rows, and measured on this machine."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

from rungwise.workspace.resources import POCKET_BASES

BATCH_SIZE = 16
"""Rows of a step."""
EPOCHS = 3
"""How often each training row is seen, within the bounds of the steps."""
MIN_STEPS, MAX_STEPS = 100, 500
"""With few rows, three epochs end before the learning rate has warmed up. With many rows, a first result should take
minutes: 500 steps see 8,000 rows."""
LARGE_BYTES = 50_000_000
"""A folder with fewer bytes of weights is trained in fp32: such a model's products are too small to gain from bf16."""
MIN_SPEEDUP = 1.2
"""bf16 rounds every weight, so it must be faster than fp32 by more than noise."""


@dataclass(frozen=True)
class Training:
    """The guessed settings of the training."""

    steps: int
    epochs: float
    """Epochs that these steps are."""
    speedup: float | None
    """How many times as fast bf16 is as fp32 on this machine, 0 if it has no bf16; None if it was not measured."""

    @property
    def precision(self) -> str:
        """`bf16` if it was measured to be faster, otherwise `fp32`."""
        return "bf16" if self.speedup and self.speedup >= MIN_SPEEDUP else "fp32"

    @property
    def sentence(self) -> str:
        """The settings and their reasons."""
        text = f"Training: {self.steps} steps of {BATCH_SIZE} rows, about {self.epochs:.1f} epochs."
        if self.speedup is None:
            return text
        if not self.speedup:
            return f"{text} Precision {self.precision}: this machine has no bf16."
        speed = f"matrix products in bf16 take {1 / self.speedup:.0%} of the time of fp32 on this machine"
        return f"{text} Precision {self.precision}: {speed}."


def training(n_rows: int, bases: Sequence[str], measure: Callable[[], float] | None = None) -> Training:
    """Returns the training settings for `n_rows` training rows on these bases.

    Precision is measured only if a base is large enough to gain from it. `measure` is `speedup` by default.
    """
    steps = min(MAX_STEPS, max(MIN_STEPS, ceil(EPOCHS * n_rows / BATCH_SIZE)))
    measured = (measure or speedup)() if any(map(_is_large, bases)) else None
    return Training(steps, steps * BATCH_SIZE / max(1, n_rows), measured)


def _is_large(base: str) -> bool:
    """Whether a base's products are large; models that are not here yet are."""
    folder = Path(base)
    sizes = [path.stat().st_size for path in folder.glob("*.safetensors")]
    return base not in POCKET_BASES and (not folder.is_dir() or sum(sizes) >= LARGE_BYTES)


def speedup() -> float:
    """Returns how many times as fast as fp32 this machine multiplies in bf16; 0 if it has no bf16.

    It is measured in less than half a second, by the products that models use. The matrices have the shape of the
    widest layer of SmolLM2-135M and 512 tokens.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return 0.0
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        tokens, weight = (torch.randn(*shape, device=device).to(dtype) for shape in ((512, 576), (1536, 576)))
        seconds[dtype] = _shortest(partial(_product, tokens, weight, device))
    return seconds[torch.float32] / seconds[torch.bfloat16]


def _product(a: Any, b: Any, device: str) -> None:
    import torch

    from rungwise.model.kernels.products import times

    times(a, b)
    if device == "cuda":
        torch.cuda.synchronize()


def _shortest(act: Callable[[], None], times: int = 15) -> float:
    """Returns the seconds of the fastest of several runs after one to warm up; other programs only make one slower."""
    act()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
