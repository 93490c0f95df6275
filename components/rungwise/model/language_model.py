"""Loads a base model with its tokenizer, and turns text into tokens.

Special tokens in the text of a row are split: a row that contains `</s>` stays text and never ends a turn.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from rungwise.core.errors import ModelError, Problem, SettingsError
from rungwise.core.progress import say
from rungwise.core.prompts import answer_text
from rungwise.core.records import Base, digest
from rungwise.core.texts import number_of
from rungwise.model.bases import base_digest, base_folder, check_writes, code_refused, local_folder, may_run_code
from rungwise.model.chat_template import render
from rungwise.model.kernels.folded import fold_inputs
from rungwise.model.kernels.last_layer import shorten

Progress = Callable[[int, int, str], None]
"""A callback for progress, called with (done, total, unit)."""

_USER = "\u241fUSER-TEXT\u241f"
"""Placeholder for the user's text, to split a chat template; no template contains it."""
_ANSWER = "\u241fASSISTANT-TEXT\u241f"
"""Placeholder for the assistant's text."""
_TURN = ({"role": "user", "content": _USER},)


@dataclass(frozen=True)
class LanguageModel:
    """A loaded base, possibly with an adapter."""

    base: Base
    digest: str
    """Digest of the base's files."""
    model: Any
    """A transformers causal language model, or PEFT's wrapper of one."""
    tokenizer: Any
    prefix: tuple[int, ...]
    """Tokens before the prompt's text: the beginning token, or the first part of the chat template."""
    suffix: tuple[int, ...]
    """Tokens between the prompt's text and the answer: none, or the second part of the chat template."""
    end: int
    """The token that training appends to an answer: the end of the assistant's turn in a chat, otherwise the end of the
    text."""
    template: str
    """`plain` or `chat`."""
    context_tokens: int
    """Maximum length of a sequence."""
    device: str
    ends: frozenset[int] = frozenset()
    """All tokens that end an answer when the model writes; `end` is always one of them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ends", self.ends | {self.end})

    def ordinary_tokens(self) -> set[int]:
        """Returns all tokens of the vocabulary except special tokens."""
        size = min(len(self.tokenizer), int(self.model.config.vocab_size))
        return set(range(size)) - set(self.tokenizer.all_special_ids)

    @property
    def template_digest(self) -> str:
        """Digest of the tokens around a row's text and of those that end an answer."""
        others = sorted(self.ends - {self.end})
        return digest([self.prefix, self.suffix, self.end, *([others] if others else [])])


def device_name() -> str:
    """Returns RUNGWISE_DEVICE if it is set, otherwise `cuda` if there is a CUDA device, otherwise `cpu`.

    Raises:
        SettingsError: torch can't use the device in RUNGWISE_DEVICE on this machine.
    """
    name = os.environ.get("RUNGWISE_DEVICE")
    if not name:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(
            Problem(
                "this machine does not have the device",
                where="environment: RUNGWISE_DEVICE",
                found=f"{name[:40]} ({str(error).splitlines()[0][:100]})",
                wanted="cpu, cuda or cuda:NUMBER",
                do="correct it, or unset it to use a CUDA device if there is one",
            )
        ) from None
    return name


