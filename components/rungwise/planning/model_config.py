"""A model's config.json as a Shape: read from a folder or the hub, without weights.

`model.architectures` says which keys an architecture's file has; the readers are here, one for each set of keys.
Formats: https://huggingface.co/docs/transformers/main_classes/configuration.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rungwise.core.errors import ModelError, Problem
from rungwise.core.records import Base
from rungwise.model.architectures import GptNeoxKeys, LlamaKeys, PhiKeys, architecture, has_fixed_rotary
from rungwise.model.bases import local_folder
from rungwise.planning.measured_shape import measured_shape
from rungwise.planning.shape import Linear, Shape


def read_config(path: Path) -> dict[str, Any]:
    """Returns a config.json as plain values.

    Raises:
        ModelError: the file does not exist or is not a JSON object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError(f"a {type(values).__name__}")
    except (OSError, ValueError) as error:
        raise ModelError(
            Problem(
                "a model's config can't be read",
                where=str(path),
                found=str(error).splitlines()[0][:120],
                wanted="the config.json of a model",
                do="name the file itself, or correct the rung's `base`; `rungwise pin` adds a hub name's commit",
            )
        ) from None
    return values


def config_of(base: Base, root: Path) -> dict[str, Any]:
    """Returns the config.json of a base; for a hub name, fetches this file alone.

    Raises:
        ModelError: the file can't be fetched or read, or an embedded base was not fetched yet.
    """
    if not base.revision:
        return read_config(local_folder(base, root, needs_tokenizer=False) / "config.json")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import hf_hub_download

    try:
        path = hf_hub_download(base.name, "config.json", revision=base.revision)
    except Exception as error:  # the hub's own errors, and those of whichever client carries its requests
        raise ModelError(
            Problem(
                "a model's config can't be fetched from the hub",
                where=f"ladder: base {base}, {os.environ.get('HF_ENDPOINT', 'the default endpoint')}",
                found=f"{type(error).__name__}: {str(error).splitlines()[0][:200]}",
                wanted="config.json at that commit",
                do="check name, commit and network; gated models need HF_TOKEN in the environment",
            )
        ) from None
    return read_config(Path(path))


def shape_of(config: Mapping[str, Any], where: str = "config.json") -> Shape:
    """Returns the shape that a config.json describes.

    Of an architecture whose keys are not known, the shape of the model that transformers builds from it, without
    weights. A model that also reads images has the shape of its text part; its other parameters are counted.

    Args:
        config: the file's values.
        where: names the file in messages.

    Raises:
        ModelError: transformers does not support the architecture, or a key is missing or not a number.
    """
    model_type = str(config.get("model_type", "nothing"))
    keys = architecture(model_type).config_keys
    if keys is None and isinstance(config.get("text_config"), Mapping):
        return _text_part(config, where)
    if keys is None:
        return measured_shape(config, where)
    read = _Reader({**keys.defaults, **config} if isinstance(keys, LlamaKeys) else config, where, model_type)
    if isinstance(keys, LlamaKeys):
        return _llama(read, keys)
    if isinstance(keys, PhiKeys):
        return _phi(read)
    return _gpt_neox(read) if isinstance(keys, GptNeoxKeys) else _gpt2(read)


ENCODERS = ("bert", "camembert", "distilbert", "mpnet", "roberta", "xlm-roberta")
"""Encoders with BERT's layers (Devlin et al., 2018, https://arxiv.org/abs/1810.04805), by `model_type`."""


def encoder_shape_of(config: Mapping[str, Any], where: str = "config.json") -> Shape:
    """Returns the shape of a base that is used as a frozen encoder: an encoder like BERT, or a causal language model.

    Raises:
        ModelError: as in `shape_of`.
    """
    model_type = str(config.get("model_type", "nothing"))
    return _bert(_Reader(config, where, model_type)) if model_type in ENCODERS else shape_of(config, where)


def _text_part(config: Mapping[str, Any], where: str) -> Shape:
    """Returns the shape of the text part of a model that also reads something else, such as Gemma 3 from 4B."""
    counted = measured_shape(config, where)
    if architecture(str(config["text_config"].get("model_type"))).config_keys is None:
        return counted
    text = shape_of(config["text_config"], f"{where}: text_config")
    return replace(text, other_parameters=counted.parameters - text.parameters)


