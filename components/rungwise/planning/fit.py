"""One job on one machine: what it needs, whether it fits, how long it takes and what would make it fit."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rungwise.planning.job import Job
from rungwise.planning.largest import largest_batch
from rungwise.planning.machines import Machine
from rungwise.planning.memory import peak_need
from rungwise.planning.need import Need
from rungwise.planning.obstacles import obstacles
from rungwise.planning.operations import least_seconds, seconds_of
from rungwise.planning.remedies import remedies
from rungwise.planning.rows import Lengths
from rungwise.planning.shape import Shape
from rungwise.planning.trainable import trainable_parameters

UTILIZATION = 0.3
"""Share of the peak rate that a run reaches: assumed, not measured. Well-tuned large models reach 0.4 to 0.6, small
ones less (https://pypi.org/project/mfu-tracker/0.2.1/, read 2026-11-25)."""


@dataclass(frozen=True)
class Fit:
    """One job on one machine."""

    rung: str
    machine: str
    base: str
    method: str
    precision: str
    parameters: int
    trainable: int
    """Trainable parameters."""
    rows: int
    """Rows that pass through the model together."""
    tokens: int
    answer_tokens: int
    need: Need
    memory_bytes: int | None
    fits: bool | None
    """None if the machine's memory is not known."""
    largest_rows: int | None
    """The most rows that pass through the model together there; None as above, or if nothing is trained."""
    seconds: float | None
    """Of the whole training run at UTILIZATION of the peak rate, and no less than `least_seconds`; for a frozen
    encoder, of reading the training rows. None if nothing is trained or read, or no rate is known."""
    cost_usd: float | None
    remedies: tuple[str, ...]
    """What would make it fit, the easiest first."""
    task: str = ""
    """The task whose rows were measured; empty if lengths are assumed."""
    lengths: Lengths = Lengths()
    """How long the rows are, and how that is known."""
    measured_seconds: float | None = None
    """Of the whole training run, from a few real steps on this machine; None if none were run."""
    measured_steps: int = 0

    @property
    def ratio(self) -> float | None:
        """The estimated time over the measured one; None if one of the two is not known."""
        return self.seconds / self.measured_seconds if self.seconds and self.measured_seconds else None


def fit(
    rung: str,
    base: str,
    shape: Shape,
    job: Job,
    machine: Machine,
    *,
    rows: int,
    steps: int,
    others: Sequence[Machine] = (),
    task: str = "",
    lengths: Lengths | None = None,
) -> Fit:
    """Returns how a job fits a machine.

    Args:
        rung: its name.
        base: the base's name.
        shape: the base's shape.
        job: what is done with the base; the machine decides its device.
        machine: where it would run.
        rows: of each step; they pass in microbatches of `job.rows`.
        steps: of the training run.
        others: machines that may be named as a remedy if the job does not fit.
        task: the task whose rows were measured.
        lengths: the mean length of rows, which decides time; without it all rows are as long as the job's.

    Raises:
        SettingsError: the job's settings don't go together.
    """
    job = replace(job, device=machine.device)
    need, limit, price = peak_need(shape, job, machine.memory_bytes), machine.memory_bytes, machine.price_usd_hour
    blocked = obstacles(shape, job)
    fits = False if blocked else None if limit is None else need.total <= limit
    seconds = None if blocked else _seconds(shape, job, machine, lengths, rows, steps)
    largest = None
    if limit is not None and job.trains and not blocked:
        largest = largest_batch(shape, job, limit)
    return Fit(
        rung=rung,
        machine=machine.name,
        base=base,
        method=job.method,
        precision=job.precision,
        parameters=shape.parameters,
        trainable=trainable_parameters(shape, job),
        rows=job.rows,
        tokens=job.tokens,
        answer_tokens=job.answer_tokens,
        need=need,
        memory_bytes=limit,
        fits=fits,
        largest_rows=largest,
        seconds=seconds,
        cost_usd=seconds / 3600 * price if seconds is not None and price is not None else None,
        remedies=blocked or (remedies(shape, job, limit, others) if fits is False and limit is not None else ()),
        task=task,
        lengths=lengths or Lengths(job.tokens, job.answer_tokens, job.tokens, job.answer_tokens),
    )


def _seconds(shape: Shape, job: Job, machine: Machine, lengths: Lengths | None, rows: int, steps: int) -> float | None:
    """Returns the seconds of `steps` steps of `rows` rows; None if nothing is trained or read, or no rate is known."""
    rate = machine.rate(job.precision)
    if not (job.trains or job.encodes) or not rate or not rows * steps:
        return None
    typical = _typical(job, lengths) if lengths else job
    computed = seconds_of(shape, typical, 1, rate, UTILIZATION) * rows * steps / job.rows
    return max(computed, least_seconds(shape, job, steps * math.ceil(rows / job.rows)))


def _typical(job: Job, lengths: Lengths) -> Job:
    """Returns the job with rows of mean length in place of the longest."""
    tokens = max(2, min(job.tokens, round(lengths.mean_tokens)))
    return replace(job, tokens=tokens, answer_tokens=max(1, min(tokens - 1, round(lengths.mean_answer_tokens))))
