"""Training on a CUDA GPU: checks of the engine, then speed and memory at real shapes, compared with TRL's SFTTrainer.

`python -m benchmarks.gpu [--quick] [--write]` (`make gpu-check`). It requires only torch, transformers, peft,
accelerate, pandas and pydantic; without TRL the comparisons are left out. Random weights of two Qwen-like shapes (0.5
and 1.5 billion parameters) in bf16, LoRA on all linear layers, short and long answers. Speed is tokens per step,
without padding, over the median time of a step after the first ones. TRL trains the same model from the same adapter
on the same rows, plain and packed, with the attention that transformers chooses (sdpa). Without a GPU it says so and
succeeds. `--quick` runs the same with a small model, on any machine. The recorded result carries the name of the card.
"""

import gc
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from statistics import median
from typing import Any, Final

from benchmarks import peer
from benchmarks.engine import AGAIN, RESUMED, Checks, first_line, outcomes
from benchmarks.random_base import RANK, SHAPES, Size, config_of, made, rows_of, spec_for, trained_by_trl
from benchmarks.report import Figure, at_least, at_most, machine, parser, publish, slug

WARM_UP: Final = 4
"""Steps that are not timed."""
SECONDS: Final = 220
"""No run of TRL starts later than this after the first run of ours."""


@dataclass(frozen=True)
class Case:
    """One shape, and how it is trained."""

    shape: str
    answer: int
    """Tokens of an answer."""
    size: Size = Size()
    is_checkpointed: bool = False
    peers: tuple[str, ...] = ("trl plain", "trl packed")


SHORT, LONG = 8, 256
CASES: Final = {
    "1.5B long": Case("1.5B", LONG),
    "0.5B long": Case("0.5B", LONG),
    "1.5B short": Case("1.5B", SHORT),
    "0.5B short": Case("0.5B", SHORT),
    "1.5B long checkpointed": Case("1.5B", LONG, is_checkpointed=True, peers=("trl plain",)),
    "0.5B long rows": Case("0.5B", LONG, Size(tokens=2048, rows=8), peers=("trl plain",)),
}
"""The most important first."""
SMALL: Final = Size(tokens=48, rows=4, steps=6, vocabulary=512)
QUICK: Final = {
    "tiny long": Case("tiny", 16, SMALL),
    "tiny short": Case("tiny", SHORT, SMALL),
    "tiny checkpointed": Case("tiny", SHORT, SMALL, is_checkpointed=True, peers=("trl plain",)),
}


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
        for _ in range(20):
            x @ w.t()
        _wait(device)
        best = max(best, 40.0 * n * w.numel() / (time.perf_counter() - start))
    return best


def _wait(device: str) -> None:
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _clear() -> None:
    """Frees what the last run left, so that each run's peak is its own."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _measured(ends: list[float], tokens: int, losses: list[float]) -> dict[str, Any]:
    """Returns speed, peak memory and losses of a run from the times at which it started and its steps ended."""
    import torch

    steps = [after - before for before, after in zip(ends, ends[1:], strict=False)]
    step = median(steps[WARM_UP:])
    return {
        "tokens_per_second": tokens / len(steps) / step,
        "median_step_seconds": step,
        "step_seconds": [round(one, 5) for one in steps],
        "peak_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0,
        "losses": losses,
    }


def planned_bytes(case: Case, device: str = "cuda") -> int:
    """Returns the planner's estimate of what torch allocates at its peak, without what the process takes before."""
    from rungwise.planning.job import Job
    from rungwise.planning.memory import need_of
    from rungwise.planning.model_config import shape_of

    tokens = max(row.length for row in rows_of(case.size, case.answer))
    job = Job("lora", "bf16", {"rank": RANK}, rows=case.size.rows, tokens=tokens, answer_tokens=case.answer,
              is_checkpointed=case.is_checkpointed, device=device)  # fmt: skip
    need = need_of(shape_of(config_of(SHAPES[case.shape], case.size).to_dict()), job)
    return need.total - need.framework


