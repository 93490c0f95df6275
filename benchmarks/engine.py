"""Checks of the training engine on this machine's device, on a tiny model in fp32."""

import gc
import math
import tempfile
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from benchmarks import peer
from benchmarks.random_base import SHAPES, Size, made, rows_of, spec_for, trained_by_trl

TINY: Final = SHAPES["tiny"]
WIDE: Final = {**TINY, "hidden_size": 512, "intermediate_size": 2048}
RAGGED: Final = {**TINY, "hidden_size": 256}
"""Heads of 64, as real models have them."""
ROUNDING_OF_GRADIENTS: Final = 0.05
"""Relative difference of two gradients in bf16 that counts as rounding."""
TOLERANCE: Final = 1e-3
"""Difference of two losses or logits that counts as rounding."""
AGAIN, RESUMED = "equal seeds give equal losses", "a resumed run has equal losses"


@dataclass(frozen=True)
class Outcome:
    """What a check found."""

    met: bool | None
    """None: the check was not tried."""
    gap: float | None = None
    """The largest difference of two values that should be equal; 0.0 means equal bits."""
    note: str = ""

    def __str__(self) -> str:
        word = "not tried" if self.met is None else "ok" if self.met else "failed"
        gap = f"differ by {self.gap:.3g}" if self.gap else ""
        return ": ".join(part for part in (word, gap, self.note) if part)


def compared(one: tuple[float, ...], other: tuple[float, ...], note: str = "") -> Outcome:
    """Returns whether two runs have equal losses up to rounding."""
    gap = max(abs(a - b) for a, b in zip(one, other, strict=True))
    return Outcome(gap < TOLERANCE, gap, note)


def _quiet(*_: Any) -> None:
    pass


