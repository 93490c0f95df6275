import copy
from typing import Any

import pytest
import torch

from rungwise.model.answers import _log_total
from rungwise.model.kernels.low_rank import fuse, fuse_for_answers
from tests.timing import time_ratio


def adapted(dtype: torch.dtype, bias: bool = False, shape: tuple[int, int] = (48, 64), **settings: Any) -> Any:
    """A model of one linear layer with PEFT's update, which is not zero."""
    from peft import LoraConfig, inject_adapter_in_model

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(*shape, bias=bias, dtype=dtype))
    given = {"r": 4, "lora_alpha": 8, "target_modules": ["0"], **settings}
    made: Any = inject_adapter_in_model(LoraConfig(**given), model)
    for weights in (made[0].lora_A, made[0].lora_B):
        torch.nn.init.normal_(weights["default"].float().weight)  # fp32, as PEFT loads an adapter
    return made


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_answers_are_those_of_peft_and_of_training(dtype, bias):
    theirs = adapted(dtype, bias)
    ours, training = copy.deepcopy(theirs), copy.deepcopy(theirs)
    assert fuse_for_answers(ours) == fuse(training) == 1
    assert {weight.dtype for weight in ours.parameters()} == {dtype}
    x = torch.randn(3, 5, 48).to(dtype)
    with torch.no_grad():
        wanted = theirs(x)
        tolerance = {torch.float32: 1e-6, torch.bfloat16: 0.01}[dtype] * float(wanted.abs().max())
        assert ours(x).dtype == wanted.dtype and torch.allclose(ours(x), wanted, rtol=0, atol=tolerance)
        assert torch.equal(ours(x), training(x)), "a model answers as it is scored while it is trained"
        assert torch.allclose(ours(x[:, -1:]), ours(x)[:, -1:], rtol=0, atol=tolerance)
    assert torch.allclose(training(x), wanted, rtol=0, atol=tolerance)


@pytest.mark.filterwarnings("ignore")
def test_an_update_that_is_off_or_part_of_the_weight_is_not_added():
    theirs = adapted(torch.float32)
    ours = copy.deepcopy(theirs)
    fuse_for_answers(ours)
    x = torch.randn(2, 48)
    with torch.no_grad():
        on = ours(x)
        ours[0].enable_adapters(False)
        assert torch.allclose(ours(x), theirs[0].base_layer(x)) and not torch.allclose(ours(x), on)
        ours[0].enable_adapters(True)
        ours[0].merge()
        assert torch.allclose(ours(x), on, atol=1e-5)


def test_other_layers_are_left_as_they_are():
    for settings in ({"lora_dropout": 0.1}, {"use_dora": True}):
        assert fuse(adapted(torch.float32, **settings)) == 0
    assert fuse(torch.nn.Sequential(torch.nn.Linear(4, 4))) == 0


def test_reading_a_prompt_takes_less_time():
    """On an idle machine a fourth to a half; other load hides some of it."""
    theirs = adapted(torch.bfloat16, shape=(576, 1536), r=16)
    ours = copy.deepcopy(theirs)
    fuse_for_answers(ours)
    x = torch.randn(64, 77, 576).bfloat16()
    with torch.inference_mode():
        assert time_ratio(lambda: ours(x), lambda: theirs(x), rounds=20) < 0.85


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_logarithm_of_the_summed_exponentials(dtype):
    logits = (torch.randn(9, 70_000) * 20).to(dtype)
    total = _log_total(logits, logits.max(-1).values)
    assert torch.allclose(total, torch.logsumexp(logits.float(), 1), rtol=1e-6)
    logits[2, 5], logits[3, 6], logits[4, 7] = float("nan"), float("inf"), -float("inf")
    assert _log_total(logits, logits.max(-1).values).isnan().tolist() == [i in (2, 3) for i in range(9)]
