import json

import pytest
import torch
import transformers

from rungwise.core.errors import ModelError
from rungwise.model.kernels.shared_prefix import can_share
from rungwise.planning.microbatch import can_share_prefix
from rungwise.planning.model_config import shape_of

SMALL = {
    "hidden_size": 48,
    "intermediate_size": 112,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 300,
    "max_position_embeddings": 128,
}
CONFIGS = {
    "llama": transformers.LlamaConfig(**SMALL),
    "llama, tied, biases": transformers.LlamaConfig(
        **SMALL, tie_word_embeddings=True, attention_bias=True, mlp_bias=True, head_dim=16
    ),
    "mistral": transformers.MistralConfig(**SMALL, head_dim=20),
    "qwen2": transformers.Qwen2Config(**SMALL, tie_word_embeddings=True),
    "qwen3": transformers.Qwen3Config(**SMALL, head_dim=24),
    "gpt2": transformers.GPT2Config(n_embd=48, n_layer=3, n_head=4, vocab_size=300, n_positions=64),
    "gpt2, own inner": transformers.GPT2Config(n_embd=48, n_layer=2, n_head=4, vocab_size=300, n_inner=100),
    "gpt_neox": transformers.GPTNeoXConfig(
        hidden_size=48, intermediate_size=192, num_hidden_layers=3, num_attention_heads=4, vocab_size=300
    ),
}


def saved(config, folder):
    config.save_pretrained(folder)
    return json.loads((folder / "config.json").read_text())


def empty(config):
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_are_those_that_transformers_counts(name, tmp_path):
    shape = shape_of(saved(CONFIGS[name], tmp_path))
    assert shape.parameters == sum(p.numel() for p in empty(CONFIGS[name]).parameters())


@pytest.mark.parametrize("kind", [transformers.LlamaConfig, transformers.Qwen2Config, transformers.Qwen3Config,
                                  transformers.MistralConfig, transformers.GPT2Config, transformers.GPTNeoXConfig])  # fmt: skip
def test_the_classes_own_defaults_are_read_as_transformers_reads_them(kind, tmp_path):
    config = kind(num_hidden_layers=2, vocab_size=1000) if kind is not transformers.GPT2Config else kind(n_layer=2)
    assert shape_of(saved(config, tmp_path)).parameters == sum(p.numel() for p in empty(config).parameters())


@pytest.mark.parametrize("kind", [transformers.MistralConfig, transformers.Qwen2Config, transformers.LlamaConfig])
@pytest.mark.parametrize("more", [{}, {"sliding_window": None}, {"use_sliding_window": True, "max_window_layers": 1}])
def test_a_window_of_attention_is_read_as_transformers_makes_its_cache(kind, more, tmp_path):
    config = kind(**SMALL, **more)
    layers = transformers.DynamicCache(config=config).layers
    is_windowed = any(type(layer).__name__ != "DynamicLayer" for layer in layers)
    values = saved(config, tmp_path)
    assert shape_of(values).is_windowed == is_windowed
    values.pop("layer_types", None)  # as older files have it
    assert shape_of(values).is_windowed == is_windowed


@pytest.mark.parametrize("value", [None, "many", True, -1, 0, 2.5])
def test_a_missing_number_is_named(value):
    with pytest.raises(ModelError, match="here/config.json: vocab_size"):
        shape_of({**CONFIGS["llama"].to_dict(), "vocab_size": value}, "here/config.json")


@pytest.mark.parametrize("value", ["x", True, -0.1, 1, float("nan")])
def test_a_dropout_that_is_not_a_share_is_named(value):
    with pytest.raises(ModelError, match="here/config.json: attention_dropout"):
        shape_of({**CONFIGS["llama"].to_dict(), "attention_dropout": value}, "here/config.json")


@pytest.mark.parametrize("rope_type", ["default", "linear", "yarn", "dynamic", "longrope"])
def test_rotary_angles_that_depend_on_a_batch_are_read_as_the_model_decides_what_to_share(rope_type, tmp_path):
    scaling = {"rope_type": rope_type, "rope_theta": 10_000.0, "factor": 2.0}
    scaling |= {"short_factor": [1.0] * 6, "long_factor": [2.0] * 6} if rope_type == "longrope" else {}
    config = transformers.LlamaConfig(**SMALL, rope_parameters=scaling)
    shape = shape_of(saved(config, tmp_path))
    assert can_share_prefix(shape) == can_share(config) == (rope_type not in ("dynamic", "longrope"))