def run_ours(case: Case) -> dict[str, Any]:
    """Returns speed, share of the matrix rate, peak memory and the planner's estimate of it."""
    from rungwise.training.loop import train

    size, shape, rows = case.size, SHAPES[case.shape], rows_of(case.size, case.answer)
    lm = made(shape, size)
    _clear()  # the model was made in fp32
    ends = [time.perf_counter()]

    def note_time(*_: Any) -> None:
        _wait(lm.device)
        ends.append(time.perf_counter())

    trained = train(lm, spec_for(size, checkpointing=case.is_checkpointed), rows, progress=note_time)
    one = _measured(ends, trained.tokens, list(trained.losses))
    estimate = planned_bytes(case, "cuda" if lm.device.startswith("cuda") else "cpu")
    rate = matrix_rate(lm.device, size, shape)
    share = one["tokens_per_second"] * _operations(case, lm.model, trained) / rate
    return one | {
        "share_of_matrix_rate": share,
        "matrix_rate": rate,
        "planned_bytes": estimate,
        "planner_error": estimate / one["peak_bytes"] - 1 if one["peak_bytes"] else None,
        "notes": list(trained.notes),
    }


def _operations(case: Case, model: Any, trained: Any) -> float:
    """Returns the least number of operations per token.

    Frozen weights need no gradient of their own, and logits are computed at target positions only. Attention multiplies
    each token with those before it, twice forward and four times backward. What a checkpointed layer computes again is
    not counted.
    """
    import torch

    shape, head = SHAPES[case.shape], case.size.vocabulary * SHAPES[case.shape]["hidden_size"]
    linear = sum(
        m.weight.numel() for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and "lora" not in n
    )
    mean = trained.tokens / (case.size.steps * case.size.rows)
    attention = 6.0 * shape["num_hidden_layers"] * shape["hidden_size"] * mean
    logits = 4.0 * head * case.answer / mean
    return float(4.0 * (linear - head) + 6.0 * trained.parameters + attention + logits)


def run_trl(case: Case, *, is_packed: bool) -> dict[str, Any]:
    """Returns speed and peak memory of TRL."""
    spec = spec_for(case.size, checkpointing=case.is_checkpointed)
    rows = rows_of(case.size, case.answer)
    theirs = trained_by_trl(SHAPES[case.shape], case.size, rows, spec, is_packed=is_packed, prepared=_clear)
    return _measured(theirs["ends"], theirs["tokens"], theirs["losses"])


