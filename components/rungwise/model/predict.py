"""Predictions of a model for rows: the likeliest label, a written answer, or the reason why there is none."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from rungwise.core.prompts import fill, prompt_text, slots
from rungwise.core.records import AttemptSpec, Example, Prediction, prediction_of
from rungwise.model.answers import score_labels, write_answers
from rungwise.model.constrain import Constraint, constraint_of
from rungwise.model.language_model import LanguageModel, Progress, encode_answers, encode_prompts, fits


def answer_limit(lm: LanguageModel, rows: Sequence[Example]) -> int:
    """Returns the token limit of a written answer: a quarter more than the longest answer of the training rows."""
    return max(len(tokens) for tokens in encode_answers(lm, [e.answer for e in rows])) * 5 // 4 if rows else 1


def over_context(row: Example) -> Prediction:
    """Returns the prediction of a row whose prompt and longest answer exceed the model's context."""
    return prediction_of(row, None, unscored="over_context")


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
    """A language model that was trained to answer a task's prompt."""

    lm: LanguageModel
    spec: AttemptSpec
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
        prompts = encode_prompts(self.lm, [prompt_text(self.spec.prompt, e.fields) for e in rows])
        is_label = self.spec.form.format == "label"
        answers = self._labels(prompts, progress) if is_label else self._written(prompts, progress)
        return tuple(
            prediction_of(row, *answers[i][:2], is_cut=answers[i][2]) if i in answers else over_context(row)
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
        filled = [fill(self.spec.prompt, fields) for fields in texts]
        logits = {}
        for number, ids in enumerate(encode_prompts(self.lm, filled)):
            with torch.inference_mode():
                inputs = torch.tensor([ids[-self.lm.context_tokens :]], device=self.lm.device)
                logits_SV = self.lm.model(input_ids=inputs).logits[0].float().cpu()
            logits[f"probe-{number}"] = logits_SV.numpy()
        return logits
