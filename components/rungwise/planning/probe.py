"""How long a rung's training really takes on this machine: a few of its own steps, to compare with the plan.

Reads the prepared rows, or makes random ones if there are none, and the base with its weights.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rungwise.config import RungSettings, Settings
from rungwise.core.methods import METHODS
from rungwise.core.records import AttemptSpec
from rungwise.planning.fit import Fit
from rungwise.planning.machines import THIS
from rungwise.planning.rows import padded_tokens, prepared, training_rows

SECONDS = 10.0
"""About how long the steps of one rung may take, by the estimate."""
MIN_STEPS, MAX_STEPS = 3, 20
"""Bounds of the number of steps that are timed, however long or short they are."""

SpecOf = Callable[[RungSettings, str, Sequence[str]], AttemptSpec]
"""Returns the attempt of a rung on a task with these labels."""


def probed(
    root: Path, settings: Settings, fits: Sequence[Fit], spec_of: SpecOf, say: Callable[[str], None]
) -> list[Fit]:
    """Returns the plan with the measured seconds of every training run that fits this machine.

    Raises:
        ModelError: a base can't be loaded, or does not support a method.
        TrainingError: a step fails.
    """
    return [_probed(root, settings, one, spec_of, say) if _can_run(one) else one for one in fits]


def _can_run(one: Fit) -> bool:
    return one.machine == THIS and one.fits is not False and METHODS[one.method].trains


def _probed(root: Path, settings: Settings, one: Fit, spec_of: SpecOf, say: Callable[[str], None]) -> Fit:
    from rungwise.model.language_model import load
    from rungwise.planning.measure import random_rows, seconds_per_token

    rung = next(r for r in settings.ladder if r.name == one.rung)
    task = one.task or next(iter(settings.tasks))
    rows = prepared(root, task) if one.task and not one.lengths.given else None
    spec = spec_of(rung, task, sorted({e.answer for e in rows.sample}) if rows else [])
    assert spec.base is not None  # a Fit has one
    lm = load(spec.base, root, template=spec.template, precision=spec.precision)
    size = min(settings.train.batch_size, one.lengths.rows or settings.train.batch_size)
    if rows:
        shown = training_rows(settings, rows, lm)
    else:
        shown = tuple(random_rows(lm, one.tokens, one.answer_tokens, size, random.Random(settings.seed)))
    n_steps = rung.steps or settings.train.steps
    wanted = round(SECONDS * n_steps / one.seconds) if one.seconds else MIN_STEPS
    steps = min(n_steps, max(MIN_STEPS, min(MAX_STEPS, wanted)))
    say(f"plan: {steps} steps of {one.task + '/' if one.task else ''}{one.rung}")
    seconds = seconds_per_token(
        lm, spec, shown, steps=steps, tokens=lambda batch: padded_tokens(batch, spec.max_tokens_per_microbatch)[0]
    )
    mean = min(one.lengths.mean_tokens, one.tokens)
    return replace(one, measured_seconds=seconds * mean * size * n_steps, measured_steps=steps)
