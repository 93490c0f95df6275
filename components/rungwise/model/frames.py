"""The tokens around the texts and answers of a prompt with solved examples: plain, or as turns of a chat template."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from rungwise.core.errors import ModelError, Problem
from rungwise.core.prompts import answer_text
from rungwise.model.chat_template import render
from rungwise.model.language_model import LanguageModel

_MARKS = tuple(f"\u241f{name}-TEXT\u241f" for name in ("FIRST", "ANSWER", "LAST"))
"""Placeholders for the texts of a conversation; no template contains them."""


@dataclass(frozen=True)
class Frame:
    """The tokens around the texts of a prompt: before, text, answering, answer, between, ..., last text, asking."""

    template: Literal["plain", "chat"]
    before: tuple[int, ...]
    """Before the first text."""
    answering: tuple[int, ...]
    """Between the text of an example and its answer."""
    between: tuple[int, ...]
    """Between an answer and the next text. The first of them ends an answer."""
    asking: tuple[int, ...]
    """Between the text of the row and the model's answer."""

    @property
    def end(self) -> int:
        """The token that ends an answer."""
        return self.between[0]


def frames_of(lm: LanguageModel, template: str) -> tuple[Frame, ...]:
    """Returns the frames that `template` allows: one, or with `auto` that of the chat template first, if there is one.

    `lm` is loaded with the template `plain`.

    Raises:
        ModelError: `template` is `chat`, and the base's template does not take a conversation.
    """
    chat = None if template == "plain" else _chat_frame(lm)
    if template == "chat" and chat is None:
        raise ModelError(
            Problem(
                "a chat template can't show solved examples",
                where=f"ladder: base {lm.base}",
                found="no template, or one that does not take a user's text, an answer and a second text",
                do="set the rung's `template: plain`",
            )
        )
    return tuple(frame for frame in (chat, None if template == "chat" else _plain_frame(lm)) if frame)


def _plain_frame(lm: LanguageModel) -> Frame:
    """Returns the frame of a text with an empty line after each answer."""
    answer = _ids(lm.tokenizer, "x")
    both = _ids(lm.tokenizer, "x\n\n")
    between = both[len(answer) :] if both[: len(answer)] == answer else _ids(lm.tokenizer, "\n\n")
    return Frame("plain", lm.prefix, (), tuple(between) or (lm.end,), ())


def _chat_frame(lm: LanguageModel) -> Frame | None:
    """Returns the frame of a conversation, each example a message and its answer; None if the template has none."""
    if not lm.tokenizer.chat_template:
        return None
    roles = ("user", "assistant", "user")
    turns = [{"role": role, "content": mark} for role, mark in zip(roles, _MARKS, strict=True)]
    rendered = render(lm.tokenizer, turns, opens=True, where=f"ladder: base {lm.base}")
    if rendered.fault:
        return None
    text = rendered.text
    pieces: list[tuple[int, ...]] = []
    for mark in _MARKS:
        piece, found, text = text.partition(mark)
        if not found or any(other in text for other in _MARKS[: len(pieces) + 1]):
            return None
        pieces.append(tuple(_ids(lm.tokenizer, piece)))
    before, answering, between = pieces
    return Frame("chat", before, answering, between, tuple(_ids(lm.tokenizer, text))) if between else None


def _ids(tokenizer: Any, text: str, **options: bool) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, verbose=False, **options).input_ids)


def text_tokens(lm: LanguageModel, texts: Sequence[str]) -> list[list[int]]:
    """Returns the tokens of texts of rows: special tokens in them are split, so that they never end a turn."""
    if not texts:
        return []
    encoded = lm.tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True, verbose=False)
    return [list(ids) for ids in encoded.input_ids]


def answer_tokens(lm: LanguageModel, frame: Frame, answers: Sequence[str]) -> list[list[int]]:
    """Returns the tokens of answers, with the token that ends them."""
    texts = [answer_text(answer) if frame.template == "plain" else answer for answer in answers]
    return [[*ids, frame.end] for ids in text_tokens(lm, texts)]


def solved_tokens(
    lm: LanguageModel, frame: Frame, texts: Sequence[str], answers: Sequence[str]
) -> list[tuple[int, ...]]:
    """Returns the tokens of each solved example, up to the beginning of the next text."""
    written = answer_tokens(lm, frame, answers)
    return [
        (*text, *frame.answering, *answer, *frame.between[1:])
        for text, answer in zip(text_tokens(lm, texts), written, strict=True)
    ]


def writer(lm: LanguageModel, frame: Frame) -> LanguageModel:
    """Returns the model, which begins and ends an answer as the frame does."""
    return replace(lm, end=frame.end, template=frame.template)


def stop_text(frame: Frame, template: str, answers: Sequence[str]) -> str:
    """Returns the text that ends a written answer in a plain frame, where a base continues with a made-up row.

    It is the end of the line, or an empty line and the beginning of the task's prompt if answers have several lines;
    empty in a chat, where the turn ends.
    """
    if frame.template != "plain":
        return ""
    if not any("\n" in answer.strip() for answer in answers):
        return "\n"
    head = template.partition("{")[0].strip()
    return f"\n\n{head}" if head else ""
