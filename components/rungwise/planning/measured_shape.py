"""The shape of any causal language model that transformers can build: measured on the model, without weights.

For architectures whose config.json the planner can't read itself. The model is built on torch's meta device, which
holds no values. All its parameters are counted; which of them belong to which part is read from the modules' names.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rungwise.core.errors import ModelError, Problem
from rungwise.model.bases import check_kernels
from rungwise.planning.shape import Linear, Shape

_ROLES = (
    ("fused", ("qkv", "query_key_value", "c_attn")),
    ("query", ("q_proj", "q_a_proj", "q_b_proj", "query", "to_q", "wq")),
    ("key", ("k_proj", "key", "to_k", "wk")),
    ("value", ("v_proj", "value", "to_v", "wv")),
    ("out", ("o_proj", "out_proj", "attn.c_proj", "attention.dense", "wo")),
    ("down", ("down", "fc2", "fc_out", "4h_to_h", "c_proj", "w2")),
)
"""Role of a matrix -> parts of the names that it has in transformers; the first that matches counts."""


def measured_shape(config: Mapping[str, Any], where: str) -> Shape:
    """Returns the shape of the model that transformers builds from a config.json's values.

    Raises:
        ModelError: transformers does not have the architecture, or can't build a causal model from the values, or they
            name code on a hub.
    """
    check_kernels(config, where)
    model = _built(config, where)
    text = model.config.get_text_config()
    layers = _layers(model)
    layer = sorted(layers, key=lambda one: sum(p.numel() for p in one.parameters()))[len(layers) // 2]
    embedding, output = model.get_input_embeddings().weight, model.get_output_embeddings()
    vocabulary, width = embedding.shape
    heads = int(_first(text, "num_attention_heads", "n_head", "n_heads", "num_heads", default=1))
    head_width = int(_first(text, "head_dim", "d_kv", default=max(1, width // heads)))
    linears = _linears(layer)
    ups = [one for one in linears if one.role == "up"]
    downs = [one for one in linears if one.role == "down"]
    inner = max((one.inputs for one in downs), default=int(_first(text, "intermediate_size", default=4 * width)))
    positions = [m.num_embeddings for m in model.modules() if _is_positions(m, embedding, layers)]
    norms = [m for m in layer.modules() if "norm" in type(m).__name__.lower() and _size(m) == width]
    shape = Shape(
        model_type=str(config.get("model_type")),
        vocabulary=vocabulary,
        width=width,
        layers=len(layers),
        heads=heads,
        key_heads=int(_first(text, "num_key_value_heads", "num_kv_heads", default=heads)),
        head_width=head_width,
        inner=inner,
        context=int(_first(text, "max_position_embeddings", "n_positions", "max_seq_len", default=2048)),
        is_tied=output is not None and output.weight is embedding,
        is_gated=len(ups) > 1 or any(one.outputs == 2 * inner for one in ups),
        has_rms_norm=not any(getattr(m, "bias", None) is not None for m in norms),
        head_norm_parameters=0,
        is_parallel=False,
        learned_positions=max(positions, default=0),
        attention_dropout=float(_first(text, "attention_dropout", "attn_pdrop", default=0.0)),
        residual_dropout=float(_first(text, "resid_pdrop", "hidden_dropout", "resid_dropout", default=0.0)),
        activation=str(_first(text, "hidden_act", "hidden_activation", "activation_function", default="silu")),
        linears=linears,
        norms=len(norms),
        other_matrix_parameters=sum(_chosen(text, p) for one in layers for p in one.parameters() if p.dim() > 2),
        is_measured=True,
    )
    return replace(shape, other_parameters=sum(p.numel() for p in model.parameters()) - shape.parameters)


def _built(config: Mapping[str, Any], where: str) -> Any:
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    model_type = str(config.get("model_type", "nothing"))
    if model_type not in CONFIG_MAPPING:
        raise ModelError(
            Problem(
                "the planner does not support this architecture",
                where=f"{where}: model_type",
                found=model_type[:60],
                wanted="an architecture that transformers has, such as llama, qwen3 or gemma3_text",
                do="plan with a base of such an architecture, or run a few steps to measure time and memory",
            )
        )
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[model_type].from_dict(dict(config)))
        _ = _layers(model)[0], model.get_input_embeddings().weight
    except Exception as error:  # config classes and models raise a dozen kinds of errors
        raise ModelError(
            Problem(
                "the planner can't build a model from this config",
                where=f"{where}: model_type {model_type[:60]}",
                found=f"{type(error).__name__}: {' '.join(str(error).split())[:160]}",
                wanted="the config.json of a causal language model that transformers supports",
                do="use the config.json that was saved with the model, or choose another base",
            )
        ) from None
    return model


def _layers(model: Any) -> list[Any]:
    """Returns the decoder layers: the modules of the longest list outside a part that reads images or sound."""
    import torch

    is_other = ("vision", "visual", "audio", "encoder.")
    lists = [
        list(m)
        for name, m in model.named_modules()
        if isinstance(m, torch.nn.ModuleList) and not any(part in name for part in is_other)
    ]
    return max(lists, key=len)


def _linears(layer: Any) -> tuple[Linear, ...]:
    import torch
    from transformers.pytorch_utils import Conv1D

    linears = []
    for name, module in layer.named_modules():
        if isinstance(module, torch.nn.Linear | Conv1D):
            inputs, outputs = module.weight.shape if isinstance(module, Conv1D) else module.weight.shape[::-1]
            role = next((role for role, parts in _ROLES if any(part in name.lower() for part in parts)), "up")
            linears.append(Linear(name, inputs, outputs, module.bias is not None, role))
    return tuple(linears)


def _is_positions(module: Any, embedding: Any, layers: list[Any]) -> bool:
    import torch

    inside = {id(m) for layer in layers for m in layer.modules()}
    return isinstance(module, torch.nn.Embedding) and module.weight is not embedding and id(module) not in inside


def _size(module: Any) -> int:
    weight = getattr(module, "weight", None)
    return 0 if weight is None else int(weight.numel())


def _chosen(config: Any, weight: Any) -> int:
    """Returns how many of the weights of a layer's experts, which are one parameter, a token is multiplied with."""
    experts = int(_first(config, "num_local_experts", "num_experts", "n_routed_experts", default=0))
    used = int(_first(config, "num_experts_per_tok", "moe_topk", default=experts))
    return int(weight.numel()) * used // experts if experts and weight.shape[0] == experts else int(weight.numel())


def _first(config: Any, *names: str, default: Any) -> Any:
    return next((value for name in names if (value := getattr(config, name, None)) is not None), default)
