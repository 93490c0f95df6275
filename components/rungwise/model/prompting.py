"""A base that is not trained, at its best: an instruction, solved examples, label words and calibrated labels.

What a form leaves open is chosen on training rows by `model.prompt_choice`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch

from rungwise.core.instructions import instruction, label_words
from rungwise.core.prompts import fill, prompt_text, slots
from rungwise.core.records import AttemptSpec, Example, Prediction, Prompting, prediction_of
from rungwise.model.answers import score_labels, write_answers
from rungwise.model.constrain import Constraint, constraint_of
from rungwise.model.frames import Frame, answer_tokens, frames_of, solved_tokens, text_tokens, writer
from rungwise.model.language_model import LanguageModel, Progress, fits
from rungwise.model.predict import over_context
from rungwise.model.similar_rows import Nearest

Solved = Sequence[tuple[Mapping[str, str], str]]
"""Solved examples: fields and answer of each."""
SHOWN_TOKENS = 1_200
"""Most tokens of the solved examples in a prompt: more take time with each row, and memory for keys and values."""
HEAD_SHARE = 0.25
"""An instruction that was not given takes at most this share of the context."""


@dataclass(frozen=True)
class PromptForm:
    """What was chosen on training rows."""

    template: Literal["plain", "chat"]
    examples: int
    """Most solved examples in a prompt."""
    calibration: Literal["none", "content_free", "fitted"] = "none"
    """How labels were calibrated (see `model.calibration`)."""
    offsets: Mapping[str, float] | None = None
    """Label -> what is added to its log-likelihood; None: nothing."""
    stop: str = ""
    """The text that ends a written answer, in addition to the end token; empty: none."""


@dataclass(frozen=True)
class Untuned:
    """A base that answers rows after an instruction and solved examples."""

    lm: LanguageModel
    """Loaded with the template `plain`, whatever the form's template."""
    spec: AttemptSpec
    form: PromptForm
    examples: Solved
    """With `fixed` the solved examples in order; with `similar` all rows that they are chosen from."""
    max_answer_tokens: int = 1
    """Token limit of a written answer, the end token included."""

    @property
    def digest(self) -> str:
        """Digest of the base's files."""
        return self.lm.digest

    @property
    def slots(self) -> tuple[str, ...]:
        """The fields that a row must have."""
        return slots(self.spec.prompt)

    @cached_property
    def frame(self) -> Frame:
        """The tokens around texts and answers."""
        return frames_of(self.lm, self.form.template)[0]

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The labels, sorted."""
        return tuple(sorted(self.spec.form.labels))

    @cached_property
    def label_tokens(self) -> list[list[int]]:
        """The tokens of each label's words, with the token that ends an answer if one begins with another.

        Otherwise the labels differ without an end, and one of a single token needs no second pass.
        """
        words = words_of(self.spec)
        whole = answer_tokens(self.lm, self.frame, [words[label] for label in self.labels])
        bare = sorted(tokens[:-1] for tokens in whole)
        begins = any(not one or other[: len(one)] == one for one, other in zip(bare, bare[1:], strict=False))
        return whole if begins or not all(bare) else [tokens[:-1] for tokens in whole]

    @cached_property
    def room(self) -> int:
        """Tokens of the longest answer."""
        if self.spec.form.format == "label":
            return max(map(len, self.label_tokens), default=1)
        return max(self.max_answer_tokens, self.constraint.min_tokens if self.constraint else 0)

    @cached_property
    def writer(self) -> LanguageModel:
        """The model, which begins and ends an answer as the form's frame does."""
        return writer(self.lm, self.frame)

    @cached_property
    def constraint(self) -> Constraint | None:
        """What written answers must follow; None if the attempt is not constrained."""
        return constraint_of(self.writer, self.spec.form) if self.spec.constrained else None

    @cached_property
    def _head(self) -> list[int]:
        return [*self.frame.before, *head_tokens(self.lm, self.spec)]

    @cached_property
    def _solved(self) -> list[tuple[int, ...]]:
        return example_tokens(self.lm, self.spec, self.frame, self.examples)

    @cached_property
    def _nearest(self) -> Nearest:
        return Nearest([prompt_text(self.spec.prompt, fields) for fields, _ in self.examples])

    def prompts(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the tokens of the prompt for each text: instruction, solved examples, the text."""
        own = text_tokens(self.lm, texts)
        if prompting(self.spec).shown == "fixed":
            before = [*self._head, *(token for one in self._solved for token in one)]
            return [[*before, *text, *self.frame.asking] for text in own]
        nearest = self._nearest(texts, self.form.examples)
        return [self._similar(text, near) for text, near in zip(own, nearest, strict=True)]

    def _similar(self, text: list[int], near: Sequence[int]) -> list[int]:
        """Returns the prompt of a row after the examples `near`, most similar first, that there is room for."""
        room = self.lm.context_tokens - len(self._head) - len(text) - len(self.frame.asking) - self.room
        chosen = fitting([self._solved[i] for i in near], min(room, SHOWN_TOKENS))
        return [*self._head, *(t for one in reversed(chosen) for t in one), *text, *self.frame.asking]

    def predict(self, rows: Sequence[Example], progress: Progress | None = None) -> tuple[Prediction, ...]:
        """Returns one prediction for each row, in order.

        A row whose prompt and longest answer exceed the model's context has no answer (`over_context`). Of equally
        likely labels the first by name wins.
        """
        prompts = self.prompts([prompt_text(self.spec.prompt, e.fields) for e in rows])
        fitting_rows = [i for i, prompt in enumerate(prompts) if fits(self.lm, prompt, self.room)]
        answer = self._labels if self.spec.form.format == "label" else self._written
        answers = dict(
            zip(fitting_rows, answer([prompts[i] for i in fitting_rows], progress) if fitting_rows else (), strict=True)
        )
        return tuple(
            prediction_of(row, *answers[i][:2], is_cut=answers[i][2]) if i in answers else over_context(row)
            for i, row in enumerate(rows)
        )

    def _labels(self, prompts: list[list[int]], progress: Progress | None) -> list[tuple[str, float, bool]]:
        given = self.form.offsets or {}
        offsets_L = torch.tensor([given.get(label, 0.0) for label in self.labels], dtype=torch.float64)
        scores_NL = score_labels(self.lm, prompts, self.label_tokens, offsets=offsets_L[None], progress=progress)
        shares_NL = torch.softmax(scores_NL.double() + offsets_L, dim=1)
        best_N = shares_NL.argmax(1).tolist()
        return [(self.labels[best], round(float(shares_NL[i, best]), 6), False) for i, best in enumerate(best_N)]

    def _written(self, prompts: list[list[int]], progress: Progress | None) -> list[tuple[str, float, bool]]:
        result = []
        written = write_answers(self.writer, prompts, self.room, constraint=self.constraint, progress=progress)
        for one in written:
            text, stopped, _ = one.text.partition(self.form.stop) if self.form.stop else (one.text, "", "")
            result.append((text.strip(), one.probability, one.is_cut and not stopped))
        return result

    def probe(self, texts: Sequence[Mapping[str, str]]) -> dict[str, Any]:
        """Returns probe name -> logits of shape (tokens, vocabulary), fp32."""
        logits = {}
        for number, ids in enumerate(self.prompts([fill(self.spec.prompt, fields) for fields in texts])):
            with torch.inference_mode():
                inputs = torch.tensor([ids[-self.lm.context_tokens :]], device=self.lm.device)
                logits_SV = self.lm.model(input_ids=inputs).logits[0].float().cpu()
            logits[f"probe-{number}"] = logits_SV.numpy()
        return logits


def prompting(spec: AttemptSpec) -> Prompting:
    """Returns the spec's own texts and words; by default there are none."""
    return spec.prompting or Prompting()


def words_of(spec: AttemptSpec) -> dict[str, str]:
    """Returns label -> the words that the model reads and writes in its place; empty if answers are not labels."""
    return label_words(spec.form.labels, prompting(spec).words) if spec.form.format == "label" else {}


def head_text(lm: LanguageModel, spec: AttemptSpec) -> str:
    """Returns the task's own instruction or one that follows from the form of its answers, and an empty line.

    One that was not given lists the labels only if it takes little of the context then, and is empty if it takes much
    of the context even without them.
    """
    if own := prompting(spec).instruction:
        return own.rstrip() + "\n\n"
    words = words_of(spec)
    texts = [instruction(spec.form, words, with_labels=listed) + "\n\n" for listed in (True, False)]
    return next((text for text in texts if len(text_tokens(lm, [text])[0]) <= HEAD_SHARE * lm.context_tokens), "")


def head_tokens(lm: LanguageModel, spec: AttemptSpec) -> list[int]:
    """Returns the tokens of `head_text`."""
    head = head_text(lm, spec)
    return text_tokens(lm, [head])[0] if head else []


def example_tokens(lm: LanguageModel, spec: AttemptSpec, frame: Frame, examples: Solved) -> list[tuple[int, ...]]:
    """Returns the tokens of each solved example."""
    words = words_of(spec)
    texts = [prompt_text(spec.prompt, fields) for fields, _ in examples]
    return solved_tokens(lm, frame, texts, [words.get(answer, answer) for _, answer in examples])


def fitting(pieces: Sequence[Sequence[int]], room: int) -> list[Sequence[int]]:
    """Returns the pieces in order without the longest ones, so that their tokens fit into `room`."""
    chosen = list(pieces)
    while chosen and sum(map(len, chosen)) > room:
        chosen.remove(max(chosen, key=len))
    return chosen
