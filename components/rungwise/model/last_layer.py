"""The last decoder layer computed at the positions whose logits are asked for.

What the other positions say in the last layer is their keys and values alone: nothing reads what its MLP makes of
them. A model with few layers saves the more: of seven layers about a tenth of a training step and of a prompt's
reading. Shape letters: B rows, S tokens, K tokens kept, H hidden size.
"""

import functools
import types
from typing import Any

import torch

from rungwise.model.architectures import SHORT_LAYERS


def shorten(model: Any) -> bool:
    """Makes a causal language model's last layer compute `logits_to_keep` positions only; returns whether it can.

    Names and weights do not change, nor do the logits but for rounding. Layers of another make, layers that are
    computed again in the backward pass, and compiled ones stay as they are.
    """
    layers: Any = getattr(getattr(model, "model", None), "layers", None)
    kind = type(layers[-1]) if layers else type(None)
    if kind.__name__ not in SHORT_LAYERS or not kind.__module__.startswith("transformers.models."):
        return False
    whole = type(model).forward

    @functools.wraps(whole)  # generate() reads the signature
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
    """Whether `shorten` took this model: its logits are then its hidden states times its output layer, and no more."""
    return "kept" in vars(getattr(getattr(model, "model", None), "layers", [model])[-1])


def _last_forward(layer: Any, hidden_BSH: torch.Tensor, **kwargs: Any) -> torch.Tensor:
    if not layer.kept or layer.gradient_checkpointing:
        found: torch.Tensor = type(layer).forward(layer, hidden_BSH, **kwargs)
        return found
    read_BSH, _ = layer.self_attn(hidden_states=layer.input_layernorm(hidden_BSH), **kwargs)
    hidden_BKH = hidden_BSH[:, -layer.kept :] + read_BSH[:, -layer.kept :]
    out_BKH: torch.Tensor = hidden_BKH + layer.mlp(layer.post_attention_layernorm(hidden_BKH))
    return out_BKH
