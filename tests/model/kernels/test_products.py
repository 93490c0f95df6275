"""Products of bf16 matrices on a CPU without bf16 instructions."""

import pytest
import torch
from torch.nn.functional import linear

from rungwise.model.kernels import products
from rungwise.model.kernels.answer_loss import answer_loss
from rungwise.model.kernels.folded import fold_inputs
from rungwise.model.kernels.low_rank import fuse
from rungwise.model.kernels.products import FEWEST, has_bf16, is_slow, times, times_back
from tests.model.kernels.test_low_rank import adapted
from tests.timing import time_ratio


@pytest.fixture(params=[True, False], ids=["one block", "blocks"])
def without_bf16(request, monkeypatch):
    """A processor without bf16 instructions."""
    monkeypatch.setattr(products, "has_bf16", lambda: False)
    monkeypatch.setattr(products, "BLOCK", products.BLOCK if request.param else 1_000)


def near(ours, theirs, tolerance=0.01):
    return torch.allclose(ours.float(), theirs.float(), rtol=0, atol=tolerance * float(theirs.abs().max()))


@pytest.mark.parametrize("has_bias", [True, False])
def test_products_are_those_of_torch(without_bf16, has_bias):
    x, weight = torch.randn(3, FEWEST, 40).bfloat16(), torch.randn(64, 40).bfloat16()
    bias = torch.randn(64).bfloat16() if has_bias else None
    first, wanted = times(x, weight, bias), linear(x, weight, bias)
    assert first.dtype == torch.bfloat16 and first.shape == wanted.shape and near(first, wanted)
    kept = first.clone()
    other = times(x + 1, weight, bias)
    assert torch.equal(first, kept) and not torch.equal(other, first), "a result is not overwritten by the next"
    grad = torch.randn(FEWEST, 64)
    back = times_back(grad, weight)
    assert back.dtype == torch.bfloat16 and near(back, grad @ weight.float())


def test_few_tokens_other_types_and_processors_with_bf16_are_left_to_torch(without_bf16, monkeypatch):
    x = torch.randn(FEWEST, 40).bfloat16()
    assert is_slow(x) and not is_slow(x[1:]) and not is_slow(x.float()) and not is_slow(x.to("meta"))
    monkeypatch.setattr(products, "has_bf16", lambda: True)
    assert not is_slow(x)
    weight = torch.randn(8, 40).bfloat16()
    assert torch.equal(times(x, weight), linear(x, weight))


@pytest.mark.parametrize(
    ("capabilities", "has"),
    [
        ({"architecture": "x86_64", "amx_bf16": False, "avx512_bf16": False}, False),
        ({"architecture": "x86_64", "amx_bf16": True, "avx512_bf16": True}, True),
        ({"architecture": "x86_64", "amx_bf16": False, "avx512_bf16": True}, True),
        ({"architecture": "aarch64"}, True),
        ({}, True),
    ],
)
def test_what_the_processor_has(monkeypatch, capabilities, has):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert has_bf16.__wrapped__() is has


@pytest.mark.parametrize("has_bias", [True, False])
def test_a_layer_with_its_update_and_the_gradients(without_bf16, monkeypatch, has_bias):
    layer = adapted(torch.bfloat16, has_bias)
    fuse(layer)
    x = torch.randn(2, FEWEST, 48).bfloat16()
    results = {}
    for kind in ("fp32", "native", "ours"):
        monkeypatch.setattr(products, "has_bf16", lambda kind=kind: kind != "ours")
        model = layer.float() if kind == "fp32" else layer.bfloat16()
        given = x.clone().to(torch.float32 if kind == "fp32" else torch.bfloat16).requires_grad_()
        model.zero_grad()
        y = model(given)
        y.square().sum().backward()
        weights = [one["default"].weight.grad for one in (model[0].lora_A, model[0].lora_B)]
        results[kind] = [y.detach(), given.grad, *weights]
        with torch.inference_mode():
            assert near(model(given), y, 1e-6), "a model answers as it is trained"
    for exact, native, ours in zip(*results.values(), strict=True):
        assert near(ours, exact, 0.02)
        assert (ours - exact).norm() <= (native - exact).norm() * 1.2, "it is as exact as torch's own product"


def test_frozen_layers_and_the_loss(without_bf16, monkeypatch):
    head = torch.nn.Linear(16, 200, dtype=torch.bfloat16)
    fold_inputs(torch.nn.Sequential(head))
    head.requires_grad_(False)
    hidden = torch.randn(2, FEWEST, 16).bfloat16()
    targets = torch.randint(0, 200, (2, FEWEST))
    results = {}
    for kind in ("native", "ours"):
        monkeypatch.setattr(products, "has_bf16", lambda kind=kind: kind != "ours")
        given = hidden.clone().requires_grad_()
        loss = answer_loss(given, head, targets)
        loss.backward()
        with torch.no_grad():
            results[kind] = [loss.detach(), given.grad, head(hidden)]
    assert all(near(ours, native) for native, ours in zip(*results.values(), strict=True))


@pytest.mark.skipif(has_bf16(), reason="this machine's processor multiplies bf16 numbers itself")
def test_it_takes_less_time():
    x, weight = torch.randn(1_000, 576).bfloat16(), torch.randn(1536, 576).bfloat16()
    with torch.inference_mode():
        assert time_ratio(lambda: times(x, weight), lambda: linear(x, weight), rounds=8) < 0.7
