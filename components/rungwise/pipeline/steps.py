"""The steps of a run, in order: the only list, which both `rungwise run` and the Prefect flow follow.

DVC runs and caches the stages. The other steps work outside DVC's graph (on the sources and on MLflow) and can be
repeated safely. A runner decides how a step runs: with `dvc repro` or as Prefect tasks. This file decides which steps
run and in which order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

from rungwise.climbing.incumbent import ask_incumbent, incumbent_lines
from rungwise.climbing.ladder import check_bases, climb_ladder, last_climb
from rungwise.climbing.rungs import evaluate_rung, is_stored, task_climb, train_rung
from rungwise.config import Settings
from rungwise.core.decisions import Reason
from rungwise.core.errors import RungwiseError, WorkspaceError
from rungwise.core.folders import json_text, replace_text
from rungwise.core.gate_reasons import ClimbedAlone, NothingRegistered
from rungwise.core.progress import LineProgress
from rungwise.core.records import to_json
from rungwise.core.words import sentence_of, sentences_of
from rungwise.dataset.collect import Collected
from rungwise.dataset.collect import collect as copy_sources
from rungwise.history.accept import accept as accept_rows
from rungwise.history.accept import check_drift
from rungwise.pipeline.stages import check_rows, clear_leftovers
from rungwise.release.gate import Verdict
from rungwise.release.parity import Prover
from rungwise.release.promote import promote
from rungwise.release.refusals import update_refusals
from rungwise.release.register import Registration, register
from rungwise.workspace.layout import (
    Paths,
    Snapshot,
    check_graph,
    check_unchanged,
    data_version,
    settings_of,
    snapshot,
)
from rungwise.workspace.lock import locked
from rungwise.workspace.refusals import read_refusals
from rungwise.workspace.repair import repair

T = TypeVar("T")

STEPS: Final = ("collect", "prepare", "drift", "climb", "incumbent", "accept", "register", "promote")
"""The names of the steps. `prepare` is the stages ingest, validate, split and augment. `collect` and `incumbent` run if
their section of params.yaml is there. `register` and `promote` run for one task after the other, `promote` only if the
task has a registered version. After a refusal of `promote`, `climb` and what follows it run again."""


class Runner(Protocol):
    """Runs the steps of a run."""

    name: str
    """What holds the workspace's lock; other processes see it in their error."""
    source: str
    """The command or function that a user starts; MLflow shows it as what made a run."""

    def stages(self, name: str, root: Path, before: Snapshot) -> None:
        """Brings the DVC stages of `prepare` or `climb` up to date and records them in dvc.lock.

        Raises:
            RungwiseError: a stage fails.
        """
        ...

    def step(self, name: str, task: str, act: Callable[[], T]) -> T:
        """Runs a step that is not a stage and returns its result; `task` is empty for a step about all tasks."""
        ...

    def report(self, line: str) -> None:
        """Shows one line."""
        ...

    def finished(self, root: Path, task: str) -> None:
        """Is called after the last step of each task."""
        ...


@dataclass(frozen=True)
class TaskResult:
    """The result of a run for one task."""

    task: str
    version: int | None
    """The challenger's version in the registry; None if no rung passed."""
    action: str
    """`promote`, `keep`, `refuse` (see `release.gate`), or `none` where nothing was registered."""
    reasons: tuple[Reason, ...]
    """Why; `core.words.sentence_of` makes the sentence of each."""


def run(root: Path, runner: Runner, task: str | None = None) -> tuple[TaskResult, ...]:
    """Runs all steps once in a workspace; returns the result for each task.

    It holds the workspace's lock from start to end. With `task`, no other task is trained, registered or promoted. The
    climbs of all tasks are one DVC stage. Where the store lacks a rung of another task, that stage would train it:
    then the task is climbed alone, its attempts stay in the store, and nothing is registered. The runner's stage
    `prepare` must bring the rows up to date.

    Raises:
        RungwiseError: a step fails. Completed work is kept, and the next run continues from there.
        ChangedUnderRun: params.yaml, dvc.yaml or data/raw changed during the run.
    """
    settings_of(root)  # report a missing or invalid params.yaml before the lock creates a folder
    with locked(root, runner.name):
        repair(root)
        if task is not None:
            settings_of(root).task(task)
        if settings_of(root).collect:
            runner.step("collect", "", lambda: collect(root, runner.report))
        settings, before = settings_of(root), snapshot(root)
        check_rows(root)
        check_graph(root)
        check_bases(root, settings)
        clear_leftovers(root)
        runner.stages("prepare", root, before)
        runner.step("drift", "", lambda: check_drift(root))
        update_refusals(root)
        if task and (missing := rungs_of_others(root, settings, task)):
            return (_alone(root, settings, runner, task, missing),)
        results: dict[str, TaskResult] = {}
        names = [task] if task else list(settings.tasks)
        with Prover(root) as prove:  # one process for all tasks: starting one takes seconds
            while names:
                _climb(root, settings, before, runner)
                for name in names:
                    result = _release(root, before, runner, name, prove)
                    if result.action != "none" or name not in results:  # a task of which every rung is refused
                        results[name] = result
                # the climb continues where the test rows refused a rung, until one is promoted or the ladder ends
                names = [name for name in names if results[name].action == "refuse"] if update_refusals(root) else []
        return tuple(results.values())


