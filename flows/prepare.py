"""From collected rows to training rows: one Prefect task per stage; each is recorded in DVC when it is done."""

from pathlib import Path

from prefect import get_run_logger, task

from rungwise.core.recipes import STAGES
from rungwise.flows.shown import UNCHANGED, logged, show_step
from rungwise.pipeline.stages import is_current, record, run_stage
from rungwise.report.steps import stage_markdown
from rungwise.workspace.layout import Snapshot, check_recipe


@task(name="stage", task_run_name="{verb}")
def stage(root: Path, verb: str, before: Snapshot) -> bool:
    """Runs one stage and records it, unless it is current; returns whether it ran."""
    if is_current(root, verb):
        get_run_logger().info("%s: nothing changed", verb)
        show_step(verb, stage_markdown(root, verb), [UNCHANGED])
        return False
    check_recipe(root, verb)
    with logged(verb, lambda: stage_markdown(root, verb)):
        run_stage(root, verb, before)
    record(root, verb, before)
    get_run_logger().info("%s: done and recorded", verb)
    return True


def prepare(root: Path, before: Snapshot) -> list[str]:
    """Runs the stages before the climb, in order; returns those that ran."""
    return [verb for verb in STAGES[:-1] if stage(root, verb, before)]
