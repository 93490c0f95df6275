"""Training on a CUDA GPU: checks of the engine, then speed and memory at real shapes.

`python -m benchmarks.gpu [--quick] [--write]` (`make gpu-check`). It requires only torch, transformers, peft,
accelerate, pandas and pydantic. Random weights of two Qwen-like shapes (0.5 and 1.5 billion parameters) in bf16, LoRA
on all linear layers, rows of 512 tokens with short and long answers. Without a GPU it says so and succeeds. `--quick`
runs the same with a small model, on any machine. The recorded result carries the name of the card.
"""

import gc
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from benchmarks.report import Figure, at_least, at_most, machine, parser, publish, slug

SHAPES: Final = {
    "0.5B": {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14},
    "1.5B": {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12},
}
VOCABULARY, KEY_HEADS = 151_936, 2
TINY: Final = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
TOKENS, ROWS, STEPS, RANK = 512, 16, 8, 16
ANSWERS: Final = {"short": 8, "long": 256}


@dataclass(frozen=True)
class Size:
    """Sizes of a measurement."""

    tokens: int = TOKENS
    rows: int = ROWS
    steps: int = STEPS
    vocabulary: int = VOCABULARY


def made(shape: dict[str, int], size: Size, precision: str = "bf16") -> Any:
    """Returns a model with random weights, ready for the training loop."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from rungwise.core.records import Base
    from rungwise.model.kernels.last_layer import shorten
    from rungwise.model.language_model import LanguageModel, device_name

    device = device_name()
    config = Qwen2Config(
        vocab_size=size.vocabulary, num_key_value_heads=KEY_HEADS, max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=None, eos_token_id=0, pad_token_id=None, **shape,
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device(device):
        kind = torch.bfloat16 if precision == "bf16" else torch.float32
        model = Qwen2ForCausalLM(config).to(kind).eval().requires_grad_(False)
    shorten(model)
    return LanguageModel(Base("random"), "", model, None, (), (), 0, "plain", 4096, device)


def rows_of(size: Size, answer: int) -> list[Any]:
    """Returns rows of random tokens; the shortest has at least 80 % of the length of the longest."""
    import random

    from rungwise.training.batches import TokenRow

    draw = random.Random(1)

    def tokens(n: int) -> tuple[int, ...]:
        return tuple(draw.randrange(1, size.vocabulary) for _ in range(n))

    lengths = [size.tokens - draw.randrange(max(1, size.tokens // 5)) for _ in range(size.rows * 4)]
    return [TokenRow(tokens(max(1, n - answer)), (*tokens(answer - 1), 0)) for n in lengths]


def spec_for(size: Size, **more: Any) -> Any:
    """Returns the settings of LoRA on all linear layers."""
    from rungwise.core.records import AnswerForm, AttemptSpec, Base

    given = {"rank": RANK, "steps": size.steps, "batch_size": size.rows, "learning_rate": 1e-4, "precision": "bf16"}
    return AttemptSpec(Base("random"), "lora", "{x}", AnswerForm("text"), **{**given, **more})


def matrix_rate(device: str, size: Size, shape: dict[str, int]) -> float:
    """Returns bf16 operations per second of this shape's largest matrix product."""
    import torch

    n = size.rows * size.tokens
    x = torch.randn(n, shape["hidden_size"], device=device, dtype=torch.bfloat16)
    w = torch.randn(shape["intermediate_size"], shape["hidden_size"], device=device, dtype=torch.bfloat16)
    best = 0.0
    for _ in range(5):
        _wait(device)
        start = time.perf_counter()
        for _ in range(10):
            x @ w.t()
        _wait(device)
        best = max(best, 20.0 * n * w.numel() / (time.perf_counter() - start))
    return best


def _wait(device: str) -> None:
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _peak_bytes(device: str) -> int:
    import torch

    return int(torch.cuda.max_memory_allocated()) if device.startswith("cuda") else 0