def _climb(root: Path, settings: Settings, before: Snapshot, runner: Runner) -> None:
    runner.stages("climb", root, before)
    if settings.incumbent:
        for line in runner.step("incumbent", "", lambda: incumbent(root)):
            runner.report(line)
    for line in runner.step("accept", "", lambda: accept(root)):
        runner.report(line)


def rungs_of_others(root: Path, settings: Settings, but: str) -> list[str]:
    """Returns `task/rung` for the rungs of the other tasks that their climbs reach and the store lacks.

    Where there are any, `but` is climbed alone, and nothing is accepted, registered or promoted.
    """
    return [
        f"{name}/{rung}"
        for name in settings.tasks
        if name != but
        for one in [task_climb(root, settings, name)]
        for rung in _reached(root, settings, name)
        if not is_stored(one, rung)
    ]


def _reached(root: Path, settings: Settings, task: str) -> list[str]:
    """Returns the rungs that a climb of the task reaches: those of the last climb if one passed, otherwise all."""
    names = [rung.name for rung in settings.ladder]
    try:
        last = last_climb(root, task)
    except WorkspaceError:
        return names
    end = last.evidence[-1] if last.decision.passes and last.target == settings.bars[task] else None
    if end is None or end.rung not in names or (settings.decide.beyond_classical and not end.base):
        return names
    if end.attempt in {one.attempt for one in read_refusals(Paths(root).refusals)}:
        return names
    return names[: names.index(end.rung) + 1]


def _alone(root: Path, settings: Settings, runner: Runner, task: str, missing: Sequence[str]) -> TaskResult:
    """Climbs one task; its attempts stay in the store, and no stage's output is written."""
    one = task_climb(root, settings, task)
    version = data_version(root)
    climbed = runner.step("climb", task, lambda: climb_ladder(one, version, train_rung, evaluate_rung).climb)
    record = {"data_version": version, "climb": to_json(climbed)}
    Paths(root).alone(task).parent.mkdir(parents=True, exist_ok=True)
    replace_text(Paths(root).alone(task), json_text(record))
    reason = ClimbedAlone(tuple(missing))
    runner.report(f"{task}: {sentence_of(reason)}")
    return TaskResult(task, None, "none", (*climbed.decision.reasons, reason))


def _release(root: Path, before: Snapshot, runner: Runner, task: str, prove: Prover) -> TaskResult:
    check_unchanged(root, before)
    registered: Registration = runner.step("register", task, lambda: register(root, task, prove, source=runner.source))
    if registered.version is None:
        runner.report(f"{task}: {sentence_of(NothingRegistered())}")
        result = TaskResult(task, None, "none", (NothingRegistered(),))
    else:
        runner.report(f"{task}: {registered.rung} is version {registered.version} in the registry.")
        verdict: Verdict = runner.step("promote", task, lambda: promote(root, task, prove))
        runner.report(f"{task}: {verdict.action}: {sentences_of(verdict.reasons)}")
        result = TaskResult(task, registered.version, verdict.action, verdict.reasons)
    runner.finished(root, task)
    check_unchanged(root, before)
    return result


def collect(root: Path, report: Callable[[str], None]) -> tuple[Collected, ...]:
    """Copies the sources of params.yaml's `collect` into data/raw; returns the files of each source.

    It reports files whose source is no longer in `collect`.

    Raises:
        DataError: a source can't be read (see `dataset.collect`).
    """
    copied = copy_sources(settings_of(root).collect, root, Paths(root).raw, LineProgress("collect"))
    for path in copied.orphans:
        report(
            f"collect: warning: data/raw/{path} comes from a source that is no longer in `collect`. `ingest` may still "
            "read it: delete the file, or add the source again"
        )
    return copied.sources


def incumbent(root: Path) -> list[str]:
    """Asks the incumbent what the store does not have; returns lines about it.

    Nothing depends on its answers, so that a server which can't be asked does not end a run.
    """
    try:
        asked, settings = ask_incumbent(root), settings_of(root).incumbent
        return incumbent_lines(asked, settings.price if settings else None)
    except RungwiseError as error:
        return [f"warning: the incumbent was not asked: {error.problem.line}"]


def accept(root: Path) -> list[str]:
    """Accepts the version of the rows that the climb used; returns lines about it, none if it was accepted before.

    Raises:
        DataError: the drift exceeds a limit, and `validate.drift.severity` is `stop`.
    """
    accepted = accept_rows(root)
    if not accepted.is_new:
        return []
    shifts = [(task, shift) for task, moved in accepted.shifts.items() for shift in moved if shift.is_over]
    return [
        f"data version {accepted.version} is accepted; `rungwise data log` lists all versions",
        *(f"warning: {task}: {shift.sentence}" for task, shift in shifts),
    ]
