"""Attention in training equals torch's, in value and gradient, and no token sees nothing."""

from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from rungwise.core.records import AnswerForm, AttemptSpec, Base
from rungwise.model.kernels import training_attention as short
from rungwise.model.kernels.training_attention import seeing_itself, training_attention
from rungwise.model.language_model import encode_answers, encode_prompts, load
from rungwise.training.batches import TokenRow
from rungwise.training.loop import train
from tests.conftest import planted_rows
from tests.model.kernels.counting import counted
from tests.model.kernels.test_folded import OWN, loss_and_gradient, random_model
from tests.timing import time_ratio


def tensors(rows=3, heads=6, groups=2, tokens=7, keys=7, size=8):
    draw = torch.Generator().manual_seed(1)

    def one(n, length):
        made = torch.randn(rows, length, n, size, generator=draw).transpose(1, 2).to(torch.bfloat16)
        return made.detach().requires_grad_()

    return one(heads, tokens), one(groups, keys), one(groups, keys)


def padded_mask(rows=3, tokens=7, keys=7):
    mask = torch.ones(tokens, keys, dtype=torch.bool).tril(keys - tokens)[None, None].repeat(rows, 1, 1, 1)
    mask[0, :, :, :3] = False  # its first three tokens see nothing
    return mask


@pytest.mark.parametrize("kind", ["padded", "prefix", "none", "added"])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_values_and_gradients_are_those_of_torch_in_fp32(kind, groups, monkeypatch):
    keys = 11 if kind == "prefix" else 7
    inputs = tensors(groups=groups, keys=keys)
    mask = None if kind == "none" else padded_mask(keys=keys)
    if kind == "added":
        mask = torch.zeros(mask.shape).masked_fill(~mask, -1e9)
    exact = [x.detach().float().requires_grad_() for x in inputs]
    key, value = (x.repeat_interleave(6 // groups, 1) for x in exact[1:])
    wanted = scaled_dot_product_attention(exact[0], key, value, attn_mask=mask, is_causal=mask is None, scale=0.3)
    uses = counted(monkeypatch, short._Attention)
    with training_attention():
        actual, _ = ALL_ATTENTION_FUNCTIONS["sdpa"](torch.nn.Identity(), *inputs, mask, scaling=0.3)
    actual = actual.transpose(1, 2)
    weights = torch.randn(actual.shape, generator=torch.Generator().manual_seed(2))
    weights[0, :, :3] = 0.0  # nothing reads what a padding token computes
    assert uses and actual.dtype == torch.bfloat16
    assert torch.allclose((actual * weights).float(), wanted * weights, atol=0.05)
    for one, other in zip(
        torch.autograd.grad((actual.float() * weights).sum(), inputs),
        torch.autograd.grad((wanted * weights).sum(), exact),
        strict=True,
    ):
        assert torch.isfinite(one).all() and torch.allclose(one.float(), other, atol=0.06, rtol=0.05)


@pytest.mark.parametrize(
    ("change", "is_short"),
    [
        ({}, True),
        ({"keys": 16}, True),
        ({"keys": 17}, False),
        ({"dtype": torch.float32}, False),
        ({"dropout": 0.1}, False),
        ({"softcap": 3.0}, False),
        ({"position_bias": torch.zeros(1)}, False),
        ({"no_grad": True}, False),
    ],
)
def test_everything_else_is_left_to_torch(change, is_short):
    query, key, _ = (x.to(change.get("dtype", torch.bfloat16)) for x in tensors(keys=change.get("keys", 7)))
    settings = {name: value for name, value in change.items() if name in ("dropout", "softcap", "position_bias")}
    with torch.set_grad_enabled("no_grad" not in change):
        assert short._is_short(query, key, settings) == is_short
    assert short._mask(query, key[:, :, :5], None) is None, "a mask that transformers left out for another reason"


@pytest.mark.parametrize("keys", [7, 11])
def test_every_token_sees_itself_and_no_other_token_is_added(keys):
    query, key, _ = tensors(keys=keys)
    mask = padded_mask(keys=keys)
    seeing = seeing_itself(mask, query, key)
    assert seeing is seeing_itself(mask, query, key), "computed once for all layers"
    assert seeing.any(-1).all() and mask[0].any(-1).all() == (keys == 11)
    added = (seeing & ~mask).nonzero()
    assert all(int(column) == int(row) + keys - 7 for _, _, row, column in added)
    for other in (None, torch.zeros(3, 1, 7, keys), mask[..., :5]):
        assert seeing_itself(other, query, key) is other


@pytest.mark.parametrize("method", ["lora", "prefix-tuning", "full"])
def test_no_token_of_a_padded_batch_sees_nothing_while_a_model_is_trained(base_folder, monkeypatch, method):
    """A GPU makes the gradient of a block of such tokens NaN."""
    blind = []

    def attended(query, key, value, attn_mask=None, **settings):
        if torch.is_grad_enabled() and query.requires_grad:
            blind.append(attn_mask is not None and not bool(attn_mask.any(-1).all()))
        return scaled_dot_product_attention(query, key, value, attn_mask=attn_mask, **settings)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attended)
    lm = load(Base(str(base_folder)), base_folder)
    rows = [TokenRow(tuple(range(3, 6 + 20 * (i % 4))), (5, 7, 2)) for i in range(8)]
    more: dict[str, Any] = {"lora": {"rank": 2}, "prefix-tuning": {"tokens": 3}, "full": {}}[method]
    spec = AttemptSpec(lm.base, method, "{body}", AnswerForm("label", ("a",)), steps=2, batch_size=8,
                       learning_rate=1e-3, **more)  # fmt: skip
    train(lm, spec, rows, progress=lambda *_: None)
    assert len(blind) >= 2 and not any(blind)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", OWN)
def test_a_models_loss_and_gradient_are_equal_up_to_rounding(kind):
    lm = random_model(kind)
    before = ALL_ATTENTION_FUNCTIONS["sdpa"]
    wanted, wanted_grad = loss_and_gradient(lm)
    with training_attention():
        assert ALL_ATTENTION_FUNCTIONS["sdpa"] is not before
        actual, actual_grad = loss_and_gradient(lm)
    assert ALL_ATTENTION_FUNCTIONS["sdpa"] is before
    assert actual == pytest.approx(wanted, rel=5e-3)
    assert float((actual_grad - wanted_grad).norm() / wanted_grad.norm()) < 0.05


def test_training_in_bf16_uses_it_and_learns_the_same(base_folder, monkeypatch):
    def losses() -> tuple[float, ...]:
        lm = load(Base(str(base_folder)), base_folder, precision="bf16")
        texts = planted_rows(24)
        prompts = encode_prompts(lm, [f"{text}\nQueue:" for text, _ in texts])
        answers = encode_answers(lm, [label for _, label in texts])
        rows = [TokenRow(tuple(p), tuple(a)) for p, a in zip(prompts, answers, strict=True)]
        form = AnswerForm("label", ("a",))
        spec = AttemptSpec(lm.base, "lora", "{body}", form, rank=2, steps=8, batch_size=8, learning_rate=1e-2, seed=5,
                           precision="bf16")  # fmt: skip
        return train(lm, spec, rows, progress=lambda *_: None).losses

    uses = counted(monkeypatch, short._Attention)
    monkeypatch.setattr(short, "_is_short", lambda q, *_: torch.is_grad_enabled())
    once = losses()
    assert len(uses) == 2 * 8, "one for each layer and step"
    monkeypatch.setattr(short, "_is_short", lambda *_: False)
    assert once == pytest.approx(losses(), rel=0.02) and once[-1] < once[0] and len(uses) == 16


def test_it_takes_less_time():
    """On an idle machine a fifteenth; other load hides most of it."""
    inputs = tensors(rows=16, heads=9, groups=3, tokens=20, keys=20, size=64)
    mask = padded_mask(16, 20, 20)
    module: Any = torch.nn.Identity()
    module.num_key_value_groups = 3

    def theirs() -> None:
        out, _ = ALL_ATTENTION_FUNCTIONS["sdpa"](module, *inputs, mask, scaling=0.125)
        out.backward(torch.ones_like(out))

    def ours() -> None:
        with training_attention():
            theirs()

    assert time_ratio(ours, theirs, rounds=20) < 0.8
