"""The prefix that all prompts of a task share, computed once for all rows.

Every prompt of a task starts with the same instruction or solved examples. In a causal model their keys and values do
not depend on what follows, so they are computed once and put before those of each row: when labels are scored, when
answers are written, and in training, where the gradients of all rows add up in them.

Shape letters: B rows, S tokens of a whole prompt, F of them shared, W = S - F a row's own, padded on the left.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rungwise.model.architectures import architecture, has_fixed_rotary

MIN_SHARED_TOKENS = 32
"""A shorter prefix is computed with each row, as a separate pass through the model would cost more."""


@dataclass(frozen=True)
class SharedPrefix:
    """The shared prefix of several prompts, computed once."""

    tokens: int
    cache: Any
    """Their keys and values: a DynamicCache of one row."""
    is_kept_once: bool = False
    """Whether the rows read it where it is (see `prefix_attention`); otherwise it is copied to each of them."""

    @property
    def copied_tokens(self) -> int:
        """Tokens of the prefix that each row's cache holds."""
        return 0 if self.is_kept_once else self.tokens

    def of(self, n_rows: int) -> Any:
        """Returns a cache for `n_rows` rows that begins with the prefix; the original does not change."""
        from rungwise.model.kernels.prefix_attention import PrefixLayer, ensure_attention

        grown = copied(self.cache)
        if self.is_kept_once:
            ensure_attention()
            grown.layers = [PrefixLayer(layer.keys, layer.values) for layer in grown.layers]
            return grown
        for layer in grown.layers:
            layer.keys = layer.keys.expand(n_rows, -1, -1, -1)
            layer.values = layer.values.expand(n_rows, -1, -1, -1)
        return grown


def shared_tokens(prompts: Sequence[Sequence[int]]) -> int:
    """Returns the length of the shared prefix; 0 if it is below MIN_SHARED_TOKENS, or for fewer than two prompts.

    The last token of a prompt never counts as shared.
    """
    if len(prompts) < 2:
        return 0
    # the first and last prompt in sorted order: the prompts between them share at least the same prefix
    first, last = min(prompts, key=tuple), max(prompts, key=tuple)
    most = min(len(prompt) for prompt in prompts) - 1
    n = next((i for i, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), most)
    return n if MIN_SHARED_TOKENS <= (n := min(n, most)) else 0


def can_share(config: Any) -> bool:
    """Whether a base with this config reads shared tokens once.

    Its architecture allows it (see `architectures`), every layer attends to all tokens, and its rotary angles do not
    depend on the longest row of a batch.
    """
    from transformers.cache_utils import DynamicCache, DynamicLayer

    if not architecture(config.model_type).can_share_prefix or not has_fixed_rotary(config.to_dict()):
        return False
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=config).layers)


def read_prefix(model: Any, ids: Sequence[int], device: str) -> SharedPrefix:
    """Returns the prefix `ids` as computed by `model`, whose config satisfies `can_share`."""
    from rungwise.model.kernels.prefix_attention import can_keep_once

    ids_1F = torch.tensor([list(ids)], device=device)
    out = model(
        input_ids=ids_1F,
        attention_mask=torch.ones_like(ids_1F),
        position_ids=torch.arange(len(ids), device=device)[None],
        use_cache=True,
        logits_to_keep=1,
    )
    return SharedPrefix(len(ids), out.past_key_values, can_keep_once(model, device))


def padded(
    rows: Sequence[Sequence[int]], prefix: SharedPrefix | None, *, pad: int, device: str
) -> dict[str, torch.Tensor | Any]:
    """Returns a model's inputs for whole rows of tokens: ids (B, W), mask (B, S), positions (B, W), cache or None.

    Rows are padded on the left, after the shared tokens.
    """
    n_shared = prefix.tokens if prefix else 0
    width = max(len(row) for row in rows) - n_shared
    ids_BW = torch.tensor([[pad] * (width - len(row) + n_shared) + list(row[n_shared:]) for row in rows], device=device)
    lengths_B1 = torch.tensor([[len(row) - n_shared] for row in rows], device=device)
    mask_BW = (torch.arange(width, device=device) >= width - lengths_B1).long()
    mask_BS = torch.cat([mask_BW.new_ones(len(rows), n_shared), mask_BW], dim=1)
    return {
        "input_ids": ids_BW,
        "attention_mask": mask_BS,
        "position_ids": (mask_BS.cumsum(1) - 1).clamp(min=0)[:, n_shared:],
        "past_key_values": prefix.of(len(rows)) if prefix else None,
    }


def copied(cache: Any) -> Any:
    """Returns a copy of a cache; extending the copy does not change the original."""
    from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

    from rungwise.model.kernels.prefix_attention import PrefixLayer

    kinds = (DynamicLayer, DynamicSlidingWindowLayer, PrefixLayer)
    if type(cache) is DynamicCache and all(type(c) in kinds for c in cache.layers):
        grown = copy.copy(cache)
        grown.layers = [copy.copy(layer) for layer in cache.layers]  # extending a layer replaces its tensors
        return grown
    return copy.deepcopy(cache)
