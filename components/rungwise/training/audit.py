"""Checks the tokens of the training rows before the first step.

Many fine-tunes fail silently because of their tokens: the context cuts answers off, the end token is never learnt, or
the tokenizer can't represent some characters. The audit reads the rows exactly as the loop will, with its template and
tokenizer, and counts the rows with each fault.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from rungwise.core.errors import Problem, TrainingError
from rungwise.core.faults import LIMITS
from rungwise.core.folders import replace_text
from rungwise.core.prompts import answer_text
from rungwise.core.texts import visible
from rungwise.model.chat_template import render
from rungwise.model.language_model import LanguageModel, fits

MEANINGS: Final[Mapping[str, str]] = {
    "over_context": "prompt and answer together exceed the base's context",
    "prompt_over_context": "the prompt alone exceeds the base's context",
    "no_target": "no token carries loss",
    "empty_answer": "the answer has no token except its end token",
    "cut_answer": "the answer's tokens end before its text",
    "no_end": "the answer does not end with the end token, so that the model never learns to stop",
    "unknown_tokens": "the tokenizer replaces characters by its unknown token",
    "lost_newlines": "line breaks are lost in the tokens",
    "lost_characters": "characters are lost or changed in the tokens",
    "pad_in_text": "the text contains the padding token",
    "untrained_end": "the end token's vector was never trained, so that an adapter can't make it likely",
    "no_assistant_part": "the chat template does not open a turn for the answer",
}
SHOWN: Final = 3
"""Number of faulty rows to write out for inspection."""
_LIMITS: Final[Mapping[str, float]] = {str(name): limit for name, limit in LIMITS.items()}
_UNTRAINED: Final = 0.1
"""A vector shorter than this share of the median length counts as untrained."""
_REMEDIES: Final[Mapping[str, str]] = {
    "over_context": "choose a base that reads more, or leave the longest rows out (`validate.max_words`)",
    "prompt_over_context": "choose a base that reads more, or leave the longest rows out (`validate.max_words`)",
    "unknown_tokens": "choose a base whose tokenizer knows these characters",
    "lost_newlines": "choose a base whose tokenizer keeps line breaks, or a prompt without line breaks",
    "lost_characters": "choose a base whose tokenizer knows these characters",
    "pad_in_text": "give the tokenizer a padding token of its own",
    "untrained_end": "set `eos_token` in the base's tokenizer_config.json to a trained end token",
    "no_assistant_part": "set the rung's `template: plain`, or make the template support `add_generation_prompt`",
}


@dataclass(frozen=True)
class Encoded:
    """A row as text and as the tokens of the training loop."""

    prompt_text: str
    answer: str
    prompt: Sequence[int]
    targets: Sequence[int]
    """The tokens that carry loss; the last should be the end token."""


@dataclass(frozen=True)
class Audit:
    """The result of an audit."""

    rows: int
    tokens: int
    loss_share: float
    """Share of the tokens that carry loss."""
    faults: Mapping[str, float]
    """Fault -> share of the rows with it, above 0 and at most 1."""
    where: Mapping[str, tuple[int, ...]]
    """Fault -> indices of the first rows with it."""

    def over(self, limits: Mapping[str, float]) -> list[str]:
        """Returns the faults above their limits; a fault without a limit has its default."""
        return [name for name, share in self.faults.items() if share > limits.get(name, _LIMITS[name])]


def audit(lm: LanguageModel, rows: Sequence[Encoded]) -> Audit:
    """Returns the faults of the rows for the tokenizer, template and context of `lm`."""
    rows_with: dict[str, list[int]] = {name: [] for name in MEANINGS}
    for index, faults in enumerate(_faults(lm, rows)):
        for name in faults:
            rows_with[name].append(index)
    n = max(1, len(rows))
    shares = {name: len(indices) / n for name, indices in rows_with.items() if indices}
    if rows and _is_untrained(lm, lm.end):
        shares["untrained_end"] = 1.0
    if lm.template == "chat" and not _opens_a_turn(lm):
        shares["no_assistant_part"] = 1.0
    tokens = sum(len(row.prompt) + len(row.targets) for row in rows)
    n_targets = sum(len(row.targets) for row in rows)
    where = {name: tuple(indices[:SHOWN]) for name, indices in rows_with.items() if indices}
    return Audit(len(rows), tokens, round(n_targets / max(1, tokens), 6), shares, where)


def check(result: Audit, lm: LanguageModel, rows: Sequence[Encoded], limits: Mapping[str, float], shown: Path) -> None:
    """Checks that every fault is within its limit; otherwise writes a few faulty rows into the file `shown`.

    Raises:
        TrainingError: a fault exceeds its limit. The message has its share and limit and the file, but no row's text.
    """
    over = result.over(limits)
    if not over:
        return
    indices = tuple(dict.fromkeys(i for name in over for i in result.where.get(name, ()))) or tuple(range(SHOWN))
    texts = [written_out(lm, rows[i]) for i in indices[:SHOWN] if i < len(rows)]
    shown.parent.mkdir(parents=True, exist_ok=True)
    replace_text(shown, visible("\n\n".join(texts)) + "\n")  # people read it in a terminal
    raise TrainingError(
        Problem(
            "the tokens of the training rows have faults",
            where=f"base {lm.base}, template {lm.template}",
            found=_listed(over, result.faults, result.rows),
            wanted=_limits_text(over, limits),
            do=f"{_REMEDIES.get(over[0], 'look at the rows')}; {SHOWN} faulty rows are in {shown}, with the target "
            "between >>> and <<<. `train.audit` sets the limits",
        )
    )


def check_again(faults: Mapping[str, float], rows: int, limits: Mapping[str, float], where: str) -> None:
    """Checks the faults that an earlier audit counted against the current limits.

    Raises:
        TrainingError: a fault exceeds its limit.
    """
    over = [name for name, share in faults.items() if share > limits.get(name, _LIMITS[name])]
    if over:
        raise TrainingError(
            Problem(
                "the tokens of a finished attempt's training rows exceed the current limits",
                where=where,
                found=_listed(over, faults, rows),
                wanted=_limits_text(over, limits),
                do=f"{_REMEDIES.get(over[0], 'look at the rows')}. `train.audit` sets the limits",
            )
        )


def _listed(names: Sequence[str], faults: Mapping[str, float], rows: int) -> str:
    return "; ".join(f"{MEANINGS[name]} ({name}, {faults[name]:.1%} of {rows} rows)" for name in names)


def _limits_text(names: Sequence[str], limits: Mapping[str, float]) -> str:
    return ", ".join(f"{name} at most {limits.get(name, _LIMITS[name]):.1%}" for name in names)


def written_out(lm: LanguageModel, row: Encoded) -> str:
    """Returns a row decoded from its tokens, with the target between `>>>` and `<<<`."""
    prompt, target = (lm.tokenizer.decode(list(part), skip_special_tokens=False) for part in (row.prompt, row.targets))
    return f"{prompt}>>>{target}<<<"


def _faults(lm: LanguageModel, rows: Sequence[Encoded]) -> list[list[str]]:
    """Returns each row's faults."""
    prompts = _decoded(lm, [_inner(lm, row.prompt) for row in rows])
    answers = _decoded(lm, [[t for t in row.targets if t != lm.end] for row in rows])
    pad = lm.tokenizer.pad_token_id
    special = {lm.end, *lm.prefix, *lm.suffix}
    faults = []
    for row, prompt, answer in zip(rows, prompts, answers, strict=True):
        wanted = row.answer if lm.template == "chat" else answer_text(row.answer)
        checks = {
            "no_target": not row.targets,
            "empty_answer": bool(row.targets and row.answer.strip()) and not answer.strip(),
            "no_end": bool(row.targets) and row.targets[-1] != lm.end,
            "cut_answer": _is_cut(answer, wanted),
            "prompt_over_context": not fits(lm, row.prompt, 1),
            "over_context": not fits(lm, row.prompt, len(row.targets)),
            "unknown_tokens": _is_unknown(lm, row),
            "pad_in_text": pad is not None and pad not in special and pad in {*row.prompt, *row.targets},
            "lost_newlines": _lines(prompt + answer) < _lines(row.prompt_text + wanted),
        }
        is_changed = _letters(prompt) != _letters(row.prompt_text) or (
            not checks["cut_answer"] and bool(answer.strip()) and _letters(answer) != _letters(wanted)
        )
        checks["lost_characters"] = is_changed and not checks["unknown_tokens"]
        faults.append([name for name, is_faulty in checks.items() if is_faulty])
    return faults


