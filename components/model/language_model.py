"""A base model with its tokenizer: load it, turn text into tokens safely, score labels by their likelihood.

Shape letters: B rows, L labels, S prompt tokens, T label tokens, V vocabulary.
Row text is encoded with special tokens split: a row that says `</s>` stays text and never ends a turn.
"""

import copy
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import log_softmax

from components.errors import ModelError, SettingsError, problem
from components.model.bases import base_digest, base_folder, code_refused, here, may_run_code
from components.prompts import answer_text
from components.records import Base, digest

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what); what it does with it is the caller's choice."""

TOKENS_AT_ONCE = 32_768
"""Prompt and label tokens in one forward pass of scoring; bounds the memory that the repeated cache takes."""
LOGITS_AT_ONCE = 2**25
"""Logits in one forward pass of scoring (128 MiB in fp32)."""
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
            problem(
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
            problem(
                "a base model can't be loaded",
                where=f"ladder: base {base}, {folder}",
                found=f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}",
                wanted="a causal language model that transformers loads without code of its own",
            )
        ) from None
    read = _reader(base, tokenizer, model.config, template)
    return replace(read, digest=base_digest(folder), model=model.eval().requires_grad_(False), device=device)


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
            problem(
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
        raise ModelError(problem("a tokenizer has no end token", where=f"ladder: base {base}", wanted="an eos_token"))
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
            problem(
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
            problem(
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
            problem(
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
    encoded = lm.tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True).input_ids
    return [[*lm.prefix, *ids, *lm.suffix] for ids in encoded]


def encode_answers(lm: LanguageModel, answers: Sequence[str]) -> list[list[int]]:
    """Returns each answer's tokens with the end token after them; in a chat the answer opens its own turn."""
    texts = [answer_text(a) if lm.template == "plain" else a for a in answers]
    encoded = lm.tokenizer(texts, add_special_tokens=False, split_special_tokens=True).input_ids
    return [[*ids, lm.end] for ids in encoded]


def fits(lm: LanguageModel, prompt: Sequence[int], answer_tokens: int) -> bool:
    """Whether the prompt and an answer of that many tokens fit into the model's context."""
    return len(prompt) + answer_tokens <= lm.context_tokens


def score_labels(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    labels: Sequence[Sequence[int]],
    *,
    progress: Progress | None = None,
) -> torch.Tensor:
    """Returns the log-likelihood of every label after every prompt, shape (prompts, labels), fp32, on the CPU.

    Each prompt is read once; its cache is repeated for the labels. Prompts go through in order of length, so
    the result's order is that of `prompts`. Everything must fit the context (see `fits`).
    """
    scores_NL = torch.empty(len(prompts), len(labels))
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    longest_label = max(len(label) for label in labels)
    done = 0
    while done < len(order):
        n_rows = _rows_at_once(len(prompts[order[done]]), longest_label, len(labels))
        rows = order[done : done + n_rows]
        with torch.inference_mode():
            scores_NL[rows] = _score_batch(lm, [prompts[i] for i in rows], labels)
        done += len(rows)
        if progress:
            progress(done, len(order), "rows scored")
    return scores_NL


@dataclass(frozen=True)
class Written:
    """An answer that a model wrote."""

    text: str
    probability: float
    """Geometric mean of its tokens' probabilities, 0 to 1."""
    is_cut: bool
    """Whether it reached the limit of tokens before its end."""


def write_answers(
    lm: LanguageModel, prompts: Sequence[Sequence[int]], max_tokens: int, *, progress: Progress | None = None
) -> list[Written]:
    """Returns what the model writes after each prompt, taking the likeliest token each time, to the end token.

    At most `max_tokens` tokens an answer, the end token among them; everything must fit the context (see `fits`).
    Prompts go through in order of length; a row that ended leaves its batch.
    """
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    written: list[Written | None] = [None] * len(prompts)
    done = 0
    while done < len(order):
        longest = len(prompts[order[min(done + 63, len(order) - 1)]])
        rows = order[done : done + max(1, min(64, TOKENS_AT_ONCE // (longest + max_tokens)))]
        with torch.inference_mode():
            found = _write_batch(lm, [prompts[i] for i in rows], max_tokens)
        for i, (ids, total, is_cut) in zip(rows, found, strict=True):
            text = str(lm.tokenizer.decode(ids, skip_special_tokens=False)).strip()
            written[i] = Written(text, round(math.exp(total / max(1, len(ids) + (not is_cut))), 6), is_cut)
        done += len(rows)
        if progress:
            progress(done, len(order), "answers written")
    return [w for w in written if w is not None]


def _write_batch(
    lm: LanguageModel, prompts: list[Sequence[int]], max_tokens: int
) -> list[tuple[list[int], float, bool]]:
    """Returns each row's tokens without the end token, their summed log-probability, and whether it was cut."""
    ids, mask = _left_padded(lm, prompts)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    rows = list(range(len(prompts)))
    tokens: list[list[int]] = [[] for _ in prompts]
    totals, is_cut, cache = [0.0] * len(prompts), [True] * len(prompts), None
    for _ in range(max_tokens):
        out = lm.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        best_B = log_softmax(out.logits[:, -1].float(), dim=-1).max(-1)
        going = []
        chosen = zip(best_B.indices.tolist(), best_B.values.tolist(), strict=True)
        for place, (row, (token, log_share)) in enumerate(zip(rows, chosen, strict=True)):
            totals[row] += log_share
            if token == lm.end:
                is_cut[row] = False
            else:
                tokens[row].append(token)
                going.append(place)
        if not going:
            break
        cache = out.past_key_values
        keep = torch.tensor(going, device=lm.device)
        if len(going) < len(rows):
            cache.batch_select_indices(keep)
            rows = [rows[place] for place in going]
        ids = best_B.indices[keep][:, None]
        mask = torch.cat([mask[keep], torch.ones_like(ids)], dim=1)
        positions = positions[keep][:, -1:] + 1
    return list(zip(tokens, totals, is_cut, strict=True))


def _left_padded(lm: LanguageModel, prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns ids and attention mask of prompts, shape (B, S), padded on the left."""
    width = max(len(p) for p in prompts)
    ids_BS = torch.tensor([[lm.end] * (width - len(p)) + list(p) for p in prompts], device=lm.device)
    lengths_B = torch.tensor([len(p) for p in prompts], device=lm.device)
    return ids_BS, (torch.arange(width, device=lm.device) >= (width - lengths_B)[:, None]).long()


def _rows_at_once(prompt_tokens: int, label_tokens: int, n_labels: int) -> int:
    return max(1, min(64, TOKENS_AT_ONCE // ((prompt_tokens + label_tokens) * n_labels)))


def _score_batch(lm: LanguageModel, prompts: list[Sequence[int]], labels: Sequence[Sequence[int]]) -> torch.Tensor:
    ids_BS, mask_BS = _left_padded(lm, prompts)
    lengths_B = mask_BS.sum(1)
    out = lm.model(
        input_ids=ids_BS,
        attention_mask=mask_BS,
        position_ids=(mask_BS.cumsum(1) - 1).clamp(min=0),
        use_cache=True,
        logits_to_keep=1,
    )
    first_BV = log_softmax(out.logits[:, -1].float(), dim=-1)
    starts_L = torch.tensor([label[0] for label in labels], device=lm.device)
    scores_BL = first_BV[:, starts_L].cpu()
    vocabulary, longest = first_BV.shape[1], max(len(label) for label in labels)
    if longest == 1:
        return scores_BL
    step = max(1, LOGITS_AT_ONCE // (vocabulary * longest * len(prompts)))
    for at in range(0, len(labels), step):
        chunk = labels[at : at + step]
        cache = copy.deepcopy(out.past_key_values) if len(labels) > step else out.past_key_values
        scores_BL[:, at : at + step] += _score_rest(lm, cache, mask_BS, lengths_B, chunk).cpu()
    return scores_BL


def _score_rest(
    lm: LanguageModel, cache: Any, mask_BS: torch.Tensor, lengths_B: torch.Tensor, labels: Sequence[Sequence[int]]
) -> torch.Tensor:
    """Returns the log-likelihood of each label's tokens after the first, shape (B, L)."""
    n_rows, n_labels = len(lengths_B), len(labels)
    width = max(2, *(len(label) for label in labels))
    padded_LT = torch.tensor([[*label, *[lm.end] * (width - len(label))] for label in labels], device=lm.device)
    real_LT = torch.tensor([[t < len(label) for t in range(width)] for label in labels], device=lm.device)
    cache.batch_repeat_interleave(n_labels)
    inputs_XT = padded_LT[:, :-1].repeat(n_rows, 1)
    mask_XT = real_LT[:, :-1].long().repeat(n_rows, 1)
    out = lm.model(
        input_ids=inputs_XT,
        attention_mask=torch.cat([mask_BS.repeat_interleave(n_labels, 0), mask_XT], dim=1),
        position_ids=lengths_B.repeat_interleave(n_labels)[:, None] + torch.arange(width - 1, device=lm.device),
        past_key_values=cache,
        use_cache=True,
    )
    targets_XT1 = padded_LT[:, 1:].repeat(n_rows, 1)[..., None]
    picked_XT = log_softmax(out.logits.float(), dim=-1).gather(-1, targets_XT1)[..., 0]
    return (picked_XT * real_LT[:, 1:].repeat(n_rows, 1)).sum(1).view(n_rows, n_labels)
