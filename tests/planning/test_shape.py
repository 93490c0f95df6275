import json

import peft
import pytest
import torch
import transformers

from rungwise.core.errors import ModelError, SettingsError
from rungwise.planning.shape import METHODS, frozen_extra, shape_of, targeted, trained_numbers

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
def test_numbers_are_those_that_transformers_counts(name, tmp_path):
    shape = shape_of(saved(CONFIGS[name], tmp_path))
    assert shape.numbers == sum(p.numel() for p in empty(CONFIGS[name]).parameters())


@pytest.mark.parametrize("kind", [transformers.LlamaConfig, transformers.Qwen2Config, transformers.Qwen3Config,
                                  transformers.MistralConfig, transformers.GPT2Config, transformers.GPTNeoXConfig])  # fmt: skip
def test_the_classes_own_defaults_are_read_as_transformers_reads_them(kind, tmp_path):
    config = kind(num_hidden_layers=2, vocab_size=1000) if kind is not transformers.GPT2Config else kind(n_layer=2)
    assert shape_of(saved(config, tmp_path)).numbers == sum(p.numel() for p in empty(config).parameters())


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


def llama_linears():
    return ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


PEFT = {
    "lora": lambda: peft.LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"),
    "rslora": lambda: peft.LoraConfig(r=4, target_modules="all-linear", use_rslora=True, task_type="CAUSAL_LM"),
    "dora": lambda: peft.LoraConfig(r=4, target_modules="all-linear", use_dora=True, task_type="CAUSAL_LM"),
    "vera": lambda: peft.VeraConfig(r=4, target_modules=llama_linears(), task_type="CAUSAL_LM"),
    "ia3": lambda: peft.IA3Config(
        target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"], task_type="CAUSAL_LM"
    ),
    "prompt-tuning": lambda: peft.PromptTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM"),
    "prefix-tuning": lambda: peft.PrefixTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM"),
    "llama-adapter": lambda: peft.AdaptionPromptConfig(adapter_len=5, adapter_layers=2, task_type="CAUSAL_LM"),
    "layer-norm": lambda: peft.LNTuningConfig(
        target_modules=["input_layernorm", "post_attention_layernorm", "norm"], task_type="CAUSAL_LM"
    ),
    "sparse": lambda: peft.ShiraConfig(r=4, target_modules=llama_linears(), task_type="CAUSAL_LM"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", PEFT)
@pytest.mark.parametrize("name", ["llama", "mistral", "qwen2"])
def test_trained_numbers_are_those_that_peft_trains(method, name, tmp_path):
    if method == "llama-adapter" and name == "qwen2":
        pytest.skip("PEFT has no adaption prompts for qwen2")
    shape = shape_of(saved(CONFIGS[name], tmp_path))
    model = peft.get_peft_model(transformers.AutoModelForCausalLM.from_config(CONFIGS[name]), PEFT[method]())
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained_numbers(shape, method, rank=4, virtual_tokens=5) == count
    if method == "vera":
        assert frozen_extra(shape, "vera", rank=4) == sum(b.numel() for n, b in model.named_buffers() if "vera_" in n)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", ["lora", "dora", "ia3", "prompt-tuning", "prefix-tuning"])
@pytest.mark.parametrize("name", ["gpt2", "gpt_neox"])
def test_trained_numbers_with_one_matrix_for_queries_keys_and_values(method, name, tmp_path):
    shape = shape_of(saved(CONFIGS[name], tmp_path))
    config = peft.IA3Config(task_type="CAUSAL_LM") if method == "ia3" else PEFT[method]()
    model = peft.get_peft_model(transformers.AutoModelForCausalLM.from_config(CONFIGS[name]), config)
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained_numbers(shape, method, rank=4, virtual_tokens=5) == count


def test_methods_without_an_adapter_of_peft_count_what_they_say():
    model = empty(CONFIGS["llama"])
    shape = shape_of(CONFIGS["llama"].to_dict())
    layers = model.model.layers
    assert trained_numbers(shape, "last-layers", last_layers=2) == sum(
        p.numel() for layer in layers[-2:] for p in layer.parameters()
    )
    assert trained_numbers(shape, "value-bias") == sum(layer.self_attn.v_proj.out_features for layer in layers)
    assert trained_numbers(shape, "prompt") == 0 and trained_numbers(shape, "full") == shape.numbers
    assert trained_numbers(shape, "pissa") == trained_numbers(shape, "lora")
    assert all(trained_numbers(shape, method) >= 0 for method in METHODS)


@pytest.mark.filterwarnings("ignore")
def test_targets_narrow_what_is_trained(tmp_path):
    shape = shape_of(CONFIGS["llama"].to_dict())
    model = peft.get_peft_model(
        transformers.AutoModelForCausalLM.from_config(CONFIGS["llama"]),
        peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
    )
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained_numbers(shape, "lora", rank=2, targets=("q_proj", "v_proj")) == count
    with pytest.raises(SettingsError, match="matches nothing(.|\n)*wrong"):
        targeted(shape, ("q_proj", "wrong"))


def test_an_unknown_architecture_is_named_with_those_that_are_known():
    with pytest.raises(ModelError, match="architecture(.|\n)*mamba(.|\n)*gpt2, gpt_neox, llama, mistral"):
        shape_of({"model_type": "mamba"})
    with pytest.raises(ModelError, match="nothing"):
        shape_of({})


@pytest.mark.parametrize("value", [None, "many", True, -1, 0, 2.5])
def test_a_missing_number_is_named(value):
    with pytest.raises(ModelError, match="here/config.json: vocab_size"):
        shape_of({**CONFIGS["llama"].to_dict(), "vocab_size": value}, "here/config.json")


@pytest.mark.parametrize("value", ["x", True, -0.1, 1, float("nan")])
def test_a_dropout_that_is_no_share_is_named(value):
    with pytest.raises(ModelError, match="here/config.json: attention_dropout"):
        shape_of({**CONFIGS["llama"].to_dict(), "attention_dropout": value}, "here/config.json")


def test_an_unknown_method_is_named():
    with pytest.raises(SettingsError, match="qlora(.|\n)*lora"):
        trained_numbers(shape_of(CONFIGS["llama"].to_dict()), "qlora")
