"""The planner's count of parameters for models of the presets' families, at their true sizes."""

import peft
import pytest
import transformers

from rungwise.core.errors import ModelError
from rungwise.model.architectures import ARCHITECTURES
from rungwise.planning.job import Job
from rungwise.planning.measured_shape import measured_shape
from rungwise.planning.memory import need_of
from rungwise.planning.model_config import shape_of
from rungwise.planning.operations import operations
from rungwise.planning.trainable import trainable_parameters
from tests.planning.test_model_config import SMALL, empty, saved

FAMILIES = {
    "gemma-3-270m": (
        transformers.Gemma3TextConfig(
            vocab_size=262_144,
            hidden_size=640,
            intermediate_size=2048,
            num_hidden_layers=18,
            num_attention_heads=4,
            num_key_value_heads=1,
            sliding_window=512,
        ),
        268_098_176,
    ),
    "gemma-3-1b": (
        transformers.Gemma3TextConfig(
            vocab_size=262_144,
            hidden_size=1152,
            intermediate_size=6912,
            num_attention_heads=4,
            num_key_value_heads=1,
            sliding_window=512,
        ),
        999_885_952,
    ),
    "SmolLM2-135M": (
        transformers.LlamaConfig(
            vocab_size=49_152,
            hidden_size=576,
            intermediate_size=1536,
            num_hidden_layers=30,
            num_attention_heads=9,
            num_key_value_heads=3,
            tie_word_embeddings=True,
        ),
        134_515_008,
    ),
    "SmolLM3-3B": (transformers.SmolLM3Config(), 3_075_098_624),
    "phi-2": (
        transformers.PhiConfig(hidden_size=2560, intermediate_size=10_240, num_hidden_layers=32),
        2_779_683_840,
    ),
    "Phi-3-mini": (transformers.Phi3Config(), 3_821_079_552),
    "Phi-4-mini": (
        transformers.Phi3Config(
            vocab_size=200_064,
            num_attention_heads=24,
            num_key_value_heads=8,
            tie_word_embeddings=True,
            partial_rotary_factor=0.75,
            eos_token_id=199_999,
            pad_token_id=199_999,
        ),
        3_836_021_760,
    ),
    "Mistral-7B-v0.3": (transformers.MistralConfig(vocab_size=32_768), 7_248_023_552),
    "granite-3.1-2b": (
        transformers.GraniteConfig(
            vocab_size=49_155,
            hidden_size=2048,
            intermediate_size=8192,
            num_hidden_layers=40,
            num_key_value_heads=8,
            tie_word_embeddings=True,
        ),
        2_533_531_648,
    ),
    "OLMo-2-1B": (
        transformers.Olmo2Config(
            vocab_size=100_352,
            hidden_size=2048,
            intermediate_size=8192,
            num_hidden_layers=16,
            num_attention_heads=16,
            num_key_value_heads=16,
        ),
        1_484_916_736,
    ),
    "Llama-3.2-1B": (
        transformers.LlamaConfig(
            vocab_size=128_256,
            hidden_size=2048,
            intermediate_size=8192,
            num_hidden_layers=16,
            num_key_value_heads=8,
            tie_word_embeddings=True,
        ),
        1_235_814_400,
    ),
    "Qwen3-0.6B": (
        transformers.Qwen3Config(
            hidden_size=1024,
            intermediate_size=3072,
            num_hidden_layers=28,
            num_attention_heads=16,
            num_key_value_heads=8,
            tie_word_embeddings=True,
        ),
        596_049_920,
    ),
    "pythia-410m": (
        transformers.GPTNeoXConfig(
            vocab_size=50_304,
            hidden_size=1024,
            intermediate_size=4096,
            num_hidden_layers=24,
            num_attention_heads=16,
        ),
        405_334_016,
    ),
}
"""Name -> its config and the number of parameters that its card on the hub gives."""


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_of_the_presets_has_its_own_number_of_parameters(name, tmp_path):
    config, published = FAMILIES[name]
    assert ARCHITECTURES[config.model_type].config_keys, "its config is read without building the model"
    for values in (saved(config, tmp_path), config.to_dict()):  # the file leaves out defaults
        shape = shape_of(values)
        assert shape.parameters == published == sum(p.numel() for p in empty(config).parameters())
        assert not shape.other_parameters and not shape.is_measured


