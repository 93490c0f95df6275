"""The supported architectures: what is known of each `model_type`, in one table.

Any causal language model that transformers loads can be trained and scored. The table says for which of them a faster
path is right, how the planner reads their config.json, and which learning rate suits them. This module imports no
torch. Model types: https://huggingface.co/docs/transformers/model_doc/auto.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal


@dataclass(frozen=True)
class LlamaKeys:
    """A config.json with Llama's keys: where an architecture's defaults, biases or norms differ from Llama's own."""

    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Values of keys that the file leaves out, as in the config class of transformers."""
    attention_bias: Literal["setting", "never", "query_key_value"] = "setting"
    """`setting`: all four attention matrices have a bias if `attention_bias` says so. `never`: none has.
    `query_key_value`: these three always have one, the output matrix never."""
    has_mlp_bias_setting: bool = False
    """Whether `mlp_bias` can give the feed-forward matrices a bias."""
    head_norm: Literal["none", "each", "together"] = "none"
    """Whether queries and keys are normalised: `each` head by itself, or all heads `together`."""
    norms: int = 2
    """Norms of a layer over its width."""
    is_norm_fp32: bool = False
    """Whether norms multiply with their weight in fp32, whatever the model's precision."""
    is_fused: bool = False
    """Whether one matrix makes queries, keys and values, and one both branches of the feed-forward part."""
    has_window_switch: bool = False
    """Whether `sliding_window` applies only where `use_sliding_window` is true."""
    activation_key: str = "hidden_act"


@dataclass(frozen=True)
class Gpt2Keys:
    """A config.json with GPT-2's keys."""


@dataclass(frozen=True)
class GptNeoxKeys:
    """A config.json with GPT-NeoX's keys."""


@dataclass(frozen=True)
class PhiKeys:
    """A config.json with the keys of Phi 1, 1.5 and 2."""


@dataclass(frozen=True)
class LayerForm:
    """A decoder layer whose forward pass is attention, sum, MLP, sum, with norms around both; the defaults are Llama's.

    All fields except the first name modules of the layer; a field is empty if the layer does not have that module.
    """

    layer: str
    """Class name of the layer in transformers."""
    before_attention: str = "input_layernorm"
    after_attention: str = ""
    before_mlp: str = "post_attention_layernorm"
    after_mlp: str = ""
    multiplier: str = ""
    """The layer's attribute that multiplies both results before they are added."""

    @property
    def short_norms(self) -> int:
        """How many of its norms see answer positions only in the last layer."""
        return sum("norm" in name for name in (self.after_attention, self.before_mlp, self.after_mlp))


@dataclass(frozen=True)
class Architecture:
    """What is known of one architecture. The defaults are right for one that the table does not have."""

    config_keys: LlamaKeys | Gpt2Keys | GptNeoxKeys | PhiKeys | None = None
    """How the planner reads its config.json; None: it builds the model without weights and measures that."""
    short_layer: LayerForm | None = None
    """Its decoder layer, if the last one can be computed at answer positions alone. None: it can't."""
    can_share_prefix: bool = False
    """Whether a token's place is its position alone, so that padding between two tokens changes nothing and the shared
    prefix can be read once. In other architectures a window or a bias counts the places of the cache, and the type of
    the cache does not show it (GPT-Neo, MPT)."""
    rate_width_power: float = 0.0775
    """Power of the width in the rule of `training.learning_rate`; by default the smaller of the two published ones,
    which gives the lower rate to a small model."""

    @property
    def has_short_last_layer(self) -> bool:
        """Whether the last layer, and the loss of a frozen output layer, are computed at answer positions alone."""
        return self.short_layer is not None


# What a config.json leaves out because it is the default of its config class in transformers.
_LLAMA_7B: Final = {
    "hidden_size": 4096,
    "intermediate_size": 11_008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "max_position_embeddings": 2048,
}
_GEMMA3: Final = {
    "vocab_size": 262_208,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "max_position_embeddings": 131_072,
    "tie_word_embeddings": True,
    "sliding_window": 4096,
}
_OLMO2: Final = {"vocab_size": 50_304, **_LLAMA_7B}
_GRANITE: Final = {"vocab_size": 32_000, **_LLAMA_7B}
_SMOLLM3: Final = {
    "vocab_size": 128_256,
    "hidden_size": 2048,
    "intermediate_size": 11_008,
    "num_hidden_layers": 36,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32_768,
    "tie_word_embeddings": True,
}
_PHI3: Final = {
    "vocab_size": 32_064,
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "max_position_embeddings": 4096,
}

