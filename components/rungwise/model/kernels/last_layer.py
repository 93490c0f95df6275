"""Computes the last decoder layer only at the positions whose logits are needed.

In the last layer, the other positions contribute only their keys and values; the output of its MLP for them is never
used. The fewer layers a model has, the more this saves: with seven layers about a tenth of a training step and of
reading a prompt.

Shape letters: B rows, S tokens, K kept tokens, H hidden size.
"""

import functools
import types
from typing import Any

import torch

from rungwise.model.architectures import SHORT_LAYERS


def shorten(model: Any) -> bool:
    """Changes a causal language model in place so that its last layer computes only `logits_to_keep` positions.

    Returns whether the model supports it. Names and weights do not change, and logits only by rounding. Layers of other
    architectures, with activation checkpointing or compiled are left as they are.
    """
    layers: Any = getattr(getattr(model, "model", None), "layers", None)
    kind = type(layers[-1]) if layers else type(None)
    if kind.__name__ not in SHORT_LAYERS or not kind.__module__.startswith("transformers.models."):
        return False
    whole = type(model).forward

    @functools.wraps(whole)  # generate() inspects the signature
    def forward(self: Any, *args: Any, logits_to_keep: Any = 0, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return whole(self, *args, logits_to_keep=logits_to_keep, **kwargs)
        last = self.model.layers[-1]
        last.kept = logits_to_keep if isinstance(logits_to_keep, int) else 0
        try:
            return whole(self, *args, logits_to_keep=logits_to_keep, **kwargs)
        finally:
            last.kept = 0

    layers[-1].kept = 0
    layers[-1].forward = types.MethodType(_last_forward, layers[-1])
    model.forward = types.MethodType(forward, model)
    return True


def is_short(model: Any) -> bool:
    """Whether `shorten` changed this model; its logits are then just its hidden states times its output layer."""
    return "kept" in vars(getattr(getattr(model, "model", None), "layers", [model])[-1])


def _last_forward(layer: Any, hidden_BSH: torch.Tensor, **kwargs: Any) -> torch.Tensor:
    if not layer.kept or layer.gradient_checkpointing:
        whole_BSH: torch.Tensor = type(layer).forward(layer, hidden_BSH, **kwargs)
        return whole_BSH
    attended_BSH, _ = layer.self_attn(hidden_states=layer.input_layernorm(hidden_BSH), **kwargs)
    hidden_BKH = hidden_BSH[:, -layer.kept :] + attended_BSH[:, -layer.kept :]
    out_BKH: torch.Tensor = hidden_BKH + layer.mlp(layer.post_attention_layernorm(hidden_BKH))
    return out_BKH
