"""Attention to a prefix that is kept once equals that to a copied one, and takes less time and memory."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from rungwise.model import answers
from rungwise.model.answers import score_labels
from rungwise.model.architectures import ARCHITECTURES
from rungwise.model.kernels import prefix_attention
from rungwise.model.kernels.prefix_attention import PrefixLayer, attend, can_keep_once, ensure_attention
from rungwise.model.kernels.shared_prefix import copied, read_prefix
from tests.model.kernels.counting import counted
from tests.model.kernels.test_folded import random_model
from tests.timing import time_ratio


def tensors(tokens=5, keys=7, groups=2, dtype=torch.float32):
    draw = torch.Generator().manual_seed(1)

    def one(*shape):
        return torch.randn(*shape, generator=draw).to(dtype)

    query, key, value = one(3, tokens, 6, 8).transpose(1, 2), one(3, groups, keys, 8), one(3, groups, keys, 8)
    return query, key, value, (one(1, groups, 40, 8), one(1, groups, 40, 8))


def whole(query, key, value, prefix, mask):
    """The same with the prefix copied to each row."""
    together = query.shape[1] // key.shape[1]
    key, value = (
        torch.cat([one.expand(len(own), -1, -1, -1), own], 2).repeat_interleave(together, 1)
        for one, own in zip(prefix, (key, value), strict=True)
    )
    return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=0.3)


@pytest.mark.parametrize("kind", ["padded", "added", "causal", "one token"])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_values_are_those_of_a_copied_prefix(kind, groups):
    tokens = 1 if kind == "one token" else 5
    query, key, value, prefix = tensors(tokens, groups=groups)
    mask = torch.ones(tokens, 47, dtype=torch.bool).tril(47 - tokens)[None, None].repeat(3, 1, 1, 1)
    if kind == "padded":
        mask[0, :, :, 40:44] = False  # its first two queries see nothing of their own row
    wanted = whole(query, key, value, prefix, mask)
    given = {"causal": None, "one token": None, "padded": mask}.get(kind)
    if kind == "added":
        given = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
    actual = attend(query, key, value, prefix, given, 0.3)
    assert actual.shape == wanted.shape and torch.isfinite(actual).all()
    if kind == "padded":
        actual, wanted = actual[:, :, 2:], wanted[:, :, 2:]  # nothing reads what a padding token computes
    assert torch.allclose(actual, wanted, atol=1e-5)


def test_in_bf16_it_is_as_exact_as_a_copied_prefix():
    query, key, value, prefix = tensors(dtype=torch.bfloat16)
    mask = torch.ones(5, 47, dtype=torch.bool).tril(42)[None, None]
    exact = whole(query.double(), key.double(), value.double(), [x.double() for x in prefix], mask)
    theirs = (whole(query, key, value, prefix, mask) - exact).abs().max()
    assert (attend(query, key, value, prefix, mask, 0.3) - exact).abs().max() < 2 * theirs + 0.01


def test_a_layer_counts_and_selects_rows_and_keeps_the_prefix():
    _, key, value, prefix = tensors()
    layer = PrefixLayer(*prefix)
    assert layer.get_seq_length() == 40 and layer.get_mask_sizes(5) == (45, 0)
    layer.batch_select_indices(torch.tensor([0]))  # before it has rows
    keys, _ = layer.update(key, value)
    assert keys.shared_prefix is layer.prefix and keys.shape == key.shape and layer.get_seq_length() == 47
    layer.batch_select_indices(torch.tensor([2, 0]))
    assert torch.equal(layer.keys, key[[2, 0]]) and layer.prefix[0] is prefix[0] and layer.get_seq_length() == 47


def prompts_of(n_rows: int, shared: int) -> list[Sequence[int]]:
    return [[3 + i % 90 for i in range(shared)] + [100 + row, *range(5, 5 + row % 4), 9] for row in range(n_rows)]


SHARING = [kind for kind, known in ARCHITECTURES.items() if known.can_share_prefix]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "gpt_neox", "phi", "olmo2", "granite"])
def test_labels_and_texts_are_those_of_a_copied_prefix(kind, monkeypatch):
    assert kind in SHARING
    lm = random_model(kind)
    lm.model.float()
    prompts, labels = prompts_of(9, 64), [[5], [6, 7], [6, 8, 9]]
    uses = counted(monkeypatch, prefix_attention, "attend")
    scores, texts = score_labels(lm, prompts, labels), write_ids(lm, prompts)
    assert uses
    del uses[:]
    monkeypatch.setattr(prefix_attention, "can_keep_once", lambda *_: False)
    assert torch.allclose(scores, score_labels(lm, prompts, labels), atol=1e-4) and texts == write_ids(lm, prompts)
    assert not uses


def write_ids(lm: Any, prompts: list[Sequence[int]]) -> list[list[int]]:
    """The tokens of written answers, without a tokenizer."""
    with torch.inference_mode():
        prefix = read_prefix(lm.model, list(prompts[0][:64]), "cpu")
        return [ids for ids, _, _ in answers._write_batch(lm, prompts, 6, prefix, None)]


def test_it_is_left_out_where_gradients_are_computed_and_where_the_attention_is_another(monkeypatch):
    model = random_model("llama").model
    with torch.no_grad():
        assert can_keep_once(model, "cpu") and not can_keep_once(model, "cuda:0")
        assert not can_keep_once(torch.nn.Sequential(model), "cpu"), "a wrapper without a config"
        model.config._attn_implementation = "eager"
        assert not can_keep_once(model, "cpu")
        model.config._attn_implementation = "sdpa"
        monkeypatch.setattr(prefix_attention, "_flash", None)  # a torch without this operation
        assert not can_keep_once(model, "cpu")
    monkeypatch.undo()
    assert not can_keep_once(model, "cpu")


def test_what_an_attention_does_in_addition_is_done_with_a_copied_prefix(monkeypatch):
    ensure_attention()
    ensure_attention()  # once is enough
    query, key, value, prefix = tensors()
    key.shared_prefix = prefix
    module: Any = torch.nn.Identity()
    module.num_key_value_groups = 3
    mask = torch.ones(5, 47, dtype=torch.bool).tril(42)[None, None].expand(3, -1, -1, -1)
    monkeypatch.setattr(prefix_attention, "attend", None)
    out, _ = ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, key, value, mask, scaling=0.3, s_aux=torch.zeros(1))
    assert torch.allclose(out.transpose(1, 2), whole(query, key, value, prefix, mask), atol=1e-5)


def test_a_copy_of_the_cache_is_extended_alone():
    lm = random_model("llama")
    with torch.inference_mode():
        prefix = read_prefix(lm.model, list(range(3, 43)), "cpu")
        assert prefix.is_kept_once and prefix.copied_tokens == 0
        cache = prefix.of(2)
        own = copied(cache)
        ids = torch.tensor([[5], [6]])
        lm.model(input_ids=ids, past_key_values=own, attention_mask=torch.ones(2, 41, dtype=torch.long))
    assert own.get_seq_length() == 41 and cache.get_seq_length() == 40


def test_it_takes_less_time():
    """On an idle machine a fourth; other load hides some of it."""
    lm = random_model("llama", hidden_size=128, num_attention_heads=8, head_dim=16, max_position_embeddings=2048)
    prompts, labels = prompts_of(32, 1000), [[5, 6], [6, 7], [6, 8]]

    def ours() -> None:
        score_labels(lm, prompts, labels, negligible=0.0)

    def theirs() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(prefix_attention, "can_keep_once", lambda *_: False)
            ours()

    assert time_ratio(ours, theirs, rounds=3) < 0.8
