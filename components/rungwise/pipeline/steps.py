"""The steps of a run, in their order: the one list that the command `rungwise run` and the Prefect flow walk.

Stages are DVC's and cached; the other steps reach outside the graph (to the sources, to MLflow) and are idempotent. How
a step is done, by `dvc repro` or as Prefect tasks, is the runner's; what is done and in which order stands here alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

from rungwise.climbing.ladder import check_bases
from rungwise.core.decisions import NothingRegistered, Reason
from rungwise.core.progress import LineProgress
from rungwise.core.words import sentence_of, sentences_of
from rungwise.dataset.collect import Collected
from rungwise.dataset.collect import collect as copy_sources
from rungwise.history.accept import accept as accept_rows
from rungwise.history.accept import check_drift
from rungwise.pipeline.stages import check_rows, clear_leftovers
from rungwise.release.gate import Verdict
from rungwise.release.promote import promote
from rungwise.release.register import Registration, register
from rungwise.workspace.layout import Paths, Snapshot, check_graph, check_unchanged, settings_of, snapshot
from rungwise.workspace.lock import locked

T = TypeVar("T")

STEPS: Final = ("collect", "prepare", "drift", "climb", "accept", "register", "promote")
"""The names of the steps. `prepare` is the stages ingest, validate, split and augment. `register` and `promote` are
done for one task after the other, `promote` only where something was registered."""


class Runner(Protocol):
    """How the steps of a run are done."""

    name: str
    """Who holds the workspace's lock, for whoever finds it taken."""

    def stages(self, name: str, root: Path, before: Snapshot) -> None:
        """Brings the DVC stages of `prepare` or `climb` up to date and records them.

        Raises:
            RungwiseError: a stage fails.
        """
        ...

    def step(self, name: str, task: str, act: Callable[[], T]) -> T:
        """Does a step that is not a stage and returns its result; `task` is empty where it concerns all tasks."""
        ...

    def report(self, line: str) -> None:
        """Shows one line of news."""
        ...

    def finished(self, root: Path, task: str) -> None:
        """Is called after the last step of each task."""
        ...


@dataclass(frozen=True)
class TaskResult:
    """What a run did for one task."""

    task: str
    version: int | None
    """The challenger's version in the registry; None where no rung passed."""
    action: str
    """`promote`, `keep`, `refuse` (see `release.gate`), or `none` where nothing was registered."""
    reasons: tuple[Reason, ...]
    """Why; `core.words.sentence_of` makes the sentence of each."""


def run(root: Path, runner: Runner) -> tuple[TaskResult, ...]:
    """Walks the steps once over a workspace; returns what became of each task.

    Holds the workspace's lock from start to end.

    Raises:
        RungwiseError: a step fails; what was finished is kept, and the next run continues from there.
        ChangedUnderRun: params.yaml, dvc.yaml or data/raw was edited meanwhile.
    """
    settings_of(root)  # report a missing or invalid params.yaml before anything is made here
    with locked(root, runner.name):
        if settings_of(root).collect:
            runner.step("collect", "", lambda: collect(root, runner.report))
        settings, before = settings_of(root), snapshot(root)
        check_rows(root)
        check_graph(root)
        check_bases(root, settings)
        clear_leftovers(root)
        runner.stages("prepare", root, before)
        runner.step("drift", "", lambda: check_drift(root))
        runner.stages("climb", root, before)
        for line in runner.step("accept", "", lambda: accept(root)):
            runner.report(line)
        return tuple(_release(root, before, runner, task) for task in settings.tasks)


def _release(root: Path, before: Snapshot, runner: Runner, task: str) -> TaskResult:
    check_unchanged(root, before)
    registered: Registration = runner.step("register", task, lambda: register(root, task))
    if registered.version is None:
        runner.report(f"{task}: {sentence_of(NothingRegistered())}")
        result = TaskResult(task, None, "none", (NothingRegistered(),))
    else:
        runner.report(f"{task}: {registered.rung} is version {registered.version} in the registry.")
        verdict: Verdict = runner.step("promote", task, lambda: promote(root, task))
        runner.report(f"{task}: {verdict.action}: {sentences_of(verdict.reasons)}")
        result = TaskResult(task, registered.version, verdict.action, verdict.reasons)
    runner.finished(root, task)
    check_unchanged(root, before)
    return result


def collect(root: Path, report: Callable[[str], None]) -> tuple[Collected, ...]:
    """Copies the sources of params.yaml's `collect` into data/raw; returns what each held.

    Reports files of sources that `collect` does not name any more.

    Raises:
        DataError: a source can't be read (see `dataset.collect`).
    """
    copied = copy_sources(settings_of(root).collect, root, Paths(root).raw, LineProgress("collect"))
    for path in copied.orphans:
        report(
            f"collect: warning: data/raw/{path} is of a source that `collect` does not name any more, and `ingest` may "
            "still read it: delete the file, or name the source again"
        )
    return copied.sources


def accept(root: Path) -> list[str]:
    """Accepts the version of the rows that were climbed on; returns what to know about it, a line each.

    Raises:
        DataError: the rows drifted too far, and `validate.drift.severity` is `stop`.
    """
    accepted = accept_rows(root)
    if not accepted.is_new:
        return []
    shifts = [(task, shift) for task, moved in accepted.shifts.items() for shift in moved if shift.is_over]
    return [
        f"data version {accepted.version} is accepted; `rungwise data log` lists all",
        *(f"warning: {task}: {shift.sentence}" for task, shift in shifts),
    ]