def load(base: Base, root: Path, *, template: str = "plain", precision: str = "fp32") -> LanguageModel:
    """Returns the base in evaluation mode with frozen weights.

    Raises:
        ModelError: it does not exist, can't be read, does not have an end token, does not support the template, or
            needs its own code, which its hash does not allow.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    check_writes(base, root)
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
    except Exception as error:  # transformers raises a dozen kinds of errors
        if not runs_code and "trust_remote_code" in str(error):
            raise code_refused(base, folder) from None
        raise ModelError(
            Problem(
                "a base model can't be loaded",
                where=f"ladder: base {base}, {folder}",
                found=f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}",
                wanted="a causal language model that transformers supports without further code",
                do="check the folder's config.json and weights, or choose another base",
            )
        ) from None
    _check_causal(model.eval(), base, folder, device)
    fold_inputs(model)
    shorten(model)
    reader = _reader(base, tokenizer, model.config, template, _generation_ends(folder))
    return replace(reader, digest=base_digest(folder), model=model.eval().requires_grad_(False), device=device)


def _check_causal(model: Any, base: Base, folder: Path, device: str) -> None:
    """Checks that a position's logits do not depend on later tokens, as they do in an encoder.

    Raises:
        ModelError: they do.
    """
    why = ""
    try:
        with torch.inference_mode():
            first, other = (model(input_ids=torch.tensor([[0, token]], device=device)).logits[0, 0] for token in (0, 1))
        if not torch.allclose(first.float(), other.float(), atol=1e-5, rtol=1e-3, equal_nan=True):
            why = "the logits of a position depend on later tokens"
    except Exception as error:  # a model without causal logits may raise anything
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    if why:
        raise ModelError(
            Problem(
                "a base is not a causal language model",
                where=f"ladder: base {base}, {folder}",
                found=f"{type(model).__name__}: {why}",
                wanted="a model that writes from left to right, such as Llama, Qwen or GPT-2",
                do="set the rung's `method: embed` if it is an encoder; otherwise choose another base",
                setting="base",
            )
        )


def load_reader(base: Base, root: Path, *, template: str = "plain") -> LanguageModel:
    """Returns the base without weights, to turn text into tokens; it has no model, digest or device.

    It fetches nothing.

    Raises:
        ModelError: its files are not on this machine, can't be read, or do not support the template.
    """
    from transformers import AutoConfig, AutoTokenizer

    check_writes(base, root)
    folder = local_folder(base, root)
    runs_code = may_run_code(base, folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=runs_code, local_files_only=True)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=runs_code, local_files_only=True)
    except Exception as error:  # see `load`
        if not runs_code and "trust_remote_code" in str(error):
            raise code_refused(base, folder) from None
        raise ModelError(
            Problem(
                "a base model's tokenizer can't be read",
                where=f"ladder: base {base}, {folder}",
                found=f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}",
                wanted="a tokenizer and a config that transformers supports without further code",
            )
        ) from None
    return _reader(base, tokenizer, config, template, _generation_ends(folder))


def _reader(base: Base, tokenizer: Any, config: Any, template: str, ends: frozenset[int]) -> LanguageModel:
    """Returns a base with its tokenizer, without a model, digest and device; `ends`: as its generation config says."""
    if tokenizer.eos_token_id is None:
        raise ModelError(
            Problem("a tokenizer does not have an end token", where=f"ladder: base {base}", wanted="an eos_token")
        )
    prefix, suffix = _chat_parts(base, tokenizer) if template == "chat" else (_beginning(tokenizer), ())
    turn_end = _turn_end(base, tokenizer) if template == "chat" else None
    end = tokenizer.eos_token_id if turn_end is None else turn_end
    return LanguageModel(
        base=base,
        digest="",
        model=None,
        tokenizer=tokenizer,
        prefix=prefix,
        suffix=suffix,
        end=int(end),
        template=template,
        context_tokens=int(getattr(config, "max_position_embeddings", 0) or tokenizer.model_max_length),
        device="",
        ends=ends | {int(tokenizer.eos_token_id)},
    )


def _generation_ends(folder: Path) -> frozenset[int]:
    """Returns the end tokens in a base's generation_config.json: none, one or several."""
    path = folder / "generation_config.json"
    try:
        ids: Any = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id") if path.is_file() else None
    except (ValueError, AttributeError):
        return frozenset()  # transformers ignores such a file too, where it needs none
    return frozenset(i for i in (ids if isinstance(ids, list) else [ids]) if type(i) is int and i >= 0)


