"""A run of the workspace as one Prefect flow: collect, prepare, drift, climb, incumbent, accept, register, promote.

`python -m rungwise.flows.pipeline` runs it in this process; infra/prefect.yaml deploys it. The steps and their order
are those of `pipeline.steps`, with a Prefect task per step.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from prefect import flow, get_run_logger, task

from rungwise.core.errors import RungwiseError
from rungwise.core.texts import visible
from rungwise.flows.climb import climb, ladder_table
from rungwise.flows.prepare import prepare
from rungwise.flows.shown import is_transient_failure, rename_run, run_name, show_errors_once, show_step
from rungwise.pipeline import steps
from rungwise.report.steps import step_markdown
from rungwise.workspace.layout import Snapshot, data_version
from rungwise.workspace.process import workspace_root

T = TypeVar("T")
RETRIES: Final[Mapping[str, Any]] = {
    "retries": 2,
    "retry_delay_seconds": [10, 60],
    "retry_condition_fn": is_transient_failure,
}
"""Steps outside DVC's graph reach sources and MLflow, and can be repeated safely."""


class PrefectRunner:
    """Does each step as a Prefect task."""

    name = "the Prefect flow"
    source = "rungwise.flows.pipeline:pipeline"

    def stages(self, name: str, root: Path, before: Snapshot) -> None:
        """Runs the stages of a step as tasks."""
        {"prepare": prepare, "climb": climb}[name](root, before)
        if name == "prepare":
            rename_run(data_version(root))

    def step(self, name: str, task_name: str, act: Callable[[], T]) -> T:
        """Does one step as a task of its name, and publishes what it did; again, if a server could not be reached."""

        def shown() -> T:
            result = act()
            show_step(f"{name}-{task_name}".strip("-"), step_markdown(workspace_root(), name, task_name, result))
            return result

        named: Any = task(name=name, task_run_name=f"{name} {task_name}".strip(), **RETRIES)
        as_task: Any = named(shown)
        result: T = as_task()
        return result

    def report(self, line: str) -> None:
        """Logs one line of news."""
        get_run_logger().info(visible(line))

    def finished(self, root: Path, task_name: str) -> None:
        """Publishes the ladder of a task."""
        ladder_table(root, task_name)


@flow(name="rungwise", flow_run_name=run_name)
def pipeline() -> dict[str, str]:
    """Runs every step once; returns task -> action (`promote`, `keep`, `refuse`, or `not registered`)."""
    show_errors_once()
    results = steps.run(workspace_root(), PrefectRunner())
    return {result.task: "not registered" if result.action == "none" else result.action for result in results}


def main() -> int:
    """Runs the flow once in this process; returns the exit code, as that of `rungwise run`."""
    try:
        pipeline()
    except RungwiseError:
        return 2  # the flow's log has shown it
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
