"""From raw rows to training rows: one Prefect task a step, each recorded in DVC as soon as it is done."""

from pathlib import Path

from prefect import get_run_logger, task

from rungwise.core.recipes import STAGES
from rungwise.pipeline import effects
from rungwise.pipeline.stages import is_current, record, run_stage
from rungwise.workspace.layout import Snapshot, check_recipe

STEPS = STAGES[:-1]


@task(name="collect")
def collect(root: Path) -> list[str]:
    """Copies the sources of `collect` into data/raw; returns the names of those that changed."""
    found = effects.collect(root)
    for source in found:
        get_run_logger().info("%s: %d files, %d changed", source["name"], len(source["files"]), len(source["changed"]))
    return [source["name"] for source in found if source["changed"]]


@task(name="stage", task_run_name="{verb}")
def step(root: Path, verb: str, before: Snapshot) -> bool:
    """Runs one step and records it, unless it is current; returns whether it ran."""
    if is_current(root, verb):
        get_run_logger().info("%s: nothing changed", verb)
        return False
    check_recipe(root, verb)
    run_stage(root, verb, before)
    record(root, verb, before)
    get_run_logger().info("%s: done and recorded", verb)
    return True


def prepare(root: Path, before: Snapshot) -> list[str]:
    """Runs the steps before the climb in their order; returns those that had something to do."""
    return [verb for verb in STEPS if step(root, verb, before)]