@dataclass(frozen=True)
class _Reader:
    """A config.json whose missing keys are errors that name themselves."""

    config: Mapping[str, Any]
    where: str
    model_type: str

    def number(self, *keys: str, default: int | None = None) -> int:
        value = next((self.config[key] for key in keys if self.config.get(key) is not None), default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ModelError(
                Problem(
                    "a number is missing in a model's config",
                    where=f"{self.where}: {keys[0]}",
                    found="nothing" if value is None else repr(value)[:40],
                    wanted="a whole number above 0",
                    do="use the config.json that was saved with the model",
                )
            )
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.config.get(key)
        return default if value is None else bool(value)

    def share(self, key: str, default: float) -> float:
        value = self.config.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise ModelError(
                Problem(
                    "a value in a model's config is not a share",
                    where=f"{self.where}: {key}",
                    found=repr(value)[:40],
                    wanted="a number from 0 to below 1",
                    do="use the config.json that was saved with the model",
                )
            )
        return float(value)

    def text(self, key: str, default: str) -> str:
        return str(self.config.get(key) or default)


def _llama(read: _Reader, keys: LlamaKeys) -> Shape:
    width, heads = read.number("hidden_size"), read.number("num_attention_heads")
    key_heads = read.number("num_key_value_heads", default=heads)
    head_width = read.number("head_dim", default=width // max(1, heads))
    query, key = heads * head_width, key_heads * head_width
    head_norms = {"none": 0, "each": 2 * head_width, "together": query + key}
    return Shape(
        model_type=read.model_type,
        vocabulary=read.number("vocab_size"),
        width=width,
        layers=read.number("num_hidden_layers"),
        heads=heads,
        key_heads=key_heads,
        head_width=head_width,
        inner=read.number("intermediate_size"),
        context=read.number("max_position_embeddings", default=2048),
        is_tied=read.flag("tie_word_embeddings", False),
        is_gated=True,
        has_rms_norm=True,
        head_norm_parameters=head_norms[keys.head_norm],
        is_parallel=False,
        learned_positions=0,
        attention_dropout=read.share("attention_dropout", 0.0),
        residual_dropout=read.share("resid_pdrop", 0.0) if keys.is_fused else 0.0,
        activation=read.text(keys.activation_key, "silu"),
        linears=_llama_linears(read, keys, width, query, key),
        is_windowed=_is_windowed(read, keys),
        has_fixed_rotary=has_fixed_rotary(read.config),
        norms=keys.norms,
        is_norm_fp32=keys.is_norm_fp32,
    )


def _llama_linears(read: _Reader, keys: LlamaKeys, width: int, query: int, key: int) -> tuple[Linear, ...]:
    inner = read.number("intermediate_size")
    if keys.is_fused:
        return (
            Linear("qkv_proj", width, query + 2 * key, False, "fused"),
            Linear("o_proj", query, width, False, "out"),
            Linear("gate_up_proj", width, 2 * inner, False, "up"),
            Linear("down_proj", inner, width, False, "down"),
        )
    follows_setting = keys.attention_bias == "setting" and read.flag("attention_bias", False)
    bias = follows_setting or keys.attention_bias == "query_key_value"
    mlp_bias = keys.has_mlp_bias_setting and read.flag("mlp_bias", False)
    return (
        Linear("q_proj", width, query, bias, "query"),
        Linear("k_proj", width, key, bias, "key"),
        Linear("v_proj", width, key, bias, "value"),
        Linear("o_proj", query, width, follows_setting, "out"),
        Linear("gate_proj", width, inner, mlp_bias, "up"),
        Linear("up_proj", width, inner, mlp_bias, "up"),
        Linear("down_proj", inner, width, mlp_bias, "down"),
    )


def _is_windowed(read: _Reader, keys: LlamaKeys) -> bool:
    layer_types = read.config.get("layer_types")
    if isinstance(layer_types, list):
        return any(kind != "full_attention" for kind in layer_types)
    if keys.has_window_switch:
        return read.flag("use_sliding_window", False)
    return read.config.get("sliding_window") is not None


def _phi(read: _Reader) -> Shape:
    width, heads = read.number("hidden_size", default=2048), read.number("num_attention_heads", default=32)
    key_heads = read.number("num_key_value_heads", default=heads)
    inner = read.number("intermediate_size", default=8192)
    head_width = width // max(1, heads)
    key = key_heads * head_width
    return Shape(
        model_type=read.model_type,
        vocabulary=read.number("vocab_size", default=51_200),
        width=width,
        layers=read.number("num_hidden_layers", default=24),
        heads=heads,
        key_heads=key_heads,
        head_width=head_width,
        inner=inner,
        context=read.number("max_position_embeddings", default=2048),
        is_tied=read.flag("tie_word_embeddings", False),
        is_gated=False,
        has_rms_norm=False,
        head_norm_parameters=4 * head_width if read.flag("qk_layernorm", False) else 0,
        is_parallel=True,
        learned_positions=0,
        attention_dropout=read.share("attention_dropout", 0.0),
        residual_dropout=read.share("resid_pdrop", 0.0),
        activation=read.text("hidden_act", "gelu_new"),
        linears=(
            Linear("q_proj", width, heads * head_width, True, "query"),
            Linear("k_proj", width, key, True, "key"),
            Linear("v_proj", width, key, True, "value"),
            Linear("dense", heads * head_width, width, True, "out"),
            Linear("fc1", width, inner, True, "up"),
            Linear("fc2", inner, width, True, "down"),
        ),
        has_fixed_rotary=has_fixed_rotary(read.config),
        norms=1,
        has_output_bias=True,
    )


def _gpt2(read: _Reader) -> Shape:
    width, heads = read.number("n_embd", "hidden_size"), read.number("n_head", "num_attention_heads")
    inner = read.number("n_inner", default=4 * width)
    positions = read.number("n_positions", "max_position_embeddings")
    return Shape(
        model_type=read.model_type,
        vocabulary=read.number("vocab_size"),
        width=width,
        layers=read.number("n_layer", "num_hidden_layers"),
        heads=heads,
        key_heads=heads,
        head_width=width // max(1, heads),
        inner=inner,
        context=positions,
        is_tied=read.flag("tie_word_embeddings", True),
        is_gated=False,
        has_rms_norm=False,
        head_norm_parameters=0,
        is_parallel=False,
        learned_positions=positions,
        attention_dropout=read.share("attn_pdrop", 0.1),
        residual_dropout=read.share("resid_pdrop", 0.1),
        activation=read.text("activation_function", "gelu_new"),
        linears=(
            Linear("c_attn", width, 3 * width, True, "fused"),
            Linear("attn.c_proj", width, width, True, "out"),
            Linear("c_fc", width, inner, True, "up"),
            Linear("mlp.c_proj", inner, width, True, "down"),
        ),
    )


def _bert(read: _Reader) -> Shape:
    """Returns an encoder's shape; its pooling layer is not counted, and the first norm stands for the last one."""
    width, heads = read.number("hidden_size", "dim"), read.number("num_attention_heads", "n_heads")
    inner, positions = read.number("intermediate_size", "hidden_dim"), read.number("max_position_embeddings")
    segments = 0 if read.model_type in ("distilbert", "mpnet") else read.number("type_vocab_size", default=2)
    return Shape(
        model_type=read.model_type,
        vocabulary=read.number("vocab_size"),
        width=width,
        layers=read.number("num_hidden_layers", "n_layers"),
        heads=heads,
        key_heads=heads,
        head_width=width // max(1, heads),
        inner=inner,
        context=positions,
        is_tied=True,
        is_gated=False,
        has_rms_norm=False,
        head_norm_parameters=0,
        is_parallel=False,
        learned_positions=positions + segments,
        attention_dropout=0.0,
        residual_dropout=0.0,
        activation=read.text("hidden_act", "gelu"),
        linears=(
            Linear("query", width, width, True, "query"),
            Linear("key", width, width, True, "key"),
            Linear("value", width, width, True, "value"),
            Linear("attention.output.dense", width, width, True, "out"),
            Linear("intermediate.dense", width, inner, True, "up"),
            Linear("output.dense", inner, width, True, "down"),
        ),
    )


def _gpt_neox(read: _Reader) -> Shape:
    width, heads = read.number("hidden_size"), read.number("num_attention_heads")
    inner, bias = read.number("intermediate_size"), read.flag("attention_bias", True)
    return Shape(
        model_type=read.model_type,
        vocabulary=read.number("vocab_size"),
        width=width,
        layers=read.number("num_hidden_layers"),
        heads=heads,
        key_heads=heads,
        head_width=width // max(1, heads),
        inner=inner,
        context=read.number("max_position_embeddings", default=2048),
        is_tied=read.flag("tie_word_embeddings", False),
        is_gated=False,
        has_rms_norm=False,
        head_norm_parameters=0,
        is_parallel=read.flag("use_parallel_residual", True),
        learned_positions=0,
        attention_dropout=read.share("attention_dropout", 0.0),
        residual_dropout=read.share("hidden_dropout", 0.0),
        activation=read.text("hidden_act", "gelu"),
        linears=(
            Linear("query_key_value", width, 3 * width, bias, "fused"),
            Linear("dense", width, width, bias, "out"),
            Linear("dense_h_to_4h", width, inner, True, "up"),
            Linear("dense_4h_to_h", inner, width, True, "down"),
        ),
        has_fixed_rotary=has_fixed_rotary(read.config),
    )
