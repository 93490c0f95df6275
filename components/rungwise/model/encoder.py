"""A frozen encoder: a base that turns a text into one vector.

The base is read by transformers' AutoModel from safetensors, and no code of its own is run. Pooling, normalisation and
the longest input are those of the base's sentence-transformers files, where it has them
(https://sbert.net/docs/sentence_transformer/usage/custom_models.html). Otherwise a vector is the mean of the last
hidden states, also for a causal language model.
Shape letters: B texts, S tokens, D elements of a vector.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from rungwise.core.errors import ModelError, Problem
from rungwise.core.folders import joined
from rungwise.core.records import Base
from rungwise.model.bases import MODULES, POOLING, SENTENCE, base_digest, base_folder
from rungwise.model.language_model import device_name

POOLINGS: Final = ("mean", "cls", "max", "lasttoken")
"""The supported ways to make one vector of the last hidden states, by their names in sentence-transformers."""
_OFFSET_POSITIONS: Final = ("roberta", "xlm-roberta", "camembert", "mpnet", "xlm-roberta-xl")
"""Model types whose first position is the padding token's number plus one, so that a text has fewer than the config
says."""
_MANY = 10**6
"""A tokenizer without a limit of its own says a number above this one."""


@dataclass(frozen=True)
class Encoder:
    """A loaded encoder in evaluation mode."""

    base: Base
    digest: str
    """Digest of the base's files."""
    model: Any
    tokenizer: Any
    pooling: str
    """One of POOLINGS."""
    is_normalized: bool
    """Whether the base's own files scale every vector to length 1."""
    is_causal: bool
    """Whether it is a causal language model: no state depends on later tokens."""
    max_tokens: int
    """Longer texts are cut, special tokens included."""
    device: str
    left_out: tuple[str, ...] = ()
    """Modules after the pooling that the base's own files name and that are not applied."""

    @property
    def parameters(self) -> int:
        """Parameters that a vector depends on."""
        return sum(p.numel() for name, p in self.model.named_parameters() if not name.startswith("pooler."))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of results should know about the vectors."""
        notes = []
        if self.is_causal:
            how = {"mean": "the mean of its last hidden states", "lasttoken": "the last hidden state of its last token"}
            vector = how.get(self.pooling, f"its last hidden states ({self.pooling} pooling)")
            notes.append(f"{self.base} is a causal language model: a text's vector is {vector}")
        if self.left_out:
            notes.append(f"{self.base}: after the pooling, these modules are not applied: {joined(self.left_out)}")
        return tuple(notes)

    def encode(self, texts: Sequence[str]) -> tuple[list[list[int]], list[int]]:
        """Returns the tokens of each text, and the indices of the texts that were cut.

        Special tokens in a text are split, so that they stay text.
        """
        if not texts:
            return [], []
        ids = self._tokens(texts, max_length=self.max_tokens)
        full = [i for i, one in enumerate(ids) if len(one) >= self.max_tokens]
        whole = self._tokens([texts[i] for i in full]) if full else []
        return ids, [i for i, one in zip(full, whole, strict=True) if len(one) > self.max_tokens]

    def _tokens(self, texts: Sequence[str], max_length: int | None = None) -> list[list[int]]:
        how = {"truncation": True, "max_length": max_length} if max_length else {}
        encoded = self.tokenizer(list(texts), split_special_tokens=True, verbose=False, **how).input_ids
        empty = next((i for i in (self.tokenizer.eos_token_id, self.tokenizer.pad_token_id) if i is not None), 0)
        return [ids or [empty] for ids in encoded]  # a tokenizer without special tokens makes none of an empty text

    def embed(self, ids: Sequence[Sequence[int]]) -> torch.Tensor:
        """Returns the vectors of one batch of tokens, shape (B, D), fp32, on the CPU.

        Raises:
            ModelError: a vector is not finite.
        """
        longest = max(map(len, ids))
        ids_BS, mask_BS = (torch.zeros(len(ids), longest, dtype=torch.long) for _ in range(2))
        for row, one in enumerate(ids):
            ids_BS[row, : len(one)] = torch.tensor(one)
            mask_BS[row, : len(one)] = 1
        with torch.inference_mode():
            states_BSD = _states(self.model, ids_BS.to(self.device), mask_BS.to(self.device)).float()
            vectors_BD = _pooled(self.pooling, states_BSD, mask_BS.to(self.device))
            if self.is_normalized:
                vectors_BD = torch.nn.functional.normalize(vectors_BD, dim=1)
        if not bool(torch.isfinite(vectors_BD).all()):
            raise ModelError(
                Problem(
                    "a base gives vectors that are not finite",
                    where=f"ladder: base {self.base}, {self.model.dtype}",
                    found="NaN or infinity in a text's vector",
                    wanted="finite numbers",
                    do="set `train.precision: fp32` if it is not, check the weights, or choose another base",
                )
            )
        return vectors_BD.cpu()


def _states(model: Any, ids_BS: torch.Tensor, mask_BS: torch.Tensor) -> torch.Tensor:
    states: torch.Tensor = model(input_ids=ids_BS, attention_mask=mask_BS).last_hidden_state
    return states


def _pooled(pooling: str, states_BSD: torch.Tensor, mask_BS: torch.Tensor) -> torch.Tensor:
    """Returns one vector for each text; padding is on the right."""
    mask_BS1 = mask_BS.unsqueeze(-1)
    if pooling == "cls":
        return states_BSD[:, 0]
    if pooling == "max":
        return states_BSD.masked_fill(mask_BS1 == 0, -torch.inf).amax(1)
    if pooling == "lasttoken":
        return states_BSD[torch.arange(len(states_BSD), device=states_BSD.device), mask_BS.sum(1) - 1]
    return (states_BSD * mask_BS1).sum(1) / mask_BS1.sum(1)


def load_encoder(base: Base, root: Path, *, precision: str = "fp32") -> Encoder:
    """Returns the base as a frozen encoder: fp32 weights with precision `fp32`, otherwise bf16.

    Raises:
        ModelError: it does not exist, can't be read without code of its own, lacks weights, or does not give vectors
            for texts.
    """
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    folder, device = base_folder(base, root), device_name()
    tokenizer = load_tokenizer(base, folder)
    try:
        model, loading = AutoModel.from_pretrained(
            folder,
            dtype=torch.float32 if precision == "fp32" else torch.bfloat16,
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except Exception as error:  # transformers raises a dozen kinds of errors
        raise _not_an_encoder(base, folder, _line(error)) from None
    if missing := sorted(name for name in loading["missing_keys"] if "pooler" not in name):
        raise _not_an_encoder(base, folder, f"weights without {joined(missing, 3)}", "all weights of the architecture")
    if getattr(model.config, "is_encoder_decoder", False):
        raise _not_an_encoder(base, folder, f"{type(model).__name__}, an encoder-decoder")
    model.config.use_cache = False
    model = model.eval().requires_grad_(False).to(device)
    pooling, is_normalized, left_out = read_modules(base, folder)
    return Encoder(
        base=base,
        digest=base_digest(folder),
        model=model,
        tokenizer=tokenizer,
        pooling=pooling,
        is_normalized=is_normalized,
        is_causal=_is_causal(model, base, folder, device),
        max_tokens=max_tokens(folder, tokenizer, model.config),
        device=device,
        left_out=left_out,
    )


def load_tokenizer(base: Base, folder: Path) -> Any:
    """Returns the base's tokenizer.

    Raises:
        ModelError: it can't be read without code of its own.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # see `load_encoder`
        raise _not_an_encoder(base, folder, _line(error), "a tokenizer that transformers supports") from None


