"""Kernels that a pass starts on a GPU, counted as operations on a CPU, and the time that they take at least."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from rungwise.core.records import AnswerForm, AttemptSpec
from rungwise.model.adapters import attach
from rungwise.model.kernels.low_rank import fuse
from rungwise.planning.fit import fit
from rungwise.planning.job import Job
from rungwise.planning.machines import machines
from rungwise.planning.model_config import shape_of
from rungwise.planning.operations import LAUNCH_SECONDS, kernels, least_seconds
from rungwise.training.batches import TokenRow
from rungwise.training.step import loss_sum
from tests.model.kernels.test_folded import random_model
from tests.planning.test_families import FAMILIES

FREE = {
    "view", "t", "transpose", "unsqueeze", "expand", "_unsafe_view", "slice", "select", "detach", "permute", "alias",
    "squeeze", "split", "split_with_sizes", "as_strided", "unbind", "_reshape_alias", "lift_fresh", "empty",
    "empty_like", "new_empty", "empty_strided", "new_empty_strided", "_local_scalar_dense",
}  # fmt: skip
"""Operations that start no kernel."""


class Count(TorchDispatchMode):  # type: ignore[misc]  # torch is not followed by mypy
    def __init__(self) -> None:
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.n += op.overloadpacket.__name__ not in FREE
        return op(*args, **(kwargs or {}))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", ["lora", "last-layers", "prompt"])
@pytest.mark.parametrize("kind", ["llama", "gemma3_text", "gpt_neox", "qwen3"])
def test_a_step_runs_about_as_many_kernels_as_estimated(kind, method, monkeypatch):
    monkeypatch.setattr("rungwise.model.kernels.products.has_bf16", lambda: True)  # as on a GPU
    more: dict[str, Any] = {"num_hidden_layers": 6}
    more |= {"layer_types": ["sliding_attention"] * 5 + ["full_attention"]} if kind == "gemma3_text" else {}
    lm = random_model(kind, **more)
    if method != "prompt":
        lm = attach(lm, AttemptSpec(lm.base, method, "{body}", AnswerForm("label", ("a",)), seed=5, rank=2, layers=6))
        fuse(lm.model)
    with (
        Count() as seen,
        torch.set_grad_enabled(method != "prompt"),
        torch.autocast("cpu", torch.bfloat16, enabled=method == "last-layers"),
    ):
        loss = loss_sum(lm.model, [TokenRow(tuple(range(3, 12 + i)), (5, 7, 2)) for i in range(4)], lm)
        if method != "prompt":
            loss.backward()
    shape = shape_of(lm.model.config.to_dict())
    job = Job(method, precision="bf16", settings={"rank": 2, "layers": 6})
    assert kernels(shape, job) == pytest.approx(seen.n, rel=0.3)


def test_a_small_model_on_a_large_card_waits_for_its_kernels():
    shape, card = shape_of(FAMILIES["SmolLM2-135M"][0].to_dict()), machines()["h100-80gb"]
    job = Job("lora", precision="bf16", rows=32, tokens=30, answer_tokens=3, settings={"rank": 16})

    def seconds(job: Job, rows: int = 32, steps: int = 200) -> float:
        return fit("r", "b", shape, job, card, rows=rows, steps=steps).seconds or 0.0

    assert 8 < seconds(job) == least_seconds(shape, job, 200) < 30
    assert seconds(replace(job, rows=1), rows=1) == seconds(job), "rows do not matter to the floor"
    assert seconds(replace(job, rows=16)) == 2 * seconds(job), "each microbatch starts its own kernels"
    assert seconds(replace(job, is_checkpointed=True)) > 1.3 * seconds(job)
    large = replace(job, tokens=2000)
    assert seconds(replace(large, rows=512), rows=512) > 2 * least_seconds(shape, large, 200)
    assert least_seconds(shape, replace(job, device="cpu"), 200) == 0.0
    assert least_seconds(shape, job, 3) == 3 * kernels(shape, job) * LAUNCH_SECONDS