def measured(shape: dict[str, int], size: Size, answer: int) -> dict[str, Any]:
    """Returns tokens per second, share of the matrix rate, peak memory and the planner's estimate of it."""
    import torch

    from rungwise.planning.job import Job
    from rungwise.planning.memory import need_of
    from rungwise.planning.model_config import shape_of
    from rungwise.training.loop import train

    gc.collect()
    lm = made(shape, size)
    if lm.device.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    rows = rows_of(size, answer)
    ends = [time.perf_counter()]

    def note_time(done: int, total: int, what: str) -> None:
        _wait(lm.device)
        ends.append(time.perf_counter())

    trained = train(lm, spec_for(size), rows, progress=note_time)
    seconds, peak = ends[-1] - ends[2], _peak_bytes(lm.device)
    per_second = trained.tokens * (size.steps - 2) / size.steps / seconds
    known = shape_of(lm.model.config.to_dict())
    job = Job("lora", "bf16", {"rank": RANK}, rows=size.rows, tokens=max(r.length for r in rows), answer_tokens=answer,
              device="cuda" if lm.device.startswith("cuda") else "cpu")  # fmt: skip
    estimate = need_of(known, job).total
    linear = sum(
        m.weight.numel() for n, m in lm.model.named_modules() if isinstance(m, torch.nn.Linear) and "lora" not in n
    )
    lora = trained.parameters
    share_answers = answer / size.tokens
    # frozen weights need no gradient of their own; logits are computed at target positions only
    operations = 4.0 * (linear - size.vocabulary * shape["hidden_size"]) + 6.0 * lora
    operations += 4.0 * size.vocabulary * shape["hidden_size"] * share_answers
    return {
        "tokens_per_second": per_second,
        "share_of_matrix_rate": per_second * operations / matrix_rate(lm.device, size, shape),
        "peak_bytes": peak,
        "planned_bytes": estimate,
        "planner_error": estimate / peak - 1 if peak else None,
        "first_loss": trained.losses[0],
        "notes": list(trained.notes),
    }


