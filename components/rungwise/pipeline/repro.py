"""Runs the steps with `dvc repro`, for `rungwise run` and the Python API."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rungwise.climbing.ladder import changed_bases
from rungwise.core.folders import joined
from rungwise.core.progress import say
from rungwise.workspace.dvc import reproduce
from rungwise.workspace.layout import Snapshot, settings_of

T = TypeVar("T")


class ReproRunner:
    """Runs stages with `dvc repro` and the other steps in this process."""

    name = source = "rungwise run"

    def __init__(self, *, verbose: bool = False, prepares_first: bool = False) -> None:
        self._verbose = verbose
        """Whether DVC's own messages are shown."""
        self._prepares_first = prepares_first
        """Whether a step between `prepare` and `climb` needs the rows."""

    def stages(self, name: str, root: Path, before: Snapshot) -> None:
        """Brings the stages of a step up to date."""
        del before  # DVC compares the inputs itself, and each stage checks them again before it writes
        if name == "climb":
            reproduce(root, verbose=self._verbose)
            if changed := changed_bases(root):
                say(f"rungwise: the files of base {joined(changed)} changed since the last climb; climbing again")
                reproduce(root, "--force", "--single-item", "climb", verbose=self._verbose)
        elif self._prepares_first or settings_of(root).validate_.drift.severity == "stop":
            reproduce(root, "augment", verbose=self._verbose)
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
