"""The climb with one Prefect task per rung and step; progress and the ladder are published as artifacts."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import get_run_logger, task
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.utilities.annotations import quote

from rungwise.attempts.store import Attempt
from rungwise.climbing import rungs
from rungwise.climbing.decide import Outcome
from rungwise.climbing.ladder import last_climb
from rungwise.core.progress import Pace
from rungwise.flows.shown import UNCHANGED, logged, show_picture, show_step
from rungwise.pipeline import stages
from rungwise.release.pictures import ladder_picture
from rungwise.report.read import status
from rungwise.report.steps import stage_markdown
from rungwise.report.text import header, ladder_rows, sentence
from rungwise.workspace.layout import Snapshot, check_recipe

SECONDS_BETWEEN = 2.0
"""Least time between two updates of a progress artifact."""


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int, str], None]]:
    """Yields a progress callback that updates a Prefect artifact and writes lines into the run's log.

    Work that ends without an error is at 100 %, also where it was in the store.
    """
    key = what.replace(" ", "-").replace("/", "-")
    artifact = create_progress_artifact(progress=0.0, key=key, description=what)
    assert isinstance(artifact, UUID)
    last, pace = [time.monotonic()], Pace()

    def show(done: int, total: int, unit: str) -> None:
        if done == total or time.monotonic() - last[0] >= SECONDS_BETWEEN:
            last[0] = time.monotonic()
            update_progress_artifact(artifact_id=artifact, progress=100 * done / total)
        if pace.is_due(done, total):
            get_run_logger().info("%s: %d/%d %s", what, done, total, unit)

    yield show
    update_progress_artifact(artifact_id=artifact, progress=100.0)


@task(name="train")
def train(climb: rungs.TaskClimb, rung: str) -> Attempt:
    """Returns a rung's attempt, from the store or trained now."""
    with _progress(f"train {climb.named(rung)}") as show:
        return rungs.train_rung(climb, rung, show)


@task(name="evaluate")
def evaluate(climb: rungs.TaskClimb, rung: str, attempt: Attempt) -> Outcome:
    """Returns a rung's evidence and predictions on the validation rows."""
    with _progress(f"evaluate {climb.named(rung)}") as show:
        return rungs.evaluate_rung(climb, rung, attempt, show)


def _train(climb: rungs.TaskClimb, rung: str) -> Attempt:
    named: Any = train.with_options(task_run_name=f"train {climb.named(rung)}")
    # `quote` keeps Prefect from searching every row for futures
    attempt: Attempt = named(quote(climb), rung)
    return attempt


def _evaluate(climb: rungs.TaskClimb, rung: str, attempt: Attempt) -> Outcome:
    named: Any = evaluate.with_options(task_run_name=f"evaluate {climb.named(rung)}")
    outcome: Outcome = named(quote(climb), rung, quote(attempt))
    return outcome


@task(name="ladder", task_run_name="ladder {name}")
def ladder_table(root: Path, name: str) -> None:
    """Publishes a task's ladder as a table artifact."""
    current = status(root).tasks[name]
    rows = [dict(zip(header(current), row, strict=True)) for row in ladder_rows(current)]
    create_table_artifact(table=rows, key=f"ladder-{name}", description=sentence(current))
    show_picture(f"ladder-picture-{name}", ladder_picture(last_climb(root, name), current.verdict), sentence(current))


def climb(root: Path, before: Snapshot) -> bool:
    """Climbs every task's ladder and records the stage, unless it is current; returns whether it ran."""
    if stages.is_current(root, "climb"):
        get_run_logger().info("climb: nothing changed")
        show_step("climb", stage_markdown(root, "climb"), [UNCHANGED])
        return False
    check_recipe(root, "climb")
    with logged("climb", lambda: stage_markdown(root, "climb")):
        stages.climb(root, before, train=_train, evaluate=_evaluate)
    stages.record(root, "climb", before)
    return True
