"""A base model with its tokenizer: load it, turn text into tokens safely.

Row text is encoded with special tokens split: a row that says `</s>` stays text and never ends a turn.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from rungwise.core.errors import ModelError, Problem, SettingsError
from rungwise.core.prompts import answer_text
from rungwise.core.records import Base, digest
from rungwise.model.bases import base_digest, base_folder, code_refused, here, may_run_code
from rungwise.model.kernels.last_layer import shorten

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what); what it does with it is the caller's choice."""

_USER = "\u241fUSER-TEXT\u241f"
"""Stands for the user's text while a chat template is taken apart; no template contains it."""


@dataclass(frozen=True)
class LanguageModel:
    """A loaded base, possibly with an adapter on it."""

    base: Base
    digest: str
    """Digest of the base's files."""
    model: Any
    """A transformers causal language model, or PEFT's wrapper of one."""
    tokenizer: Any
    prefix: tuple[int, ...]
    """Tokens before the prompt's text: the beginning token, or the chat template's first part."""
    suffix: tuple[int, ...]
    """Tokens between the prompt's text and the answer: empty, or the chat template's second part."""
    end: int
    """The token that ends an answer."""
    template: str
    """`plain` or `chat`."""
    context_tokens: int
    """The most tokens that a sequence may have."""
    device: str

    def ordinary_tokens(self) -> set[int]:
        """Returns the tokens that stand for text."""
        size = min(len(self.tokenizer), int(self.model.config.vocab_size))
        return set(range(size)) - set(self.tokenizer.all_special_ids)

    @property
    def template_digest(self) -> str:
        """Digest of everything that is put around a row's text."""
        return digest([self.prefix, self.suffix, self.end])


def device_name() -> str:
    """Returns RUNGWISE_DEVICE, otherwise `cuda` where there is one, otherwise `cpu`.

    Raises:
        SettingsError: RUNGWISE_DEVICE names nothing that torch can compute on here.
    """
    name = os.environ.get("RUNGWISE_DEVICE")
    if not name:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(
            Problem(
                "there is no such device here",
                where="environment: RUNGWISE_DEVICE",
                found=f"{name[:40]} ({str(error).splitlines()[0][:100]})",
                wanted="cpu, cuda or cuda:NUMBER",
                do="correct it, or unset it: a CUDA device is used where there is one",
            )
        ) from None
    return name


def load(base: Base, root: Path, *, template: str = "plain", precision: str = "fp32") -> LanguageModel:
    """Returns the base in evaluation mode with frozen weights.

    Raises:
        ModelError: it is not there, can't be read, has no end token, can't express the template, or needs code of its
            own that was not allowed by its hash.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    folder = base_folder(base, root)
    device = device_name()
    quantized = _in_4_bits(base, device) if precision == "4bit" else {}
    runs_code = may_run_code(base, folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=runs_code)
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.float32 if precision == "fp32" else torch.bfloat16,
            **quantized,
            trust_remote_code=runs_code,
            use_safetensors=True,
            local_files_only=True,
        )
        model = model if quantized else model.to(device)
    except Exception as error:  # transformers raises a dozen kinds; each becomes one message here
        if not runs_code and "trust_remote_code" in str(error):
            raise code_refused(base, folder) from None
        raise ModelError(
            Problem(
                "a base model can't be loaded",
                where=f"ladder: base {base}, {folder}",
                found=f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}",
                wanted="a causal language model that transformers loads without code of its own",
                do="look at the folder's config.json and weights, or name another base",
            )
        ) from None
    _check_causal(model.eval(), base, folder, device)
    shorten(model)
    read = _reader(base, tokenizer, model.config, template)
    return replace(read, digest=base_digest(folder), model=model.eval().requires_grad_(False), device=device)


def _check_causal(model: Any, base: Base, folder: Path, device: str) -> None:
    """Raises ModelError where what a position says depends on later tokens, as an encoder's does."""
    why = ""
    try:
        with torch.inference_mode():
            first, other = (model(input_ids=torch.tensor([[0, token]], device=device)).logits[0, 0] for token in (0, 1))
        if not torch.allclose(first.float(), other.float(), atol=1e-5, rtol=1e-3, equal_nan=True):
            why = "what a position says depends on the tokens behind it"
    except Exception as error:  # as models go
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    if why:
        raise ModelError(
            Problem(
                "a base is no causal language model",
                where=f"ladder: base {base}, {folder}",
                found=f"{type(model).__name__}: {why}",
                wanted="a model that writes from left to right, as Llama, Qwen or GPT-2",
                do="name another base",
            )
        )


