"""Computes the last decoder layer only at the positions whose logits are needed.

In the last layer, the other positions contribute only their keys and values; the output of its MLP for them is never
used. The fewer layers a model has, the more this saves: with seven layers about a tenth of a training step and of
reading a prompt. `model.architectures` says which layers can be computed so, and which modules they have.

Shape letters: B rows, S tokens, K kept tokens, H hidden size.
"""

import functools
import types
from typing import Any

import torch

from rungwise.model.architectures import SHORT_LAYERS, LayerForm


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
    layers[-1].form = SHORT_LAYERS[kind.__name__]  # kept here, because FSDP gives the layer a class of another name
    layers[-1].forward = types.MethodType(_last_forward, layers[-1])
    model.forward = types.MethodType(forward, model)
    return True


def is_short(model: Any) -> bool:
    """Whether `shorten` changed this model."""
    return "kept" in vars(getattr(getattr(model, "model", None), "layers", [model])[-1])


def _last_forward(layer: Any, hidden_BSH: torch.Tensor, **kwargs: Any) -> torch.Tensor:
    if not layer.kept or layer.gradient_checkpointing:
        whole_BSH: torch.Tensor = type(layer).forward(layer, hidden_BSH, **kwargs)
        return whole_BSH
    form = layer.form
    attended_BSH, _ = layer.self_attn(hidden_states=_through(layer, form.before_attention, hidden_BSH), **kwargs)
    attended_BKH = _through(layer, form.after_attention, attended_BSH[:, -layer.kept :])
    hidden_BKH = hidden_BSH[:, -layer.kept :] + _scaled(layer, form, attended_BKH)
    out_BKH = layer.mlp(_through(layer, form.before_mlp, hidden_BKH))
    summed_BKH: torch.Tensor = hidden_BKH + _scaled(layer, form, _through(layer, form.after_mlp, out_BKH))
    return summed_BKH


def _through(layer: Any, name: str, x: torch.Tensor) -> torch.Tensor:
    """Returns what the layer's module of that name makes of `x`; `x` itself without a name."""
    return getattr(layer, name)(x) if name else x


def _scaled(layer: Any, form: LayerForm, x: torch.Tensor) -> torch.Tensor:
    return x * getattr(layer, form.multiplier) if form.multiplier else x
