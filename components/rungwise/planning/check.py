"""Whether the rungs of a ladder fit this machine, checked before a climb starts."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rungwise.config import Settings, base_of
from rungwise.core.errors import ModelError, Problem
from rungwise.core.folders import joined
from rungwise.core.texts import number_of
from rungwise.planning.fit import Fit, fit
from rungwise.planning.job import Job
from rungwise.planning.machines import Machine
from rungwise.planning.memory import need_of, peak_need
from rungwise.planning.need import Need
from rungwise.planning.obstacles import obstacles
from rungwise.planning.plan import job_of, lengths_by_rung, shape_of_rung
from rungwise.planning.shape import Shape


def check_ladder(root: Path, settings: Settings, machine: Machine, table: Mapping[str, Machine]) -> list[str]:
    """Returns warnings about rungs that are tight on the machine, one sentence each.

    A rung whose rows do not fit together runs in smaller microbatches. A rung whose base has an architecture that
    transformers does not have, such as one with code of its own, is not checked, and named.

    Raises:
        ModelError: a rung can't fit, not even one row at a time; the message names it and what would make it fit.
    """
    warnings = []
    lengths_of = lengths_by_rung(root, settings)
    for rung in settings.ladder:
        base = base_of(rung)
        if base is None:
            continue
        try:
            shape = shape_of_rung(root, rung)
        except ModelError as error:
            warnings.append(f"{rung.name}: its memory is not checked in advance: {error.problem.what}")
            continue
        jobs = [job_of(settings, rung, machine.device, lengths, shape) for lengths in lengths_of[rung.name].values()]
        job = max(jobs, key=lambda job: _tightness(shape, job, machine.memory_bytes))
        one = fit(rung.name, str(base), shape, job, machine, rows=job.rows, steps=1, others=list(table.values()))
        if one.fits is not False:
            continue
        if blocked := obstacles(shape, job):
            raise _impossible(one, blocked)
        least = need_of(shape, replace(job, rows=1))
        if least.total > (machine.memory_bytes or 0):
            raise _too_large(one, least)
        warnings.append(
            f"{rung.name} needs about {one.need.gigabytes:.1f} GB with {number_of(one.rows, 'row')} of "
            f"{number_of(one.tokens, 'token')} in a microbatch, this machine has "
            f"{(one.memory_bytes or 0) / 1e9:.1f}: {joined(one.remedies, 3)}"
        )
    return warnings


def _tightness(shape: Shape, job: Job, limit: int | None) -> tuple[bool, int]:
    """Returns whether not even one row fits, and what all rows need: the larger, the tighter."""
    least = need_of(shape, replace(job, rows=1)).total
    return limit is not None and least > limit, peak_need(shape, job, limit).total


def _impossible(one: Fit, blocked: tuple[str, ...]) -> ModelError:
    return ModelError(
        Problem(
            "a rung can't be trained on its base",
            where=_where(one),
            wanted=joined(blocked),
            do="change the rung, or `train.precision`, before anything is trained",
        )
    )


def _too_large(one: Fit, least: Need) -> ModelError:
    return ModelError(
        Problem(
            "a rung does not fit this machine",
            where=_where(one),
            found=f"about {least.gigabytes:.1f} GB for one row of {one.tokens} tokens"
            f" on {one.machine} with {(one.memory_bytes or 0) / 1e9:.1f} GB",
            wanted="a rung that fits, so that the climb does not end there",
            do=joined(one.remedies, 6),
        )
    )


def _where(one: Fit) -> str:
    return f"ladder: {one.rung}, base {one.base}, method {one.method} in {one.precision}"