def load_reader(base: Base, root: Path, *, template: str = "plain") -> LanguageModel:
    """Returns the base without its weights, which is enough to turn text into tokens: no model, digest or device.

    Nothing is fetched.

    Raises:
        ModelError: its files are not on this machine, can't be read, or can't express the template.
    """
    from transformers import AutoConfig, AutoTokenizer

    folder = here(base, root)
    runs_code = may_run_code(base, folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=runs_code, local_files_only=True)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=runs_code, local_files_only=True)
    except Exception as error:  # as in `load`
        if not runs_code and "trust_remote_code" in str(error):
            raise code_refused(base, folder) from None
        raise ModelError(
            Problem(
                "a base model's tokenizer can't be read",
                where=f"ladder: base {base}, {folder}",
                found=f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}",
                wanted="a tokenizer and a config that transformers loads without code of their own",
            )
        ) from None
    return _reader(base, tokenizer, config, template)


def _reader(base: Base, tokenizer: Any, config: Any, template: str) -> LanguageModel:
    """Returns a base as far as its tokenizer and config know it; raises ModelError."""
    if tokenizer.eos_token_id is None:
        raise ModelError(Problem("a tokenizer has no end token", where=f"ladder: base {base}", wanted="an eos_token"))
    prefix, suffix = _chat_parts(base, tokenizer) if template == "chat" else (_beginning(tokenizer), ())
    return LanguageModel(
        base=base,
        digest="",
        model=None,
        tokenizer=tokenizer,
        prefix=prefix,
        suffix=suffix,
        end=int(tokenizer.eos_token_id),
        template=template,
        context_tokens=int(getattr(config, "max_position_embeddings", 0) or tokenizer.model_max_length),
        device="",
    )


def _in_4_bits(base: Base, device: str) -> dict[str, Any]:
    """Returns what loads a base in 4 bits (NF4: Dettmers et al., 2023, https://arxiv.org/abs/2305.14314).

    Raises:
        SettingsError: there is no CUDA device, or bitsandbytes is not installed.
    """
    from importlib.util import find_spec

    lacking = "" if device.startswith("cuda") else f"device {device}"
    lacking = lacking or ("" if find_spec("bitsandbytes") else "no package bitsandbytes")
    if lacking:
        raise SettingsError(
            Problem(
                "a base can't be loaded in 4 bits here",
                where=f"base {base}, `train.precision: 4bit`",
                found=lacking,
                wanted="a CUDA device and the package bitsandbytes",
                do="set `train.precision: bf16`, or run where there is a CUDA device (`pip install bitsandbytes`)",
            )
        )
    from transformers import BitsAndBytesConfig

    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": settings, "device_map": {"": device}}


def _beginning(tokenizer: Any) -> tuple[int, ...]:
    ids, special = tokenizer("x").input_ids, set(tokenizer.all_special_ids)
    n = next((i for i, token in enumerate(ids) if token not in special), len(ids))
    return tuple(ids[:n])


def _chat_parts(base: Base, tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns the tokens before and after the user's text, so that the text itself can be encoded as mere text."""
    if not tokenizer.chat_template:
        raise ModelError(
            Problem(
                "a base model has no chat template",
                where=f"ladder: base {base}",
                wanted="a tokenizer with a chat template",
                do="set the rung's `template: plain`",
            )
        )
    messages = [{"role": "user", "content": _USER}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    pieces = str(text).split(_USER)
    if len(pieces) != 2:
        raise ModelError(
            Problem(
                "a chat template does not show the user's text exactly once",
                where=f"ladder: base {base}",
                found=f"{len(pieces) - 1} times",
                do="set the rung's `template: plain`",
            )
        )
    before, after = (tuple(tokenizer(p, add_special_tokens=False).input_ids) for p in pieces)
    return before, after


def encode_prompts(lm: LanguageModel, texts: Sequence[str]) -> list[list[int]]:
    """Returns each prompt's tokens: template, text with special tokens split, template."""
    if not texts:
        return []
    encoded = lm.tokenizer(
        list(texts), add_special_tokens=False, split_special_tokens=True, verbose=False
    ).input_ids  # rows that are too long are counted by the audit
    return [[*lm.prefix, *ids, *lm.suffix] for ids in encoded]


def encode_answers(lm: LanguageModel, answers: Sequence[str]) -> list[list[int]]:
    """Returns each answer's tokens with the end token after them; in a chat the answer opens its own turn."""
    texts = [answer_text(a) if lm.template == "plain" else a for a in answers]
    encoded = lm.tokenizer(texts, add_special_tokens=False, split_special_tokens=True).input_ids
    return [[*ids, lm.end] for ids in encoded]


def fits(lm: LanguageModel, prompt: Sequence[int], answer_tokens: int) -> bool:
    """Whether the prompt and an answer of that many tokens fit into the model's context."""
    return len(prompt) + answer_tokens <= lm.context_tokens
