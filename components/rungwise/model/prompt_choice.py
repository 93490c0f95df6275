"""Chooses the form of a prompt rung on training rows alone: template, number of examples, calibration of labels.

A sample of the rows, one of each of some lineage groups, is answered in each form; no row of these groups is shown. The
form with the best mean score is used. Each calibration is scored on rows that it was not fitted on.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import torch

from rungwise.core.prompts import prompt_text
from rungwise.core.records import AttemptSpec, Example, digest
from rungwise.evidence.metrics import Metric
from rungwise.model.answers import score_labels
from rungwise.model.calibration import CONTENT_FREE, content_free, cross_fitted, fitted
from rungwise.model.frames import Frame, frames_of, stop_text, text_tokens
from rungwise.model.language_model import LanguageModel, fits
from rungwise.model.prompting import (
    SHOWN_TOKENS,
    PromptForm,
    Solved,
    Untuned,
    example_tokens,
    fitting,
    head_tokens,
    prompting,
)

LABEL_ROWS, SIMILAR_ROWS, WRITTEN_ROWS = 128, 64, 32
"""Rows of the sample: labels are scored in one pass, after examples of each row's own they take longer, and written
answers take a pass for each token."""
SCORED_LABELS = 6_144
"""Most pairs of a row and a label in the sample, which bounds the time with many labels."""
FEWER: Final = 3
"""The forms are compared with a third of the examples, then the best one with all of them."""


@dataclass(frozen=True)
class Tried:
    """A form and its score on the sample."""

    model: Untuned
    score: float
    """Mean of the metric."""
    likelihood: float = 0.0
    """Mean logarithm of the right label's share; it decides between equal scores."""


def choose(
    lm: LanguageModel, spec: AttemptSpec, rows: Sequence[Example], max_answer_tokens: int
) -> tuple[Untuned, dict[str, Any]]:
    """Returns the best form of a prompt for `rows`, and how it was chosen, as JSON values.

    The choice depends on the rows' texts, answers and groups, not on their ids or order. With fewer than six lineage
    groups there is no sample: the first form is used, with labels calibrated on inputs without content.

    Args:
        lm: the base, loaded with the template `plain`.
        spec: the attempt.
        rows: the training rows; synthetic ones are left out.
        max_answer_tokens: token limit of a written answer.
    """
    sample, pool = divided(spec, rows)
    frames = frames_of(lm, spec.template)
    answers, longest = [e.answer for e in rows], longest_text(lm, spec, rows)

    def tries(frame: Frame, examples: int) -> list[Tried]:
        is_label = spec.form.format == "label"
        stop = "" if is_label else stop_text(frame, spec.prompt, answers)
        model = Untuned(lm, spec, PromptForm(frame.template, examples, stop=stop), (), max_answer_tokens)
        model = replace(model, examples=shown_examples(model, pool, longest))
        return list(_calibrated(model, sample) if is_label else _scored(model, sample))

    first = spec.examples // FEWER if prompting(spec).shown == "fixed" and sample else spec.examples
    tried = [one for frame in (frames if sample else frames[:1]) for one in tries(frame, first)]
    if first != spec.examples:
        best = _best(tried).model.frame
        tried += tries(best, spec.examples)
    chosen = _best(tried).model
    return chosen, {"sample_rows": len(sample), "tried": [_described(one) for one in tried], **_form_json(chosen)}


def _best(tried: Sequence[Tried]) -> Tried:
    return max(tried, key=lambda one: (round(one.score, 6), one.likelihood))


def _form_json(model: Untuned) -> dict[str, Any]:
    return {"form": asdict(model.form), "examples_shown": len(model.examples)}


def _described(one: Tried) -> dict[str, Any]:
    form = one.model.form
    named = {
        "template": form.template,
        "examples": min(form.examples, len(one.model.examples)),
        "calibration": form.calibration,
    }
    return {**named, "score": round(one.score, 6)}


def ranked(spec: AttemptSpec, rows: Sequence[Example]) -> list[Example]:
    """Returns the collected rows in a random order from the seed, which depends on the rows' texts alone."""
    kept = sorted((e for e in rows if not e.is_synthetic), key=lambda e: digest([dict(e.fields), e.answer]))
    random.Random(spec.seed).shuffle(kept)
    return kept