def max_tokens(folder: Path, tokenizer: Any, config: Any) -> int:
    """Returns the most tokens of a text: the smallest of the limits of its files."""
    limits = [_values(folder / SENTENCE).get("max_seq_length"), tokenizer.model_max_length]
    if positions := getattr(config, "max_position_embeddings", None):
        offset = (config.pad_token_id or 0) + 1 if config.model_type in _OFFSET_POSITIONS else 0
        limits.append(positions - offset)
    known = [int(limit) for limit in limits if isinstance(limit, int) and 0 < limit < _MANY]
    return min(known, default=512)


def read_modules(base: Base, folder: Path) -> tuple[str, bool, tuple[str, ...]]:
    """Returns the pooling of a base's files, whether they normalise vectors, and other modules after the pooling.

    Raises:
        ModelError: the pooling is not one of POOLINGS.
    """
    own = _values(folder / POOLING)
    chosen = [name.removesuffix("_token").removesuffix("_tokens") for name in _pooling_modes(own)] or ["mean"]
    if len(chosen) > 1 or chosen[0] not in POOLINGS:
        raise ModelError(
            Problem(
                "a base has a pooling that is not supported",
                where=f"ladder: base {base}, {folder / POOLING}",
                found=joined(chosen),
                wanted="one of " + joined(POOLINGS),
                do="choose another base",
            )
        )
    modules = _values(folder / MODULES)
    kinds = [str(m.get("type", "")).rpartition(".")[2] for m in modules if isinstance(m, dict)] if modules else []
    others = tuple(kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize"))
    return chosen[0], "Normalize" in kinds, others


def _pooling_modes(own: Any) -> list[str]:
    """Returns the modes that a pooling's config names: as one value, or as a flag for each."""
    if isinstance(own.get("pooling_mode"), str):
        return [own["pooling_mode"]]
    prefix = "pooling_mode_"
    return [name.removeprefix(prefix) for name, is_on in own.items() if name.startswith(prefix) and is_on is True]


def _values(path: Path) -> Any:
    """Returns the value of a JSON file; nothing if the base does not have it."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _is_causal(model: Any, base: Base, folder: Path, device: str) -> bool:
    """Returns whether the first state does not depend on the second token.

    Raises:
        ModelError: the model does not give a state for each token.
    """
    mask_BS = torch.ones(1, 2, dtype=torch.long, device=device)
    try:
        with torch.inference_mode():
            first, other = (
                _states(model, torch.tensor([[0, token]], device=device), mask_BS)[0, 0] for token in (0, 1)
            )
    except Exception as error:  # a model of another kind may raise anything
        raise _not_an_encoder(base, folder, f"{type(model).__name__}: {_line(error)}") from None
    return bool(torch.allclose(first.float(), other.float(), atol=1e-7, rtol=1e-5, equal_nan=True))


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"


def _not_an_encoder(base: Base, folder: Path, found: str, wanted: str = "") -> ModelError:
    return ModelError(
        Problem(
            "a base can't be used as a frozen encoder",
            where=f"ladder: base {base}, {folder}",
            found=found,
            wanted=wanted
            or "an encoder such as BERT, or a causal language model, that transformers supports without further code",
            do="choose another base for method embed",
        )
    )