ARCHITECTURES: Final[Mapping[str, Architecture]] = {
    "llama": Architecture(
        LlamaKeys({"vocab_size": 32_000, **_LLAMA_7B}, has_mlp_bias_setting=True),
        LayerForm("LlamaDecoderLayer"),
        True,
        rate_width_power=0.781,
    ),
    "mistral": Architecture(
        LlamaKeys({"num_key_value_heads": 8, "sliding_window": 4096}, attention_bias="never"),
        LayerForm("MistralDecoderLayer"),
        True,
    ),
    "qwen2": Architecture(
        LlamaKeys({"num_key_value_heads": 32}, attention_bias="query_key_value", has_window_switch=True),
        LayerForm("Qwen2DecoderLayer"),
        True,
    ),
    "qwen3": Architecture(
        LlamaKeys({"head_dim": 128, "num_key_value_heads": 32}, head_norm="each", has_window_switch=True),
        LayerForm("Qwen3DecoderLayer"),
        True,
    ),
    "gpt2": Architecture(Gpt2Keys(), can_share_prefix=True),
    "gpt_neox": Architecture(GptNeoxKeys(), can_share_prefix=True),
    "mixtral": Architecture(can_share_prefix=True),
    "qwen2_moe": Architecture(can_share_prefix=True),
    "phi": Architecture(PhiKeys(), can_share_prefix=True),
    "phi3": Architecture(
        LlamaKeys(_PHI3, attention_bias="never", is_fused=True),
        short_layer=LayerForm("Phi3DecoderLayer", after_attention="resid_attn_dropout", after_mlp="resid_mlp_dropout"),
        can_share_prefix=True,
    ),
    "gemma": Architecture(short_layer=LayerForm("GemmaDecoderLayer"), can_share_prefix=True),
    "gemma3_text": Architecture(
        LlamaKeys(_GEMMA3, head_norm="each", norms=4, is_norm_fp32=True, activation_key="hidden_activation"),
        short_layer=LayerForm(
            "Gemma3DecoderLayer",
            after_attention="post_attention_layernorm",
            before_mlp="pre_feedforward_layernorm",
            after_mlp="post_feedforward_layernorm",
        ),
    ),
    "olmo": Architecture(short_layer=LayerForm("OlmoDecoderLayer"), can_share_prefix=True),
    "olmo2": Architecture(
        LlamaKeys(_OLMO2, head_norm="together", is_norm_fp32=True),
        short_layer=LayerForm(
            "Olmo2DecoderLayer",
            before_attention="",
            after_attention="post_attention_layernorm",
            before_mlp="",
            after_mlp="post_feedforward_layernorm",
        ),
        can_share_prefix=True,
    ),
    "granite": Architecture(
        LlamaKeys(_GRANITE, has_mlp_bias_setting=True),
        LayerForm("GraniteDecoderLayer", multiplier="residual_multiplier"),
        True,
    ),
    "smollm3": Architecture(
        LlamaKeys(_SMOLLM3, has_mlp_bias_setting=True, has_window_switch=True), LayerForm("SmolLM3DecoderLayer"), True
    ),
    "cohere": Architecture(can_share_prefix=True),
    "glm": Architecture(short_layer=LayerForm("GlmDecoderLayer"), can_share_prefix=True),
}
"""`model_type` of a config.json -> what is known of it. Tests compare each statement with the model itself."""

SHORT_LAYERS: Final[Mapping[str, LayerForm]] = {
    known.short_layer.layer: known.short_layer for known in ARCHITECTURES.values() if known.short_layer
}
"""Class name -> form of the decoder layers that can be computed at answer positions alone."""


def architecture(model_type: str) -> Architecture:
    """Returns what is known of an architecture; of one that the table does not have, the defaults."""
    return ARCHITECTURES.get(model_type, Architecture())


def has_fixed_rotary(config: Mapping[str, Any]) -> bool:
    """Whether rotary angles are the same for every batch; with some scalings they depend on its longest row."""
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if scaling and all(isinstance(one, Mapping) for one in scaling.values()):  # one scaling for each type of layer
        return all(has_fixed_rotary({"rope_parameters": one}) for one in scaling.values())
    return (scaling.get("rope_type") or scaling.get("type")) not in ("longrope", "dynamic")
