"""This machine, measured: its memory, how fast it multiplies matrices, and how long a few real steps take."""

import itertools
import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rungwise.core.records import AttemptSpec
from rungwise.model.adapters import attach
from rungwise.model.language_model import LanguageModel, device_name
from rungwise.planning.machines import THIS, Machine
from rungwise.training.batches import TokenRow, batches
from rungwise.training.loop import train
from rungwise.training.step import loss_sum

_SIDE = 1536
"""Rows and columns of the matrices whose product is timed: large enough that launching it takes no time."""
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Probe:
    """The time and memory of a few real steps."""

    seconds_per_token: float
    """Of a whole step (forward, backward, update), with padding counted as tokens; without the first step."""
    peak_bytes: int | None
    """Peak memory, including the base's weights; None if the system does not report it."""
    steps: int
    tokens: int
    """Tokens of one step, with padding."""
    loss: float
    """Of the last step."""


def this_machine() -> Machine:
    """Returns this machine: memory as the system reports it, rates and bandwidth measured in about two seconds."""
    import torch

    device = device_name()
    is_cuda = device.startswith("cuda")
    has_bf16 = bool(torch.cuda.is_bf16_supported(including_emulation=False)) if is_cuda else None
    memory = int(torch.cuda.get_device_properties(device).total_memory) if is_cuda else memory_bytes()
    measured = f"measured with torch {torch.__version__} on {device}"
    half = _matrix_rate(device, torch.float16 if has_bf16 is False else torch.bfloat16)
    return Machine(
        name=THIS,
        card=torch.cuda.get_device_name(device) if is_cuda else f"{os.cpu_count()} processor cores",
        gpus=torch.cuda.device_count() if is_cuda else None,
        memory_bytes=memory,
        half_rate=half,
        fp32_rate=_matrix_rate(device, torch.float32),
        bandwidth=_bandwidth(device),
        has_bf16=has_bf16,
        price_usd_hour=None,
        notes=("this card has no bf16; in 16 bit it computes in fp16",) if has_bf16 is False else (),
        sources={name: measured for name in ("half_tflops", "fp32_tflops", "bandwidth_gbs", "memory_gb")},
        device="cuda" if is_cuda else "cpu",
    )


def this_memory() -> Machine:
    """Returns this machine with its memory only, which is enough to tell what fits and takes no time."""
    import torch

    device = device_name()
    is_cuda = device.startswith("cuda")
    memory = int(torch.cuda.get_device_properties(device).total_memory) if is_cuda else memory_bytes()
    kind = "cuda" if is_cuda else "cpu"
    return Machine(THIS, kind, None, memory, None, None, None, None, None, device=kind)


