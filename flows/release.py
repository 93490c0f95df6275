"""What passed goes to the registry and before the gate: one Prefect task a step and task."""

from pathlib import Path

from prefect import get_run_logger, task

from rungwise.pipeline import effects


@task(name="accept")
def accept(root: Path) -> None:
    """Adds the version of the rows to the accepted ones, and says what drifted."""
    for sentence in effects.accept(root):
        get_run_logger().info(sentence)


@task(name="register", task_run_name="register {name}")
def register(root: Path, name: str) -> int | None:
    """Registers a task's climb; returns the challenger's version, None where no rung passed."""
    registered = effects.register(root, name)
    get_run_logger().info(registered.sentence)
    return registered.version


@task(name="promote", task_run_name="promote {name}")
def promote(root: Path, name: str) -> str:
    """Lets the test rows judge a task's challenger; returns what the gate said."""
    action, reasons = effects.promote(root, name)
    get_run_logger().info("%s: %s: %s", name, action, " ".join(reasons))
    return action
