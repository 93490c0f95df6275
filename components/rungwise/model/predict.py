"""Predictions of a model for rows: the likeliest label, a written answer, or the reason why there is none."""

import functools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from rungwise.core.prompts import fill, prompt_text, shown, slots
from rungwise.core.records import AttemptSpec, Example, Prediction, digest
from rungwise.model.answers import score_labels, write_answers
from rungwise.model.constrain import Constraint, constraint_of
from rungwise.model.language_model import LanguageModel, Progress, encode_answers, encode_prompts, fits

Shown = Sequence[tuple[Mapping[str, str], str]]
"""Solved examples in a prompt: fields and answer of each."""


def choose_shown(spec: AttemptSpec, train: Sequence[Example]) -> list[tuple[Mapping[str, str], str]]:
    """Returns `spec.examples` collected training rows, different labels first, in a random order from the seed.

    The result depends on the texts of the rows, not on their ids or order.
    """
    rows = sorted((e for e in train if not e.is_synthetic), key=lambda e: digest([dict(e.fields), e.answer]))
    random.Random(spec.seed).shuffle(rows)
    seen: dict[str, int] = {}
    rounds = []
    for row in rows:
        rounds.append(seen.get(row.answer, 0))
        seen[row.answer] = rounds[-1] + 1
    ranked = sorted(range(len(rows)), key=lambda i: (rounds[i], i))[: spec.examples]
    return [(dict(rows[i].fields), rows[i].answer) for i in ranked]


def fitting_shown(lm: LanguageModel, spec: AttemptSpec, rows: Sequence[Example], answer_tokens: int) -> Shown:
    """Returns the examples of `choose_shown`, without the longest ones if they leave too little context for a row.

    They leave room for the prompts of 99 % of the collected rows and an answer of `answer_tokens` tokens.
    """
    chosen = choose_shown(spec, rows)
    prompts = [prompt_text(spec.prompt, e.fields) for e in rows if not e.is_synthetic]
    sizes = sorted(len(p) for p in encode_prompts(lm, prompts))
    room = lm.context_tokens - answer_tokens - (sizes[int(0.99 * (len(sizes) - 1))] if sizes else 0)
    while chosen and sum(_tokens_shown(lm, spec, one) for one in chosen) > room:
        chosen.remove(max(chosen, key=lambda one: _tokens_shown(lm, spec, one)))
    return chosen


def _tokens_shown(lm: LanguageModel, spec: AttemptSpec, one: tuple[Mapping[str, str], str]) -> int:
    return len(lm.tokenizer(shown(spec.prompt, [one]), add_special_tokens=False).input_ids)


def answer_limit(lm: LanguageModel, rows: Sequence[Example]) -> int:
    """Returns the token limit of a written answer: a quarter more than the longest answer of the training rows."""
    return max(len(tokens) for tokens in encode_answers(lm, [e.answer for e in rows])) * 5 // 4 if rows else 1


class AnswerModel(Protocol):
    """A model that answers rows, with or without a language model."""

    @property
    def digest(self) -> str:
        """Digest of the base's files; empty without a base."""

    @property
    def slots(self) -> tuple[str, ...]:
        """The fields that a row must have."""

    def predict(self, rows: Sequence[Example], progress: Progress | None = None) -> tuple[Prediction, ...]:
        """Returns one prediction for each row, in order."""

    def probe(self, texts: Sequence[Mapping[str, str]]) -> dict[str, Any]:
        """Returns arrays that show whether the model changed, for fields without any customer's text."""


@dataclass(frozen=True)
class Prompted:
    """A language model that answers a task's prompt."""

    lm: LanguageModel
    spec: AttemptSpec
    examples: Shown = ()
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

    @functools.cached_property
    def constraint(self) -> Constraint | None:
        """What written answers must follow; None if the attempt is not constrained."""
        return constraint_of(self.lm, self.spec.form) if self.spec.constrained else None

    def predict(self, rows: Sequence[Example], progress: Progress | None = None) -> tuple[Prediction, ...]:
        """Returns one prediction for each row, in order.

        A row whose prompt and longest answer exceed the model's context has no answer (`over_context`). Of equally
        likely labels the first by name wins.
        """
        before = shown(self.spec.prompt, self.examples)
        prompts = encode_prompts(self.lm, [before + prompt_text(self.spec.prompt, e.fields) for e in rows])
        is_label = self.spec.form.format == "label"
        answers = self._labels(prompts, progress) if is_label else self._written(prompts, progress)
        return tuple(
            Prediction(row.id, row.group, row.answer, *answers[i][:2], facts=row.facts, is_cut=answers[i][2])
            if i in answers
            else Prediction(row.id, row.group, row.answer, None, unscored="over_context", facts=row.facts)
            for i, row in enumerate(rows)
        )

    def _labels(self, prompts: list[list[int]], progress: Progress | None) -> dict[int, tuple[str, float, bool]]:
        labels = sorted(self.spec.form.labels)
        label_tokens = encode_answers(self.lm, labels)
        longest = max(len(tokens) for tokens in label_tokens)
        fitting = [i for i, prompt in enumerate(prompts) if fits(self.lm, prompt, longest)]
        if not fitting:
            return {}
        scores_NL = score_labels(self.lm, [prompts[i] for i in fitting], label_tokens, progress=progress)
        best_N = scores_NL.argmax(1).tolist()
        shares_NL = torch.softmax(scores_NL.double(), dim=1)
        return {
            i: (labels[best_N[place]], round(float(shares_NL[place, best_N[place]]), 6), False)
            for place, i in enumerate(fitting)
        }

    def _written(self, prompts: list[list[int]], progress: Progress | None) -> dict[int, tuple[str, float, bool]]:
        constraint = self.constraint
        limit = max(self.max_answer_tokens, constraint.min_tokens if constraint else 0)
        fitting = [i for i, prompt in enumerate(prompts) if fits(self.lm, prompt, limit)]
        fitted = [prompts[i] for i in fitting]
        written = write_answers(self.lm, fitted, limit, constraint=constraint, progress=progress)
        return {i: (w.text, w.probability, w.is_cut) for i, w in zip(fitting, written, strict=True)}

    def probe(self, texts: Sequence[Mapping[str, str]]) -> dict[str, Any]:
        """Returns probe name -> logits of shape (tokens, vocabulary), fp32."""
        before = shown(self.spec.prompt, self.examples)
        filled = [before + fill(self.spec.prompt, fields) for fields in texts]
        logits = {}
        for number, ids in enumerate(encode_prompts(self.lm, filled)):
            with torch.inference_mode():
                inputs = torch.tensor([ids[-self.lm.context_tokens :]], device=self.lm.device)
                logits_SV = self.lm.model(input_ids=inputs).logits[0].float().cpu()
            logits[f"probe-{number}"] = logits_SV.numpy()
        return logits