def memory_bytes(limit_file: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """Returns the memory that this process may use: the system's, or the limit of its control group."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    text = limit_file.read_text().strip() if limit_file.is_file() else "max"
    return min(total, int(text)) if text.isdigit() else total


def _matrix_rate(device: str, dtype: Any) -> float:
    import torch

    a = torch.randn(_SIDE, _SIDE, device=device).to(dtype)
    seconds = _shortest(device, lambda: a @ a)
    return 2.0 * _SIDE**3 / seconds


def _bandwidth(device: str) -> float:
    import torch

    n_elements = 2**25
    source = torch.zeros(n_elements, device=device)
    target = torch.empty_like(source)
    return 2.0 * n_elements * 4 / _shortest(device, lambda: target.copy_(source))


def _shortest(device: str, act: Callable[[], Any], times: int = 5) -> float:
    """Returns the seconds of the fastest of several runs; the first one warms up."""
    act()
    seconds = []
    for _ in range(times):
        _wait(device)
        start = time.perf_counter()
        act()
        _wait(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _wait(device: str) -> None:
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize()


def status_bytes(key: str, status: Path = _STATUS) -> int | None:
    """Returns a line of the process's status in bytes (`VmRSS`: memory now, `VmHWM`: highest so far), or None."""
    if not status.is_file():
        return None
    for line in status.read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    return None


def probe(lm: LanguageModel, spec: AttemptSpec, rows: Sequence[TokenRow], *, steps: int = 3) -> Probe:
    """Runs `steps` real steps on the longest rows and returns their time and memory.

    The steps are those of a training run: its loss, its gradients, its optimizer. The result is discarded; `lm`'s
    modules are wrapped in place.
    """
    longest = sorted(rows, key=lambda row: row.length, reverse=True)[: spec.batch_size]
    lm.model.train()
    held, weights = _reset_peak(lm.device), _own_bytes(lm.model)
    tuned = attach(lm, spec)
    trained = [p for p in tuned.model.parameters() if p.requires_grad]
    seconds, loss = run_steps(tuned, trained, longest, steps=steps, clip_norm=spec.clip_norm)
    tokens = len(longest) * longest[0].length
    typical = min(seconds[1:] or seconds)
    return Probe(typical / tokens, _peak(lm.device, held, weights), steps, tokens, loss)


def seconds_per_token(
    lm: LanguageModel, spec: AttemptSpec, rows: Sequence[TokenRow], *, steps: int, tokens: Callable[[Any], int]
) -> float:
    """Returns the seconds of training for each token: the median of `steps` steps of the loop, after one to warm up.

    The median ignores other programs that run for a moment. The result of training is discarded; `lm`'s modules are
    wrapped in place.

    Args:
        lm: the loaded base.
        spec: the attempt.
        rows: its training rows.
        steps: how many steps are timed.
        tokens: returns the tokens of a batch, with padding.
    """
    spec = replace(spec, steps=steps + 1, eval_every=0, patience=0)
    ends: list[float] = []

    def note(done: int, total: int, what: str) -> None:
        _wait(lm.device)
        ends.append(time.perf_counter())

    train(lm, spec, rows, progress=note)
    shown = list(batches(rows, batch_size=spec.batch_size, steps=spec.steps, seed=spec.seed))[1:]
    taken = [after - before for before, after in itertools.pairwise(ends)]
    return statistics.median(seconds / tokens(batch) for seconds, batch in zip(taken, shown, strict=True))


def random_rows(lm: LanguageModel, length: int, answer: int, n_rows: int, draw: random.Random) -> list[TokenRow]:
    """Returns rows of random tokens, all of one length, including the answer and its end token."""
    vocabulary = int(lm.model.config.vocab_size)

    def some(n: int) -> tuple[int, ...]:
        return tuple(draw.randrange(vocabulary) for _ in range(n))

    return [TokenRow(some(length - answer), (*some(answer - 1), lm.end)) for _ in range(n_rows)]


def run_steps(
    lm: LanguageModel,
    trained: Sequence[Any],
    rows: Sequence[TokenRow],
    *,
    steps: int,
    clip_norm: float = 1.0,
    n_shared: int = 0,
) -> tuple[list[float], float]:
    """Returns the seconds of each of `steps` steps on the same rows, and the last loss per answer token.

    The rows' first `n_shared` tokens are a shared prefix.
    """
    import torch

    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=True)
    seconds: list[float] = []
    last = 0.0
    for _ in range(steps):
        _wait(lm.device)
        start = time.perf_counter()
        loss = loss_sum(lm.model, rows, lm, n_shared=n_shared) / sum(len(row.answer) for row in rows)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, clip_norm)
        last = loss.item()
        optimizer.step()
        _wait(lm.device)
        seconds.append(time.perf_counter() - start)
    return seconds, last


def _own_bytes(model: Any) -> int:
    return sum(p.numel() * p.element_size() for p in model.parameters())


def _reset_peak(device: str) -> int | None:
    """Resets the peak; returns the memory in use now, or None if the system does not allow it."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        return int(torch.cuda.memory_allocated())
    try:
        _RESET.write_text("5")  # https://man7.org/linux/man-pages/man5/proc_pid_clear_refs.5.html
    except OSError:
        return None
    return status_bytes("VmRSS")


def _peak(device: str, held: int | None, weights: int) -> int | None:
    """Returns the weights and the peak above the memory that was in use before."""
    import torch

    if held is None:
        return None
    if device.startswith("cuda"):
        return weights + int(torch.cuda.max_memory_allocated()) - held
    highest = status_bytes("VmHWM")
    return None if highest is None else weights + max(0, highest - held)
