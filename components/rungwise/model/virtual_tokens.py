"""Prompt and prefix tuning: trainable vectors before every text, independent of a batch's padding.

A base wrapped in VirtualTokens is called like the base itself. Padding on the left comes between the virtual tokens and
the text, and positions are explicit, so that a row's answer does not depend on the other rows of its batch. State and
settings have the format of PEFT's methods of the same name.

Shape letters: B rows, S tokens of a text, P virtual tokens, L layers, H key heads, D head size, E hidden size.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

KEY = "prompt_embeddings"


def settings_of(method: str, n: int) -> dict[str, Any]:
    """Returns PEFT's settings of `n` virtual tokens."""
    import peft

    kind = peft.PromptTuningConfig if method == "prompt-tuning" else peft.PrefixTuningConfig
    return dict(kind(task_type=peft.TaskType.CAUSAL_LM, num_virtual_tokens=n).to_dict())


class VirtualTokens(torch.nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """A causal language model with `n` trainable virtual tokens before its text."""

    def __init__(self, base: Any, method: str, n: int, tokens: Sequence[int]) -> None:
        """Starts from random real tokens out of `tokens`: from their embeddings, or their keys and values."""
        super().__init__()
        self.base, self.method, self.n = base, method, n
        chosen_1P = torch.tensor(tokens)[torch.randint(len(tokens), (1, n))].to(base.device)
        with torch.no_grad():
            if method == "prompt-tuning":
                start = base.get_input_embeddings()(chosen_1P)[0]
            else:
                cache = base(input_ids=chosen_1P, use_cache=True).past_key_values
                pairs_L2 = [(layer.keys, layer.values) for layer in cache.layers]
                stacked = torch.stack([t[0] for pair in pairs_L2 for t in pair])  # 2L, H, P, D
                start = stacked.permute(2, 0, 1, 3).reshape(n, -1)
        self.prompt = torch.nn.Parameter(start.detach().float().clone())
        """Prompt tuning: (P, E). Prefix tuning: (P, 2 L H D), for each layer the keys and then the values."""

    @classmethod
    def of(cls, base: Any, settings: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> "VirtualTokens":
        """Returns the base with virtual tokens from what `state` and `settings` returned.

        Raises:
            ValueError: the weights do not match the settings or the base.
        """
        method = str(settings["peft_type"]).lower().replace("_", "-")
        made = cls(base, method, int(settings["num_virtual_tokens"]), (0,))
        if set(weights) != {KEY} or weights[KEY].shape != made.prompt.shape:
            shapes = {name: tuple(value.shape) for name, value in weights.items()}
            raise ValueError(f"found {shapes}, wanted {KEY} of shape {tuple(made.prompt.shape)}")
        made.prompt.data.copy_(weights[KEY])
        return made

    def state(self) -> dict[str, torch.Tensor]:
        """Returns the trainable parameters under PEFT's name."""
        return {KEY: self.prompt}

    def settings(self) -> dict[str, Any]:
        """Returns PEFT's settings of the method."""
        return settings_of(self.method, self.n)

    @property
    def config(self) -> Any:
        """The base's config."""
        return self.base.config

    @property
    def dtype(self) -> Any:
        """The base's number type."""
        return self.base.dtype

    @property
    def device(self) -> Any:
        """The base's device."""
        return self.base.device

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Any = None,
        logits_to_keep: int = 0,
        **more: Any,
    ) -> Any:
        """Calls the base. Masks, positions and logits (B, S or fewer, vocabulary) are those of the text alone."""
        n_rows, n_tokens = input_ids.shape
        n_cached = past_key_values.get_seq_length() - self.n if past_key_values is not None else 0
        if attention_mask is None:
            attention_mask = input_ids.new_ones(n_rows, max(0, n_cached) + n_tokens)
        if position_ids is None:
            position_ids = torch.arange(n_tokens, device=input_ids.device)[None] + max(0, n_cached)
        mask = torch.cat([attention_mask.new_ones(n_rows, self.n), attention_mask], 1)
        positions = position_ids.expand(n_rows, -1) + self.n
        inputs: dict[str, Any] = {"input_ids": input_ids}
        is_start = past_key_values is None
        if is_start and self.method == "prefix-tuning":
            past_key_values = self._cache(n_rows)
        elif is_start:
            embed = self.base.get_input_embeddings()
            prompt = self.prompt.to(embed.weight.dtype).expand(n_rows, -1, -1)
            inputs = {"inputs_embeds": torch.cat([prompt, embed(input_ids)], 1)}
            own = torch.arange(self.n, device=input_ids.device).expand(n_rows, -1)
            positions = torch.cat([own, positions], 1)
        out = self.base(
            **inputs,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=past_key_values,
            logits_to_keep=logits_to_keep,
            **more,
        )
        if out.logits.shape[1] > n_tokens:
            out.logits = out.logits[:, -n_tokens:]
        return out

    def _cache(self, n_rows: int) -> Any:
        from transformers import DynamicCache

        config = self.base.config
        n_layers = config.num_hidden_layers
        parts = self.prompt.to(self.base.dtype).view(self.n, 2 * n_layers, -1, self._head_size()).permute(1, 2, 0, 3)
        cache = DynamicCache()
        for layer in range(n_layers):
            keys, values = (parts[2 * layer + i].expand(n_rows, -1, -1, -1) for i in (0, 1))
            cache.update(keys, values, layer)
        return cache

    def _head_size(self) -> int:
        config = self.base.config
        return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