def attempted(name: str, act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Returns a run's measurements, or `failed` with the reason; prints one line."""
    start = time.perf_counter()
    try:
        one = act()
    except Exception as error:  # a failed run is a result
        traceback.print_exc()
        one = {"failed": first_line(error)}
    _clear()
    seconds = f"   ({time.perf_counter() - start:.0f} s)"
    if "failed" in one:
        print(f"{name:<36}{one['failed']}{seconds}", flush=True)
        return one
    more = ""
    if "share_of_matrix_rate" in one:
        more = f", {one['share_of_matrix_rate']:.0%} of the matrix rate"
        more += "" if one["planner_error"] is None else f", planner {one['planner_error']:+.1%}"
    print(
        f"{name:<36}{one['tokens_per_second']:>10,.0f} tokens/s, {one['peak_bytes'] / 2**30:6.2f} GiB, "
        f"loss {one['losses'][0]:.3f} to {one['losses'][-1]:.3f}{more}{seconds}",
        flush=True,
    )
    return one


def measure_ours(cases: dict[str, Case]) -> dict[str, dict[str, Any]]:
    """Returns case -> run -> measurements. The first case is repeated, which gives the noise of all others."""
    runs = {name: {"rungwise": attempted(f"{name}: rungwise", partial(run_ours, case))} for name, case in cases.items()}
    name, case = next(iter(cases.items()))
    runs[name]["rungwise again"] = attempted(f"{name}: again", partial(run_ours, case))
    return runs


def measure_trl(cases: dict[str, Case], until: float) -> dict[str, dict[str, Any]]:
    """Returns case -> run -> measurements of TRL. No run starts after `until`."""
    runs: dict[str, dict[str, Any]] = {name: {} for name in cases}
    for name, case in cases.items():
        for kind in case.peers:
            if time.perf_counter() > until:
                print(f"{name}: {kind} is left out: no time", flush=True)
                continue
            act = partial(run_trl, case, is_packed=kind == "trl packed")
            runs[name][kind] = attempted(f"{name}: {kind}", act)
    return runs


def figures(detail: dict[str, Any]) -> dict[str, Figure]:
    """Returns the number of failed checks and runs, and speed, memory and the planner's error of each case."""
    checks, training = detail["checks"], detail["training"]
    failed = [one for one in checks.values() if one["met"] is False]
    failed += [runs for runs in training.values() if "failed" in runs["rungwise"]]
    result = {"failed checks": at_most(len(failed), 0, f"of {len(checks) + len(training)}")}
    for name in (AGAIN, RESUMED):
        if name in checks and checks[name]["gap"] is not None:
            result[f"{name}: largest difference"] = at_most(checks[name]["gap"], 0.0, "nats")
    for name, runs in training.items():
        own = runs["rungwise"]
        if "failed" in own:
            continue
        result[f"{name}: tokens per second"] = Figure(round(own["tokens_per_second"], 1), unit="tokens/s")
        result[f"{name}: share of the matrix rate"] = Figure(round(own["share_of_matrix_rate"], 4), unit="share")
        again = runs.get("rungwise again", {})
        if "tokens_per_second" in again:
            noise = abs(again["tokens_per_second"] / own["tokens_per_second"] - 1)
            result[f"{name}: difference of two equal runs' speed"] = Figure(round(noise, 4), unit="share")
            gap = max(abs(a - b) for a, b in zip(own["losses"], again["losses"], strict=True))
            result[f"{name}: difference of two equal runs' losses"] = Figure(gap, unit="nats")
        if own["peak_bytes"]:
            result[f"{name}: peak memory"] = Figure(round(own["peak_bytes"] / 2**30, 3), unit="GiB")
            result[f"{name}: planner's error"] = at_least(round(100 * own["planner_error"], 1), -10.0, "%")
        result |= _compared(name, own, {run: one for run, one in runs.items() if "trl" in run and "failed" not in one})
    return result


def _compared(name: str, own: dict[str, Any], peers: dict[str, dict[str, Any]]) -> dict[str, Figure]:
    """Returns speed and memory relative to TRL's; memory relative to the run of the same, plain, rows."""
    if not peers:
        return {}
    best = max(peers, key=lambda run: float(peers[run]["tokens_per_second"]))
    speed = own["tokens_per_second"] / peers[best]["tokens_per_second"]
    result = {f"{name}: times as fast": at_least(round(speed, 4), 1.0, "ratio", f"TRL: {best}")}
    plain = peers.get("trl plain")
    if plain and plain["peak_bytes"]:
        share = own["peak_bytes"] / plain["peak_bytes"]
        result[f"{name}: share of memory"] = at_most(round(share, 4), 1.0, "ratio", "TRL: trl plain")
    return result


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
    names = ("torch", "transformers", "peft", "accelerate", *(() if peer.missing() else ("trl",)))
    detail: dict[str, Any] = {"versions": {name: version(name) for name in names}}
    print(", ".join(f"{name} {one}" for name, one in detail["versions"].items()), file=sys.stderr, flush=True)
    checks = Checks(replace(Size(), vocabulary=512) if has_gpu else SMALL)
    cases = QUICK if options.quick else CASES
    tried = outcomes(checks.own)
    until = time.perf_counter() + SECONDS
    detail["training"] = measure_ours(cases)
    # TRL comes last, as it changes settings of its process
    if why := peer.missing():
        print(f"no comparison with TRL: {why}", file=sys.stderr, flush=True)
    else:
        tried |= outcomes(checks.with_trl)
        for name, runs in measure_trl(cases, until).items():
            detail["training"][name] |= runs
    detail["checks"] = {name: asdict(outcome) for name, outcome in tried.items()}
    publish("gpu", figures(detail), detail, options, machine=machine(card), suffix=slug(card))


if __name__ == "__main__":
    main()
