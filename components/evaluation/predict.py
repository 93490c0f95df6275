"""Answers of a model to rows: the label with the greatest likelihood, or a reason why there is none."""

import random
from collections.abc import Mapping, Sequence

import torch

from components.model.language_model import (
    LanguageModel,
    Progress,
    encode_answers,
    encode_prompts,
    fits,
    score_labels,
)
from components.prompts import prompt_text, shown
from components.records import AttemptSpec, Example, Prediction, digest

RECIPE = 2
"""Raised by hand whenever equal models and rows would be answered otherwise."""

Shown = Sequence[tuple[Mapping[str, str], str]]
"""Solved examples that stand before the question: fields and answer."""


def choose_shown(spec: AttemptSpec, train: Sequence[Example]) -> list[tuple[Mapping[str, str], str]]:
    """Returns `spec.examples` collected training rows, of different labels first, in an order drawn from the seed.

    It depends on what the rows say, not on their ids or their order.
    """
    rows = sorted((e for e in train if not e.is_synthetic), key=lambda e: digest([dict(e.fields), e.answer]))
    random.Random(spec.seed).shuffle(rows)
    turn: dict[str, int] = {}
    rounds = []
    for row in rows:
        rounds.append(turn.get(row.answer, 0))
        turn[row.answer] = rounds[-1] + 1
    ranked = sorted(range(len(rows)), key=lambda i: (rounds[i], i))[: spec.examples]
    return [(dict(rows[i].fields), rows[i].answer) for i in ranked]


def predict(
    lm: LanguageModel,
    spec: AttemptSpec,
    rows: Sequence[Example],
    *,
    examples: Shown = (),
    progress: Progress | None = None,
) -> tuple[Prediction, ...]:
    """Returns one prediction a row, in the rows' order.

    A row whose prompt and longest label don't fit the model's context has no answer (`over_context`).
    Ties go to the label that comes first by name.
    """
    labels = sorted(spec.labels)
    label_tokens = encode_answers(lm, labels)
    longest = max(len(tokens) for tokens in label_tokens)
    before = shown(spec.prompt, examples)
    prompts = encode_prompts(lm, [before + prompt_text(spec.prompt, e.fields) for e in rows])
    fitting = [i for i, prompt in enumerate(prompts) if fits(lm, prompt, longest)]
    answers: dict[int, tuple[str, float]] = {}
    if fitting:
        scores_NL = score_labels(lm, [prompts[i] for i in fitting], label_tokens, progress=progress)
        best_N = scores_NL.argmax(1).tolist()
        shares_NL = torch.softmax(scores_NL.double(), dim=1)
        for place, i in enumerate(fitting):
            answers[i] = (labels[best_N[place]], round(float(shares_NL[place, best_N[place]]), 6))
    return tuple(
        Prediction(row.id, row.group, row.answer, *answers[i])
        if i in answers
        else Prediction(row.id, row.group, row.answer, None, unscored="over_context")
        for i, row in enumerate(rows)
    )