def checks(size: Size) -> dict[str, str]:
    """Returns check -> `ok`, `not tried: REASON`, or what went wrong."""
    import torch

    from rungwise.training import loop, step
    from rungwise.training.checkpoints import Checkpoints

    lm32 = made(TINY, size, "fp32")
    rows = rows_of(replace(size, tokens=64), 6)
    done: dict[str, str] = {}

    def check(name: str, act: Callable[[], str]) -> None:
        try:
            done[name] = act() or "ok"
        except Exception as error:  # a failed check is a result
            done[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"

    def last_logits() -> str:
        with torch.no_grad():
            last = step.answer_logits(lm32.model, rows[:4], lm32)
            whole = step.answer_logits(lm32.model, rows[:4], lm32, is_whole=True)
        gap = float((last - whole[:, -last.shape[1] :]).abs().max())
        return "" if gap < 1e-3 else f"differ by {gap:.3g}"

    def losses(**more: Any) -> tuple[float, ...]:
        spec = spec_for(replace(size, steps=4), precision="fp32", **more)
        return loop.train(made(TINY, size, "fp32"), spec, rows, progress=lambda *_: None).losses

    def parts() -> str:
        gap = max(abs(a - b) for a, b in zip(losses(), losses(max_tokens_per_microbatch=200), strict=True))
        return "" if gap < 1e-3 else f"losses differ by {gap:.3g}"

    def again() -> str:
        return "" if losses() == losses() else "two runs give different losses"

    def checkpointed() -> str:
        gap = max(abs(a - b) for a, b in zip(losses(), losses(checkpointing=True), strict=True))
        return "" if gap < 1e-3 else f"losses differ by {gap:.3g}"

    def resumed() -> str:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            checkpoints = Checkpoints(Path(folder) / "c", {"a": 1}, 1, lambda _: None)
            spec = spec_for(replace(size, steps=4), precision="fp32", dropout=0.1)
            expected = loop.train(made(TINY, size, "fp32"), spec, rows, progress=lambda *_: None).losses

            def stop(step: int, *_: Any) -> None:
                if step == 3:
                    raise KeyboardInterrupt

            try:
                loop.train(made(TINY, size, "fp32"), spec, rows, progress=stop, checkpoints=checkpoints)
            except KeyboardInterrupt:
                pass
            resumed_losses = loop.train(
                made(TINY, size, "fp32"), spec, rows, progress=lambda *_: None, checkpoints=checkpoints
            ).losses
        return "" if resumed_losses == expected else f"{resumed_losses} instead of {expected}"

    def out_of_memory() -> str:
        if not lm32.device.startswith("cuda"):
            return "not tried: no GPU"
        free, total = torch.cuda.mem_get_info()
        wide = replace(size, tokens=1024, rows=64, steps=2)
        torch.cuda.set_per_process_memory_fraction(min(1.0, (total - free + 2**30) / total))
        try:
            lm = made({**TINY, "hidden_size": 512, "intermediate_size": 2048}, wide)
            notes = loop.train(lm, spec_for(wide), rows_of(wide, 256), progress=lambda *_: None).notes
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        return "" if any("out of memory" in note for note in notes) else "no microbatch was out of memory"

    for name, act in (
        ("the answer's logits are those of the whole row", last_logits),
        ("a step in microbatches has the loss of the whole", parts),
        ("equal seeds give equal losses", again),
        ("checkpointed activations give equal losses", checkpointed),
        ("a resumed run has equal losses", resumed),
        ("out of memory: the microbatches are halved", out_of_memory),
    ):
        check(name, act)
    return done


def figures(detail: dict[str, Any]) -> dict[str, Figure]:
    """Returns the number of failed checks, and speed, memory and the planner's error of each shape."""
    failed = [name for name, outcome in detail["checks"].items() if outcome != "ok" and "not tried" not in outcome]
    made = {"failed checks": at_most(len(failed), 0, f"of {len(detail['checks'])}")}
    for name, one in detail["training"].items():
        made[f"{name}: tokens per second"] = Figure(round(one["tokens_per_second"], 1), unit="tokens/s")
        made[f"{name}: share of the matrix rate"] = Figure(round(one["share_of_matrix_rate"], 4), unit="share")
        if one["peak_bytes"]:
            made[f"{name}: peak memory"] = Figure(round(one["peak_bytes"] / 2**30, 3), unit="GiB")
            error = round(100 * one["planner_error"], 1)
            made[f"{name}: planner's error"] = at_least(error, -10.0, "%")
    return made


def measure(size: Size, shapes: dict[str, dict[str, int]]) -> dict[str, Any]:
    """Returns the checks, and the measurements of each shape with short and long answers; prints both."""
    import torch

    detail: dict[str, Any] = {"torch": torch.__version__, "checks": checks(replace(size, vocabulary=512))}
    for name, outcome in detail["checks"].items():
        print(f"{name:<52}{outcome}", flush=True)
    detail["training"] = {}
    for shape_name, shape in shapes.items():
        for kind, answer in ANSWERS.items():
            one = measured(shape, size, min(answer, size.tokens // 3))
            detail["training"][f"{shape_name} {kind}"] = one
            error = "" if one["planner_error"] is None else f", planner {one['planner_error']:+.1%}"
            print(
                f"{shape_name} {kind:<6}{one['tokens_per_second']:>10,.0f} tokens/s, "
                f"{one['share_of_matrix_rate']:.0%} of the matrix rate, {one['peak_bytes'] / 2**30:.2f} GiB{error}",
                flush=True,
            )
    return detail


def main() -> None:
    """Runs the benchmark."""
    options = parser(__doc__, quick="a small model").parse_args()
    import torch

    has_gpu = torch.cuda.is_available()
    if not has_gpu and not options.quick:
        print("there is no CUDA GPU: nothing was checked, nothing is wrong", file=sys.stderr)
        options.write = False
        publish("gpu", {}, {}, options, machine=machine("no GPU"))
        return
    card = torch.cuda.get_device_name() if has_gpu else "cpu"
    if options.quick:
        detail = measure(Size(tokens=48, rows=4, steps=4, vocabulary=512), {"tiny": TINY})
    else:
        detail = measure(Size(), SHAPES)
    publish("gpu", figures(detail), detail, options, machine=machine(card), suffix=slug(card))


if __name__ == "__main__":
    main()