@pytest.mark.parametrize("name", FAMILIES)
def test_the_model_without_weights_gives_nearly_the_same_plan(name):
    known, measured = (of(FAMILIES[name][0].to_dict(), "here") for of in (shape_of, measured_shape))
    assert measured.parameters == known.parameters and measured.matrix_parameters == known.matrix_parameters
    assert measured.is_measured and abs(measured.other_parameters) < 1e-3 * known.parameters
    job = Job("lora", precision="bf16", rows=8, tokens=64, answer_tokens=4)
    assert trainable_parameters(measured, job) == trainable_parameters(known, job)
    assert need_of(measured, job).total == pytest.approx(need_of(known, job).total, rel=0.15)
    assert operations(measured, job) == pytest.approx(operations(known, job), rel=1e-6)


def test_a_model_that_reads_images_too_is_planned_by_its_text_part(tmp_path):
    text = {"hidden_size": 2560, "intermediate_size": 10_240, "num_hidden_layers": 34, "sliding_window": 1024}
    vision = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16,
              "image_size": 896, "patch_size": 14, "vision_use_head": False}  # fmt: skip
    config = transformers.Gemma3Config(text_config=text, vision_config={"model_type": "siglip_vision_model", **vision})
    shape = shape_of(saved(config, tmp_path))
    assert shape.parameters == sum(p.numel() for p in empty(config).parameters()) == 4_300_079_472
    assert shape.layers == 34 and shape.norms == 4 and shape.is_windowed
    assert 0.4e9 < shape.other_parameters < 0.45e9 and shape.matrix_parameters < 3.3e9


UNKNOWN = {
    "mixtral": transformers.MixtralConfig(**SMALL, num_local_experts=4, num_experts_per_tok=1),
    "cohere": transformers.CohereConfig(**SMALL),
    "gemma2": transformers.Gemma2Config(**SMALL, head_dim=16),
    "opt": transformers.OPTConfig(
        hidden_size=48, ffn_dim=96, num_hidden_layers=3, num_attention_heads=4, vocab_size=300
    ),
    "bloom": transformers.BloomConfig(hidden_size=48, n_layer=3, n_head=4, vocab_size=300),
    "mamba": transformers.MambaConfig(hidden_size=48, num_hidden_layers=3, vocab_size=300),
    "olmoe": transformers.OlmoeConfig(**SMALL, num_experts=4, num_experts_per_tok=2),
    "falcon": transformers.FalconConfig(hidden_size=48, num_hidden_layers=3, num_attention_heads=4, vocab_size=300),
    "stablelm": transformers.StableLmConfig(**SMALL),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", UNKNOWN)
def test_an_architecture_without_known_keys_is_planned_from_the_model(kind, tmp_path):
    assert not ARCHITECTURES.get(kind) or not ARCHITECTURES[kind].config_keys
    shape = shape_of(saved(UNKNOWN[kind], tmp_path))
    assert shape.parameters == sum(p.numel() for p in empty(UNKNOWN[kind]).parameters())
    assert shape.is_measured and shape.layers in (2, 3) and shape.width == 48 and shape.vocabulary == 300
    assert 0 < shape.matrix_parameters <= shape.parameters
    for method in ("lora", "full", "prompt"):
        assert need_of(shape, Job(method, rows=2, tokens=32, answer_tokens=2)).total > 4 * shape.parameters


def test_a_token_is_multiplied_with_the_experts_that_it_chooses():
    one, four = (shape_of(mixtral(n).to_dict()).other_matrix_parameters for n in (1, 4))
    assert four == 4 * one > 0


def mixtral(n):
    return transformers.MixtralConfig(**SMALL, num_local_experts=4, num_experts_per_tok=n)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["cohere", "opt", "phi", "gemma3_text", "olmo2", "phi3"])
def test_lora_on_all_linear_layers_trains_as_many_parameters_as_peft(kind):
    config = {**UNKNOWN, **SMALL_FAMILIES}[kind]
    model = peft.get_peft_model(
        transformers.AutoModelForCausalLM.from_config(config),
        peft.LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trainable_parameters(shape_of(config.to_dict()), Job("lora", settings={"rank": 4})) == count


SMALL_FAMILIES = {
    "phi": transformers.PhiConfig(**SMALL),
    "phi3": transformers.Phi3Config(**SMALL, pad_token_id=0, eos_token_id=2),
    "gemma3_text": transformers.Gemma3TextConfig(**SMALL, head_dim=16),
    "olmo2": transformers.Olmo2Config(**SMALL),
}


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"model_type": "no-such"}, "does not support this architecture(.|\n)*no-such"),
        ({}, "nothing"),
        ({"model_type": "opt", "hidden_size": "many"}, "can't build a model(.|\n)*opt"),
        ({"model_type": "clip"}, "can't build a model(.|\n)*clip"),
    ],
)
def test_what_transformers_can_not_build_is_named(config, says):
    with pytest.raises(ModelError, match=says):
        shape_of(config, "here")
