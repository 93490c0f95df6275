"""How much memory a job needs: training, scoring, and the higher of the two."""

from dataclasses import replace

from rungwise.model import limits
from rungwise.planning.job import Job
from rungwise.planning.need import Need
from rungwise.planning.obstacles import check_job
from rungwise.planning.scoring_memory import encoding_need, scoring_need
from rungwise.planning.shape import Shape
from rungwise.planning.training_memory import training_need


def need_of(shape: Shape, job: Job) -> Need:
    """Returns what training needs at its highest moment; for a method that does not train, what its scoring needs.

    Raises:
        SettingsError: an unknown target or precision, or more tokens than the model's context.
    """
    check_job(shape, job)
    if job.encodes:
        return encoding_need(shape, job)
    return training_need(shape, job) if job.trains else scoring_need(shape, job)


def peak_need(shape: Shape, job: Job, limit: int | None = None) -> Need:
    """Returns the higher of what training needs and what scoring its answers needs.

    On a GPU of `limit` bytes, scoring takes fewer rows at once until they fit, as `model.answers` does when it is out
    of memory. A CPU's system does not report in time that memory is exhausted.
    """
    if job.encodes:
        return need_of(shape, job)
    scored = replace(job, rows=limits.SCORING_ROWS)
    while limit and job.device == "cuda" and scored.rows > 1 and scoring_need(shape, scored).total > limit:
        scored = replace(scored, rows=scored.rows // 2)
    scoring = scoring_need(shape, scored)
    return max(need_of(shape, job), scoring, key=lambda need: need.total) if job.trains else scoring
