"""The output of `rungwise run` about a run itself: what it would do, and its results."""

from collections.abc import Sequence
from typing import Final

from rungwise.core.records import Json
from rungwise.core.words import reason_json
from rungwise.pipeline.planned import PlannedStep
from rungwise.pipeline.steps import TaskResult
from rungwise.report.text import table

HEADER: Final = ("step", "runs", "why")


def planned_text(steps: Sequence[PlannedStep]) -> str:
    """Returns the steps of a run in order, after a sentence that says whether anything would run."""
    running = [step.name for step in steps if step.runs == "yes"]
    first = f"A run would begin with {running[0]}." if running else "Nothing changed: a run would train nothing."
    return "\n".join([first, "", table(HEADER, [(step.name, step.runs, step.why) for step in steps])])


def results_json(results: Sequence[TaskResult]) -> Json:
    """Returns task -> version, action and reasons, as `rungwise run --json` prints them."""
    return {
        result.task: {
            "version": result.version,
            "action": result.action,
            "reasons": [reason_json(reason) for reason in result.reasons],
        }
        for result in results
    }
