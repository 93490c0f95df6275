"""Attention to a shared prefix that is kept once, while a model answers on a CPU.

Copied for each row, a prefix of 1,100 tokens takes far more memory than what the rows have of their own, and each new
token copies it again. Here a layer's cache holds it once. The queries of all rows attend to it together, then to the
tokens of their own row, and the two results are joined by the logarithms of their summed exponentials, as in Hydragen
(Juravsky et al., 2024, https://arxiv.org/abs/2402.05099). Results are equal up to rounding.

Shape letters: B rows, H query heads, G key heads of M = H / G queries each, S query tokens, T own keys, F tokens of the
prefix, D head size.
"""

from typing import Any

import torch
from transformers.cache_utils import DynamicLayer

_NOT_HERE = ("softcap", "position_bias", "cache", "s_aux")
"""Arguments of an attention for which the prefix is copied to each row."""
_flash = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
"""torch's attention on a CPU, which also returns the logarithms of the summed exponentials."""


class PrefixLayer(DynamicLayer):  # type: ignore[misc]  # transformers is not followed by mypy
    """The cache of one layer: keys and values of the prefix once, and of each row's own tokens."""

    def __init__(self, keys_1GFD: torch.Tensor, values_1GFD: torch.Tensor) -> None:
        super().__init__()
        self.prefix = keys_1GFD, values_1GFD

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> Any:
        """Adds new tokens; returns the own tokens of all rows, whose keys carry the prefix to `attend`."""
        keys_BGTD, values_BGTD = super().update(key_states, value_states)
        keys_BGTD.shared_prefix = self.prefix
        return keys_BGTD, values_BGTD

    def get_seq_length(self) -> int:
        """Returns the number of tokens of a row, the prefix included."""
        own: int = self.keys.shape[-2] if self.is_initialized else 0
        return int(self.prefix[0].shape[-2]) + own

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keeps these rows."""
        if self.is_initialized:
            super().batch_select_indices(indices)


def can_keep_once(model: Any, device: str) -> bool:
    """Whether this model's attention can read a prefix that is kept once, here and now: no gradients are computed."""
    is_here = _flash is not None and device == "cpu" and not torch.is_grad_enabled()
    config = getattr(model, "config", None)  # a wrapper for several processes has none
    return is_here and getattr(config, "_attn_implementation", "") == "sdpa"


def ensure_attention() -> None:
    """Makes transformers' `sdpa` attention read such prefixes; without one it computes what it did before."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    whole = ALL_ATTENTION_FUNCTIONS["sdpa"]
    if getattr(whole, "reads_prefix", False):
        return

    def attention(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **settings: Any) -> Any:
        prefix = getattr(key, "shared_prefix", None)
        if prefix is None:
            return whole(module, query, key, value, attention_mask, **settings)
        if settings.get("dropout") or any(settings.get(name) is not None for name in _NOT_HERE):
            key, value = (
                torch.cat([one.expand(len(own), -1, -1, -1), own], dim=2)
                for one, own in zip(prefix, (key, value), strict=True)
            )
            return whole(module, query, key, value, attention_mask, **settings)
        scale = settings.get("scaling") or query.shape[-1] ** -0.5
        out_BHSD = attend(query, key, value, prefix, attention_mask, scale)
        return out_BHSD.transpose(1, 2).contiguous(), None

    attention.reads_prefix = True  # type: ignore[attr-defined]
    ALL_ATTENTION_FUNCTIONS.register("sdpa", attention)


def attend(
    query_BHSD: torch.Tensor,
    key_BGTD: torch.Tensor,
    value_BGTD: torch.Tensor,
    prefix: tuple[torch.Tensor, torch.Tensor],
    mask: torch.Tensor | None,
    scale: float,
) -> torch.Tensor:
    """Returns the attention of every query to the prefix and to its row's own tokens, shape (B, H, S, D).

    Args:
        query_BHSD: the queries.
        key_BGTD: keys of the own tokens; the last S are the queries' tokens.
        value_BGTD: their values.
        prefix: keys and values of the prefix, shape (1, G, F, D).
        mask: True, or 0 if it is not boolean, where a query sees a key, shape (B or 1, 1, S, F + T). All queries see
            the whole prefix. None: of its own row, a query sees all tokens up to itself.
        scale: the factor of the products.
    """
    assert _flash is not None  # `can_keep_once`
    n_rows, heads, tokens, size = query_BHSD.shape
    groups, together = key_BGTD.shape[1], heads // key_BGTD.shape[1]
    query_BGQD = query_BHSD.reshape(n_rows, groups, together * tokens, size)
    query_1GRD = query_BGQD.transpose(0, 1).reshape(1, groups, -1, size)
    shared_1GRD, shared_sums_1GR = _flash(query_1GRD, *prefix, scale=scale)
    mask_BQT = _own_mask(query_BHSD, key_BGTD, mask).repeat(1, 1, together, 1)
    own_BGQD, own_sums_BGQ = _flash(query_BGQD, key_BGTD, value_BGTD, attn_mask=mask_BQT, scale=scale)
    shared_BGQD = shared_1GRD.reshape(groups, n_rows, -1, size).transpose(0, 1)
    shared_sums_BGQ = shared_sums_1GR.reshape(groups, n_rows, -1).transpose(0, 1)
    share_BGQ1 = torch.sigmoid(shared_sums_BGQ.float() - own_sums_BGQ.float()).unsqueeze(-1)
    joined = torch.lerp(own_BGQD.float(), shared_BGQD.float(), share_BGQ1)
    return joined.to(query_BHSD.dtype).reshape(query_BHSD.shape)


def _own_mask(query_BHSD: torch.Tensor, key_BGTD: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Returns what is added to the products with a row's own keys, shape (B or 1, 1, S, T)."""
    tokens, keys = query_BHSD.shape[2], key_BGTD.shape[2]
    itself = torch.ones(tokens, keys, dtype=torch.bool).tril(keys - tokens)
    if mask is not None:
        # a padding token sees nothing of its own row; it is made to see itself, so that it does not become NaN
        own = mask[..., -keys:]
        itself = (own if own.dtype == torch.bool else own == 0) | (itself & ~itself.tril(keys - tokens - 1))
    added = torch.zeros(itself.shape, dtype=query_BHSD.dtype).masked_fill_(~itself, -torch.inf)
    return added if added.dim() == 4 else added[None, None]
