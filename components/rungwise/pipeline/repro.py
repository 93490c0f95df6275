"""The steps of a run done by `dvc repro`: how `rungwise run` and the Python API do them."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rungwise.climbing.ladder import changed_bases
from rungwise.core.errors import Problem, WorkspaceError
from rungwise.core.folders import joined
from rungwise.core.progress import say
from rungwise.workspace.dvc import reproduce
from rungwise.workspace.layout import Snapshot, settings_of

T = TypeVar("T")


class ReproRunner:
    """Does stages by `dvc repro` and the other steps in this process."""

    name = "rungwise run"

    def stages(self, name: str, root: Path, before: Snapshot) -> None:
        """Brings the stages of a step up to date."""
        del before  # DVC compares inputs itself, and each stage checks them again before it writes
        if name == "climb":
            _reproduce(root)
            if changed := changed_bases(root):
                say(f"rungwise: the files of base {joined(changed)} changed since the last climb; climbing again")
                _reproduce(root, "--force", "--single-item", "climb")
        elif settings_of(root).validate_.drift.severity == "stop":
            _reproduce(root, "augment")
        # otherwise nothing waits for the rows alone, and the climb's `dvc repro` prepares them: one DVC process less

    def step(self, name: str, task: str, act: Callable[[], T]) -> T:
        """Does one step."""
        del name, task
        return act()

    def report(self, line: str) -> None:
        """Writes one line of news to standard error."""
        say(line)

    def finished(self, root: Path, task: str) -> None:
        """Does nothing: the whole status is printed at the end."""


def _reproduce(root: Path, *arguments: str) -> None:
    if reproduce(root, *arguments) != 0:
        do = "completed work is kept: fix the error and run again"
        raise WorkspaceError(Problem("the run failed (see above)", where=str(root), do=do))