def _inner(lm: LanguageModel, prompt: Sequence[int]) -> list[int]:
    """Returns the prompt's tokens without those of the template."""
    return list(prompt[len(lm.prefix) : len(prompt) - len(lm.suffix)])


def _decoded(lm: LanguageModel, tokens: Sequence[Sequence[int]]) -> list[str]:
    texts: list[str] = lm.tokenizer.batch_decode(
        [list(t) for t in tokens], skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    return texts


def _letters(text: str) -> str:
    """Returns the text without white space, case and Unicode forms, which tokenizers may change."""
    return "".join(unicodedata.normalize("NFKC", text).split()).casefold()


def _lines(text: str) -> int:
    return text.strip().count("\n")


def _is_cut(decoded: str, wanted: str) -> bool:
    a, b = _letters(decoded), _letters(wanted)
    return bool(a) and len(a) < len(b) and b.startswith(a)


def _is_unknown(lm: LanguageModel, row: Encoded) -> bool:
    unknown = lm.tokenizer.unk_token_id
    if unknown is None or unknown == lm.end:
        return False
    return unknown in _inner(lm, row.prompt) or unknown in row.targets


def _is_untrained(lm: LanguageModel, token: int) -> bool:
    """Whether a token's output vector is close to zero, or equal to that of another special token."""
    output: Any = lm.model.get_output_embeddings() or lm.model.get_input_embeddings()
    vectors_VE = output.weight.detach()
    own_E = vectors_VE[token].float()
    others = torch.tensor(sorted(lm.ordinary_tokens()), device=vectors_VE.device)
    typical = float(vectors_VE[others].float().norm(dim=1).median())
    if float(own_E.norm()) < _UNTRAINED * typical:
        return True
    reserved = [t for t in lm.tokenizer.all_special_ids if t != token and t < len(vectors_VE)]
    return any(bool(torch.equal(vectors_VE[t].float(), own_E)) for t in reserved)


def _opens_a_turn(lm: LanguageModel) -> bool:
    turn = [{"role": "user", "content": "x"}]
    closed, opened = (render(lm.tokenizer, turn, opens=o, where=f"base {lm.base}") for o in (False, True))
    return closed != opened
