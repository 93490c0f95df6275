"""Runs the steps with `dvc repro`, for `rungwise run` and the Python API."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rungwise.climbing.ladder import changed_bases
from rungwise.core.errors import Problem, WorkspaceError
from rungwise.core.folders import joined
from rungwise.core.progress import say
from rungwise.workspace.dvc import reproduce
from rungwise.workspace.layout import Snapshot, settings_of
from rungwise.workspace.repair import repair

T = TypeVar("T")


class ReproRunner:
    """Runs stages with `dvc repro` and the other steps in this process."""

    name = "rungwise run"

    def stages(self, name: str, root: Path, before: Snapshot) -> None:
        """Brings the stages of a step up to date."""
        del before  # DVC compares the inputs itself, and each stage checks them again before it writes
        if name == "climb":
            _reproduce(root)
            if changed := changed_bases(root):
                say(f"rungwise: the files of base {joined(changed)} changed since the last climb; climbing again")
                _reproduce(root, "--force", "--single-item", "climb")
        elif settings_of(root).validate_.drift.severity == "stop":
            _reproduce(root, "augment")
        # otherwise no step needs the rows before the climb, whose `dvc repro` also prepares them: one process less

    def step(self, name: str, task: str, act: Callable[[], T]) -> T:
        """Runs one step."""
        del name, task
        return act()

    def report(self, line: str) -> None:
        """Writes one line to standard error."""
        say(line)

    def finished(self, root: Path, task: str) -> None:
        """Does nothing, because the whole status is printed at the end."""


def _reproduce(root: Path, *arguments: str) -> None:
    if reproduce(root, *arguments) != 0:
        repair(root)  # a full disk leaves what a kill leaves
        do = "fix the error and run again; completed work is kept"
        raise WorkspaceError(Problem("the run failed (see above)", where=str(root), do=do))
