import copy
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from rungwise.model.architectures import ARCHITECTURES
from rungwise.model.kernels.last_layer import shorten

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "max_position_embeddings": 64,
    "sliding_window": None,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


MORE: dict[str, dict[str, Any]] = {
    "gpt2": {"n_layer": 2, "n_embd": 8, "n_head": 2},
    "gemma3_text": {"sliding_window": 4, "layer_types": ["full_attention", "sliding_attention", "sliding_attention"]},
    "granite": {"residual_multiplier": 0.3, "logits_scaling": 4.0, "embedding_multiplier": 3.0},
}


def model_of(kind):
    """A model of that architecture with norms that are not the identity."""
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{**SIZES, **MORE.get(kind, {})})).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight += 0.3 * torch.randn(weight.shape)
    return model


def padded(model):
    ids = torch.randint(0, 50, (3, 11), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    return {"input_ids": ids, "attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}


@pytest.mark.parametrize("kind", [kind for kind, known in ARCHITECTURES.items() if known.has_short_last_layer])
def test_the_last_layers_mlp_sees_the_positions_asked_for_and_nothing_else_changes(kind):
    whole = model_of(kind)
    short = copy.deepcopy(whole)
    assert type(short.model.layers[-1]).__name__ == ARCHITECTURES[kind].short_layer.layer and shorten(short)
    seen = []
    short.model.layers[-1].mlp.register_forward_pre_hook(lambda _, x: seen.append(x[0].shape[1]))
    inputs = padded(whole)
    for keep in (1, 4, 11, 0):
        wanted = whole(**inputs, logits_to_keep=keep).logits
        actual = short(**inputs, logits_to_keep=keep).logits
        assert actual.shape == wanted.shape and torch.allclose(actual, wanted, atol=1e-6)
        gradients = [
            torch.autograd.grad(logits.square().sum(), model.model.layers[0].mlp.down_proj.weight)[0]
            for model, logits in ((whole, wanted), (short, actual))
        ]
        assert torch.allclose(*gradients, atol=1e-5, rtol=1e-4)
    assert seen == [1, 4, 11, 11]
    assert short.state_dict().keys() == whole.state_dict().keys()


def test_generation_gives_the_same_tokens():
    whole = model_of("llama")
    short = copy.deepcopy(whole)
    shorten(short)
    inputs = padded(whole)
    settings = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "eos_token_id": 49}
    assert short.generate(**inputs, **settings).tolist() == whole.generate(**inputs, **settings).tolist()
    again = copy.deepcopy(short)  # a copy computes with its own weights
    with torch.no_grad():
        again.model.layers[-1].mlp.up_proj.weight.zero_()
        again.model.layers[0].mlp.up_proj.weight.zero_()
    kept = {"logits_to_keep": 2}
    assert torch.allclose(short(**inputs, **kept).logits, whole(**inputs, **kept).logits, atol=1e-6)
    assert not torch.allclose(again(**inputs, **kept).logits, whole(**inputs, **kept).logits, atol=1e-3)


def test_a_layer_with_activation_checkpointing_computes_all_positions():
    model = model_of("llama")
    shorten(model)
    seen = []
    model.model.layers[-1].mlp.register_forward_pre_hook(lambda _, x: seen.append(x[0].shape[1]))
    model.activation_checkpointing_enable({"use_reentrant": False})
    model.train()
    model(**padded(model), use_cache=False, logits_to_keep=2).logits.sum().backward()
    assert seen == [11, 11]


def test_layers_of_other_architectures_are_not_changed():
    assert not shorten(model_of("gpt2"))


@pytest.mark.filterwarnings("ignore")
def test_a_compiled_model_computes_all_positions():
    model = model_of("llama")
    shorten(model)
    compiled = torch.compile(model, backend="eager", dynamic=True)
    for keep in (1, 3, 4):
        inputs = {**padded(model), "logits_to_keep": keep, "use_cache": False}
        with torch.no_grad():
            assert torch.allclose(compiled(**inputs).logits, model(**inputs).logits, atol=1e-6)
    assert model.model.layers[-1].kept == 0