class Checks:
    """The checks: `own` and `with_trl` name them."""

    def __init__(self, size: Size) -> None:
        self.size = replace(size, tokens=64, steps=4)
        self.rows = rows_of(self.size, 6)
        self.own: Final = {
            "the answer's logits are those of the whole row": self.last_logits,
            "a step in microbatches has the loss of the whole": self.parts,
            "a row's gradient does not depend on padding": self.padding,
            AGAIN: self.again,
            "checkpointed activations give equal losses": self.checkpointed,
            RESUMED: self.resumed,
            "out of memory: the microbatches are halved": self.out_of_memory,
        }
        self.with_trl: Final = {"the losses are TRL's": self.like_trl}

    def losses(self, **more: Any) -> tuple[float, ...]:
        """Returns the losses of one run; `more` are settings."""
        from rungwise.training import loop

        spec = spec_for(self.size, precision="fp32", **more)
        return loop.train(made(TINY, self.size, "fp32"), spec, self.rows, progress=_quiet).losses

    def last_logits(self) -> Outcome:
        """Compares the answer's logits with those of the whole row."""
        import torch

        from rungwise.training.step import answer_logits

        lm = made(TINY, self.size, "fp32")
        with torch.no_grad():
            last = answer_logits(lm.model, self.rows[:4], lm)
            whole = answer_logits(lm.model, self.rows[:4], lm, is_whole=True)
        gap = float((last - whole[:, -last.shape[1] :]).abs().max())
        return Outcome(gap < TOLERANCE, gap)

    def parts(self) -> Outcome:
        """Compares a run with one in small microbatches."""
        return compared(self.losses(), self.losses(max_tokens_per_microbatch=200))

    def padding(self) -> Outcome:
        """Compares the gradient of rows of very different lengths with the sum of each row's own, in bf16.

        Batches are as wide as the blocks of a GPU's attention, and as no block.
        """
        import torch

        from rungwise.model.kernels.training_attention import training_attention
        from rungwise.training.batches import TokenRow
        from rungwise.training.step import loss_sum

        lm = made(RAGGED, self.size, "bf16")
        weight = lm.model.get_input_embeddings().weight.requires_grad_()

        def gradient(some: list[TokenRow]) -> torch.Tensor:
            return torch.autograd.grad(loss_sum(lm.model, some, lm), weight)[0].float()

        gaps = []
        for width in (64, 128, 256, 401):
            # the last token is left out of the input
            rows = [TokenRow(tuple(range(1, n - 1)), (5, 7, 0)) for n in (width // 8, width // 3, width)]
            with training_attention():
                together = gradient(rows)
                alone = sum((gradient([row]) for row in rows), torch.zeros_like(together))
            gaps.append(float((together - alone).norm() / alone.norm()))
        gap = max(gaps, key=lambda one: (math.isnan(one), one))  # NaN is the largest
        return Outcome(gap < ROUNDING_OF_GRADIENTS, gap)

    def again(self) -> Outcome:
        """Compares two equal runs, and if their bits differ, two with torch's deterministic algorithms."""
        import torch

        result = compared(self.losses(), self.losses())
        if not result.gap:
            return result
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                strict = compared(self.losses(), self.losses())
        finally:
            torch.use_deterministic_algorithms(False)
        return replace(result, note=f"with deterministic algorithms by {strict.gap:.3g}")

    def checkpointed(self) -> Outcome:
        """Compares a run with one that checkpoints activations."""
        return compared(self.losses(), self.losses(checkpointing=True))

    def resumed(self) -> Outcome:
        """Compares a run with one that was stopped in its third step and resumed, both with dropout."""
        from rungwise.training import loop
        from rungwise.training.checkpoints import Checkpoints

        spec = spec_for(self.size, precision="fp32", dropout=0.1)

        def stop(step: int, *_: Any) -> None:
            if step == 3:
                raise KeyboardInterrupt

        def run(progress: Callable[..., None], checkpoints: Any) -> tuple[float, ...]:
            lm = made(TINY, self.size, "fp32")
            return loop.train(lm, spec, self.rows, progress=progress, checkpoints=checkpoints).losses

        with tempfile.TemporaryDirectory() as folder:
            checkpoints = Checkpoints(Path(folder) / "c", {"a": 1}, 1, _quiet)
            try:
                run(stop, checkpoints)
            except KeyboardInterrupt:
                pass
            last = checkpoints.last()
            if last is None or last.step != 2:
                return Outcome(False, note="no checkpoint of step 2")
            return compared(run(_quiet, checkpoints), self.losses(dropout=0.1))

    def like_trl(self) -> Outcome:
        """Compares a run with TRL's; every step sees all rows, so that their order does not matter."""
        from rungwise.training import loop

        if why := peer.missing():
            return Outcome(None, note=why)
        rows, spec = self.rows[: self.size.rows], spec_for(self.size, precision="fp32")
        ours = loop.train(made(TINY, self.size, "fp32"), spec, rows, progress=_quiet).losses
        return compared(ours, tuple(trained_by_trl(TINY, self.size, rows, spec, is_packed=False)["losses"]))

    def out_of_memory(self) -> Outcome:
        """Compares a run with one that has two thirds of the memory it takes, so that its microbatches are halved."""
        import torch

        from rungwise.training import loop
        from rungwise.training.checkpoints import Checkpoints

        if not torch.cuda.is_available():
            return Outcome(None, note="no GPU")
        size = replace(self.size, tokens=1024, rows=32, steps=2)
        rows = rows_of(size, 256)

        def run(checkpoints: Any) -> tuple[float, ...]:
            spec = spec_for(size, precision="fp32")
            lm = made(WIDE, size, "fp32")
            return loop.train(lm, spec, rows, progress=_quiet, checkpoints=checkpoints).losses

        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        whole = run(None)
        most, total = torch.cuda.max_memory_allocated(), torch.cuda.mem_get_info()[1]
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(0.67 * most / total)
        try:
            with tempfile.TemporaryDirectory() as folder:
                checkpoints = Checkpoints(Path(folder) / "c", {"a": 1}, 1, _quiet)
                result = compared(whole, run(checkpoints))
                last = checkpoints.last()
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        limit = last.state["max_tokens_per_microbatch"] if last else None
        if not isinstance(limit, int) or limit >= max(row.length for row in rows) * size.rows:
            return Outcome(False, result.gap, "no microbatch was out of memory")
        return replace(result, note=f"{limit} tokens per microbatch in {0.67 * most / 2**30:.2f} GiB")


def outcomes(checks: Mapping[str, Callable[[], Outcome]]) -> dict[str, Outcome]:
    """Returns check -> outcome, and prints each."""
    done: dict[str, Outcome] = {}
    for name, act in checks.items():
        try:
            done[name] = act()
        except Exception as error:  # a failed check is a result
            traceback.print_exc()
            done[name] = Outcome(False, note=first_line(error))
        print(f"{name:<52}{done[name]}", flush=True)
    return done


def first_line(error: Exception) -> str:
    """Returns an error's type and the first line of its message."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
