"""A frozen RMS norm equals that of transformers, in value and gradient, and its backward pass is faster."""

import copy
from functools import partial
from typing import Any

import pytest
import torch

from rungwise.core.records import AnswerForm, AttemptSpec, Base
from rungwise.model.kernels import rms_norm
from rungwise.model.kernels.rms_norm import fuse_norms
from rungwise.model.language_model import encode_answers, encode_prompts, load
from rungwise.training.batches import TokenRow
from rungwise.training.loop import train
from tests.conftest import planted_rows
from tests.model.kernels.counting import counted
from tests.model.kernels.test_folded import OWN, loss_and_gradient, random_model
from tests.timing import time_ratio

WITHOUT = ("gpt_neox", "gpt2", "phi", "cohere")
"""Architectures with norms of other kinds."""


def norms_of(model: Any) -> list[Any]:
    return [module for module in model.modules() if type(module).__name__.endswith("RMSNorm")]


def with_weights(kind: str) -> Any:
    """A model whose norms have weights that differ, since fresh ones are all one or all zero."""
    model = random_model(kind).model
    for norm in norms_of(model):
        norm.weight.copy_(torch.linspace(0.3, 1.7, len(norm.weight)))
    return model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", [kind for kind in OWN if kind not in WITHOUT])
def test_values_and_gradients_are_those_of_transformers(kind, dtype):
    model = with_weights(kind).to(dtype)
    assert fuse_norms(model) == len(norms_of(model)) > 0
    for norm in norms_of(model):
        width = len(norm.weight)
        draw = torch.Generator().manual_seed(3)
        x = torch.randn(5, 2, 7, width, generator=draw).to(dtype).transpose(1, 2).requires_grad_()  # as a head's norm
        upstream = torch.randn(x.shape, generator=draw).to(dtype)
        wanted = type(norm).forward(norm, x)
        exact = x.detach().double().requires_grad_()
        scale = rms_norm._scale(norm).double()
        y = scale * exact * torch.rsqrt(exact.square().mean(-1, keepdim=True) + rms_norm._eps(norm))
        (exact_grad,) = torch.autograd.grad(y, exact, upstream.double())
        (wanted_grad,) = torch.autograd.grad(wanted, x, upstream)
        actual = norm(x)
        (actual_grad,) = torch.autograd.grad(actual, x, upstream)
        tolerance = {torch.float32: 1e-5, torch.bfloat16: 0.01}[dtype]
        assert actual.dtype == wanted.dtype == dtype and torch.allclose(actual, wanted, atol=tolerance, rtol=tolerance)
        error, theirs = (
            float((grad - exact_grad).norm() / exact_grad.norm())
            for grad in (actual_grad.double(), wanted_grad.double())
        )
        assert error < {torch.float32: 1e-6, torch.bfloat16: 0.004}[dtype] and error < 1.1 * theirs + 1e-7


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", OWN)
def test_a_models_loss_and_gradient_are_equal_up_to_rounding(kind):
    lm = random_model(kind)
    wanted, wanted_grad = loss_and_gradient(lm)
    assert (fuse_norms(lm.model) == 0) == (kind in WITHOUT)
    actual, actual_grad = loss_and_gradient(lm)
    assert actual == pytest.approx(wanted, rel=5e-3)
    assert float((actual_grad - wanted_grad).norm() / wanted_grad.norm()) < 0.05


def test_answers_trained_norms_and_norms_that_compute_something_else_are_left_alone(monkeypatch):
    model = random_model("llama").model
    trained, other, frozen = norms_of(model)[:3]
    trained.weight.requires_grad_()

    def doubled(module: Any, x: torch.Tensor) -> torch.Tensor:
        return 2 * x * module.weight

    kind = type("OwnRMSNorm", (type(other),), {"forward": doubled, "__module__": type(other).__module__})
    other.__class__ = kind
    assert fuse_norms(model) == len(norms_of(model)) - 2
    uses, x = counted(monkeypatch, rms_norm._FrozenNorm), torch.ones(2, 32, dtype=torch.bfloat16, requires_grad=True)
    for norm in (trained, other):
        norm(x)
    with torch.no_grad():
        frozen(x)
    assert not uses
    frozen(x)
    assert len(uses) == 1
    frozen.weight.requires_grad_()  # made trainable later
    frozen(x)
    assert len(uses) == 1


def test_training_uses_it_and_learns_the_same(base_folder, monkeypatch):
    def losses() -> tuple[float, ...]:
        lm = load(Base(str(base_folder)), base_folder)
        texts = planted_rows(24)
        prompts = encode_prompts(lm, [f"{text}\nQueue:" for text, _ in texts])
        answers = encode_answers(lm, [label for _, label in texts])
        rows = [TokenRow(tuple(p), tuple(a)) for p, a in zip(prompts, answers, strict=True)]
        form = AnswerForm("label", ("a",))
        spec = AttemptSpec(lm.base, "lora", "{body}", form, rank=2, steps=8, batch_size=8, learning_rate=1e-2, seed=5)
        return train(lm, spec, rows, progress=lambda *_: None).losses

    uses = counted(monkeypatch, rms_norm._FrozenNorm)
    once = losses()
    assert len(uses) >= 8, "at least one for each step"
    monkeypatch.setattr("rungwise.training.loop.fuse_norms", lambda _: 0)
    assert once == pytest.approx(losses(), rel=1e-4)


def test_it_takes_less_time():
    """On an idle machine a third; other load hides some of it."""
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    norm = LlamaRMSNorm(576).to(torch.bfloat16).requires_grad_(False)
    x = torch.randn(32, 32, 576).to(torch.bfloat16).requires_grad_()
    upstream = torch.randn(32, 32, 576).to(torch.bfloat16)

    fused = copy.deepcopy(norm)
    assert fuse_norms(torch.nn.Sequential(fused)) == 1
    ours, theirs = (partial(_gradient, one, x, upstream) for one in (fused, norm))
    assert time_ratio(ours, theirs, rounds=30) < 0.8


def _gradient(norm: torch.nn.Module, x: torch.Tensor, upstream: torch.Tensor) -> None:
    torch.autograd.grad(norm(x), x, upstream)