def divided(spec: AttemptSpec, rows: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Returns the sample, one row of each of its groups, and the rows that may be shown, of other groups.

    The sample has at most a third of the groups.
    """
    kept = ranked(spec, rows)
    one_each = list({e.group: e for e in reversed(kept)}.values())[::-1]  # the first row of each group, in order
    most = WRITTEN_ROWS
    if spec.form.format == "label":
        most = LABEL_ROWS if prompting(spec).shown == "fixed" else SIMILAR_ROWS
        most = min(most, max(16, SCORED_LABELS // max(1, len(spec.form.labels))))
    n = min(most, len(one_each) // 3)
    sample = one_each[:n] if n >= 2 else []
    taken = {e.group for e in sample}
    return sample, [e for e in kept if e.group not in taken]


def balanced(rows: Sequence[Example], most: int) -> list[Example]:
    """Returns `most` rows, different answers first: the first row of each answer, then the second of each."""
    seen: dict[str, int] = {}
    rounds = []
    for row in rows:
        rounds.append(seen.get(row.answer, 0))
        seen[row.answer] = rounds[-1] + 1
    return [rows[i] for i in sorted(range(len(rows)), key=lambda i: (rounds[i], i))[:most]]


def shown_examples(model: Untuned, pool: Sequence[Example], longest: int) -> Solved:
    """Returns the solved examples of a model's form, without the longest ones if there is too little room for them.

    They have at most SHOWN_TOKENS tokens, and leave room for a row of `longest` tokens and the longest answer. With
    `similar` they are all rows of `pool`.
    """
    most = model.form.examples
    if prompting(model.spec).shown == "similar":
        return [(dict(e.fields), e.answer) for e in pool] if most else []
    chosen = [(dict(e.fields), e.answer) for e in balanced(pool, most)]
    around = len(model.frame.before) + len(head_tokens(model.lm, model.spec)) + len(model.frame.asking)
    room = min(SHOWN_TOKENS, model.lm.context_tokens - longest - around - model.room)
    tokens = example_tokens(model.lm, model.spec, model.frame, chosen)
    kept = {id(piece) for piece in fitting(tokens, room)}
    return [one for one, piece in zip(chosen, tokens, strict=True) if id(piece) in kept]


def longest_text(lm: LanguageModel, spec: AttemptSpec, rows: Sequence[Example]) -> int:
    """Returns the tokens of a row that 99 % of the collected rows do not exceed."""
    texts = [prompt_text(spec.prompt, e.fields) for e in rows if not e.is_synthetic]
    sizes = sorted(map(len, text_tokens(lm, texts)))
    return sizes[int(0.99 * (len(sizes) - 1))] if sizes else 0


def _calibrated(model: Untuned, sample: Sequence[Example]) -> Iterator[Tried]:
    """Yields the model with labels that are not calibrated, calibrated without content, and fitted to the sample."""
    without = [prompt for prompt in model.prompts(CONTENT_FREE) if fits(model.lm, prompt, model.room)]
    prior_L = torch.zeros(len(model.labels), dtype=torch.float64)
    if without:
        prior_L = content_free(score_labels(model.lm, without, model.label_tokens, negligible=0.0))
    prompts = model.prompts([prompt_text(model.spec.prompt, e.fields) for e in sample])
    usable = [
        i for i, prompt in enumerate(prompts) if fits(model.lm, prompt, model.room) and sample[i].answer in model.labels
    ]
    if not usable:
        yield Tried(_with(model, "content_free", prior_L), 0.0)
        return
    ways_KL = torch.stack([torch.zeros_like(prior_L), prior_L])
    scores_NL = score_labels(model.lm, [prompts[i] for i in usable], model.label_tokens, offsets=ways_KL).double()
    expected = [model.labels.index(sample[i].answer) for i in usable]
    yield _judged(_with(model, "none", None), scores_NL, expected)
    yield _judged(_with(model, "content_free", prior_L), scores_NL + prior_L, expected)
    offsets_L = fitted(scores_NL, expected, prior_L)
    yield _judged(_with(model, "fitted", offsets_L), cross_fitted(scores_NL, expected, prior_L), expected)


def _with(model: Untuned, calibration: str, offsets_L: torch.Tensor | None) -> Untuned:
    offsets = (
        None if offsets_L is None else dict(zip(model.labels, (round(v, 6) for v in offsets_L.tolist()), strict=True))
    )
    return replace(model, form=replace(model.form, calibration=calibration, offsets=offsets))  # type: ignore[arg-type]


def _judged(model: Untuned, scores_NL: torch.Tensor, expected: Sequence[int]) -> Tried:
    shares_NL = torch.log_softmax(scores_NL, dim=1)
    right = [float(best == wanted) for best, wanted in zip(scores_NL.argmax(1).tolist(), expected, strict=True)]
    likelihood = float(shares_NL[range(len(expected)), list(expected)].mean())
    return Tried(model, sum(right) / len(right), likelihood)


def _scored(model: Untuned, sample: Sequence[Example]) -> Iterator[Tried]:
    """Yields the model with its mean score on the sample."""
    metric = Metric(model.spec.metric or "chrf", model.spec.form)
    predictions = model.predict(sample) if sample else ()
    values = [metric(p) for p in predictions if p.answer is not None]
    yield Tried(model, sum(values) / len(values) if values else 0.0)
