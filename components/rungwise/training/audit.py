"""What the very tokens of a training say about it, before the first step.

Most failed fine-tunes fail here, without a word: answers cut off by the context, an end that is never learnt,
characters that the tokenizer can't express. The audit reads the rows as the loop will, with its template and
tokenizer, and names what is wrong with how many of them.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from rungwise.core.errors import Problem, TrainingError
from rungwise.core.faults import LIMITS
from rungwise.core.folders import write_lines
from rungwise.core.prompts import answer_text
from rungwise.model.language_model import LanguageModel, fits

MEANINGS: Final[Mapping[str, str]] = {
    "over_context": "prompt and answer together are longer than the base can read",
    "prompt_over_context": "the prompt alone is longer than the base can read",
    "no_target": "no token carries loss",
    "empty_answer": "the answer has no token but its end",
    "cut_answer": "the answer's tokens stop before the answer does",
    "no_end": "the answer does not end with the end token, so that stopping is never learnt",
    "unknown_tokens": "characters become the tokenizer's unknown token",
    "lost_newlines": "line breaks are lost in the tokens",
    "lost_characters": "characters are lost or changed in the tokens",
    "pad_in_text": "the padding token stands for text",
    "untrained_end": "the end token's vector was never trained: an adapter can't make it likely",
    "no_assistant_part": "the chat template opens no turn for the answer",
}
SHOWN: Final = 3
"""Rows that are written out for a person to look at."""
_LIMITS: Final[Mapping[str, float]] = {str(name): limit for name, limit in LIMITS.items()}
_UNTRAINED: Final = 0.1
"""A vector with less than this share of the median length was not trained."""
_REMEDIES: Final[Mapping[str, str]] = {
    "over_context": "choose a base that reads more, or leave the longest rows out (`validate.max_words`)",
    "prompt_over_context": "choose a base that reads more, or leave the longest rows out (`validate.max_words`)",
    "unknown_tokens": "choose a base whose tokenizer knows these characters",
    "lost_newlines": "choose a base whose tokenizer keeps line breaks, or a prompt that needs none",
    "lost_characters": "choose a base whose tokenizer knows these characters",
    "pad_in_text": "give the tokenizer a padding token of its own",
    "untrained_end": "name a trained end token in the base's tokenizer_config.json (`eos_token`)",
    "no_assistant_part": "set the rung's `template: plain`, or add a part for `add_generation_prompt` to the template",
}


@dataclass(frozen=True)
class Encoded:
    """A row as text and as the tokens that the loop will see."""

    prompt_text: str
    answer: str
    prompt: Sequence[int]
    targets: Sequence[int]
    """The tokens that carry loss; the last one should be the end token."""


@dataclass(frozen=True)
class Audit:
    """What the tokens say."""

    rows: int
    tokens: int
    loss_share: float
    """Share of the tokens that carry loss."""
    faults: Mapping[str, float]
    """Fault -> share of the rows that have it (0 to 1), without those that none has."""
    where: Mapping[str, tuple[int, ...]]
    """Fault -> the first rows that have it, by their place."""

    def over(self, limits: Mapping[str, float]) -> list[str]:
        """Returns the faults above their limits."""
        return [name for name, share in self.faults.items() if share > limits.get(name, _LIMITS[name])]


def audit(lm: LanguageModel, rows: Sequence[Encoded]) -> Audit:
    """Returns what is wrong with the rows as `lm` will see them."""
    found: dict[str, list[int]] = {name: [] for name in MEANINGS}
    for place, faults in enumerate(_faults(lm, rows)):
        for name in faults:
            found[name].append(place)
    n = max(1, len(rows))
    shares = {name: len(places) / n for name, places in found.items() if places}
    if rows and _is_untrained(lm, lm.end):
        shares["untrained_end"] = 1.0
    if lm.template == "chat" and not _opens_a_turn(lm):
        shares["no_assistant_part"] = 1.0
    tokens = sum(len(row.prompt) + len(row.targets) for row in rows)
    n_targets = sum(len(row.targets) for row in rows)
    where = {name: tuple(places[:SHOWN]) for name, places in found.items() if places}
    return Audit(len(rows), tokens, round(n_targets / max(1, tokens), 6), shares, where)


def check(found: Audit, lm: LanguageModel, rows: Sequence[Encoded], limits: Mapping[str, float], shown: Path) -> None:
    """Stops where a fault is above its limit, with three rows written out in the file `shown`.

    Raises:
        TrainingError: it names the faults, their shares and limits, and the file.
    """
    over = found.over(limits)
    if not over:
        return
    places = tuple(dict.fromkeys(p for name in over for p in found.where.get(name, ())))[:SHOWN] or tuple(range(SHOWN))
    write_lines(shown, "\n\n".join(written_out(lm, rows[place]) for place in places if place < len(rows)) + "\n")
    told = [f"{MEANINGS[name]} ({name}, {found.faults[name]:.1%} of {found.rows} rows)" for name in over]
    raise TrainingError(
        Problem(
            "the tokens of the training rows are not what they should be",
            where=f"base {lm.base}, template {lm.template}",
            found="; ".join(told),
            wanted=", ".join(f"{name} at most {limits.get(name, _LIMITS[name]):.1%}" for name in over),
            do=f"{_REMEDIES.get(over[0], 'look at the rows')}; {SHOWN} rows stand in {shown}, the target in >>> <<<. "
            "A limit is `train.audit`",
        )
    )


def check_again(faults: Mapping[str, float], rows: int, limits: Mapping[str, float], where: str) -> None:
    """Stops where faults that an earlier audit counted are above the limits of now; raises TrainingError."""
    over = [name for name, share in faults.items() if share > limits.get(name, _LIMITS[name])]
    if over:
        raise TrainingError(
            Problem(
                "the tokens of rows that were trained on earlier are not what they should be by the limits of now",
                where=where,
                found="; ".join(f"{MEANINGS[name]} ({name}, {faults[name]:.1%} of {rows} rows)" for name in over),
                wanted=", ".join(f"{name} at most {limits.get(name, _LIMITS[name]):.1%}" for name in over),
                do=f"{_REMEDIES.get(over[0], 'look at the rows')}. A limit is `train.audit`",
            )
        )


def written_out(lm: LanguageModel, row: Encoded) -> str:
    """Returns a row as the tokens say it, its target between `>>>` and `<<<`."""
    prompt, target = (lm.tokenizer.decode(list(part), skip_special_tokens=False) for part in (row.prompt, row.targets))
    return f"{prompt}>>>{target}<<<"


def _faults(lm: LanguageModel, rows: Sequence[Encoded]) -> list[list[str]]:
    """Returns each row's faults."""
    prompts = _decoded(lm, [_inner(lm, row.prompt) for row in rows])
    answers = _decoded(lm, [[t for t in row.targets if t != lm.end] for row in rows])
    pad = lm.tokenizer.pad_token_id
    special = {lm.end, *lm.prefix, *lm.suffix}
    found = []
    for row, prompt, answer in zip(rows, prompts, answers, strict=True):
        wanted = row.answer if lm.template == "chat" else answer_text(row.answer)
        checks = {
            "no_target": not row.targets,
            "empty_answer": bool(row.targets) and not answer.strip(),
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
        found.append([name for name, has in checks.items() if has])
    return found


def _inner(lm: LanguageModel, prompt: Sequence[int]) -> list[int]:
    """Returns the prompt's tokens without the template's around them."""
    return list(prompt[len(lm.prefix) : len(prompt) - len(lm.suffix)])


def _decoded(lm: LanguageModel, tokens: Sequence[Sequence[int]]) -> list[str]:
    texts: list[str] = lm.tokenizer.batch_decode(
        [list(t) for t in tokens], skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    return texts


def _letters(text: str) -> str:
    """Returns the text's characters without white space, in a form that tokenizers may change."""
    return "".join(unicodedata.normalize("NFKC", text).split()).casefold()


def _lines(text: str) -> int:
    return text.strip().count("\n")


def _is_cut(found: str, wanted: str) -> bool:
    a, b = _letters(found), _letters(wanted)
    return bool(a) and len(a) < len(b) and b.startswith(a)


def _is_unknown(lm: LanguageModel, row: Encoded) -> bool:
    unknown = lm.tokenizer.unk_token_id
    if unknown is None or unknown == lm.end:
        return False
    return unknown in _inner(lm, row.prompt) or unknown in row.targets


def _is_untrained(lm: LanguageModel, token: int) -> bool:
    """Whether a token's output vector is next to nothing, or that of other tokens that stand for nothing."""
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
    texts = [
        lm.tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=opens) for opens in (False, True)
    ]
    return bool(texts[0] != texts[1])