def _in_4_bits(base: Base, device: str) -> dict[str, Any]:
    """Returns the arguments to load a base in 4 bits (NF4: Dettmers et al., 2023, https://arxiv.org/abs/2305.14314).

    Raises:
        SettingsError: the device is not CUDA, or bitsandbytes is not installed.
    """
    from importlib.util import find_spec

    missing = "" if device.startswith("cuda") else f"device {device}"
    missing = missing or ("" if find_spec("bitsandbytes") else "no package bitsandbytes")
    if missing:
        raise SettingsError(
            Problem(
                "a base can't be loaded in 4 bits on this machine",
                where=f"base {base}, `train.precision: 4bit`",
                found=missing,
                wanted="a CUDA device and the package bitsandbytes",
                do="set `train.precision: bf16`, or use a machine with a CUDA device (`pip install bitsandbytes`)",
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
    """Returns the template's tokens before and after the user's text, so that the text can be encoded apart."""
    if not tokenizer.chat_template:
        raise ModelError(
            Problem(
                "a base model does not have a chat template",
                where=f"ladder: base {base}",
                wanted="a tokenizer with a chat template",
                do="set the rung's `template: plain`",
            )
        )
    rendered = render(tokenizer, _TURN, opens=True, where=f"ladder: base {base}")
    if rendered.fault:
        raise ModelError(
            Problem(
                "a chat template can't be used",
                where=f"ladder: base {base}",
                found=rendered.fault,
                wanted="a template for a single message of the user",
                do="set the rung's `template: plain`",
            )
        )
    if rendered.reasoning:
        marker, name = rendered.reasoning, base.name
        say(
            f"{name}: its chat template has a reasoning block ({marker}) before the answer. It is left empty and "
            "closed."
        )
    pieces = rendered.text.split(_USER)
    if len(pieces) != 2:
        raise ModelError(
            Problem(
                "a chat template does not contain the user's text exactly once",
                where=f"ladder: base {base}",
                found=number_of(len(pieces) - 1, "time"),
                do="set the rung's `template: plain`",
            )
        )
    before, after = (tuple(tokenizer(p, add_special_tokens=False).input_ids) for p in pieces)
    return before, after


def _turn_end(base: Base, tokenizer: Any) -> int | None:
    """Returns the token by which the chat template ends the assistant's turn; None if that is not a token of its own.

    A template may refuse such a conversation, or leave the assistant's text out; then the answer ends with the text.
    """
    turn = [*_TURN, {"role": "assistant", "content": _ANSWER}]
    _, found, after = render(tokenizer, turn, opens=False, where=f"ladder: base {base}").text.rpartition(_ANSWER)
    own = {*tokenizer.all_special_ids, *getattr(tokenizer, "added_tokens_decoder", ())}
    ids = tokenizer(after, add_special_tokens=False).input_ids if found else []
    return next((int(i) for i in ids if i in own), None)


def encode_prompts(lm: LanguageModel, texts: Sequence[str]) -> list[list[int]]:
    """Returns the tokens of each prompt: template, text with special tokens split, template."""
    if not texts:
        return []
    encoded = lm.tokenizer(
        list(texts), add_special_tokens=False, split_special_tokens=True, verbose=False
    ).input_ids  # not verbose: the audit counts rows that are too long
    return [[*lm.prefix, *ids, *lm.suffix] for ids in encoded]


def encode_answers(lm: LanguageModel, answers: Sequence[str]) -> list[list[int]]:
    """Returns the tokens of each answer with the end token; a chat template makes the answer a turn of its own."""
    texts = [answer_text(a) if lm.template == "plain" else a for a in answers]
    encoded = lm.tokenizer(texts, add_special_tokens=False, split_special_tokens=True).input_ids
    return [[*ids, lm.end] for ids in encoded]


def fits(lm: LanguageModel, prompt: Sequence[int], answer_tokens: int) -> bool:
    """Whether the prompt and an answer of that many tokens fit into the model's context."""
    return len(prompt) + answer_tokens <= lm.context_tokens
