"""Reads a workspace into typed values: the status of each task (`status`) and the course of its climb (`explain`).

Terminal, pages, JSON and the Python API are made from these values. JSON holds each reason's sentence too.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rungwise.climbing.ladder import last_climb
from rungwise.config import Settings
from rungwise.core.climb_reasons import Doubling, DoubtfulLabels, WeakSlice, WithoutModel
from rungwise.core.decisions import Climb, Decision, Floor, Text, climb_from_json
from rungwise.core.errors import RungwiseError, WorkspaceBusy
from rungwise.core.folders import is_sealed, read_json, read_lines
from rungwise.core.gate_reasons import Threshold
from rungwise.core.records import Evidence, Json, prediction_from_json, to_json
from rungwise.core.table import Table
from rungwise.core.words import reason_json
from rungwise.evidence.doubling import doubling
from rungwise.evidence.intervals import share_needed
from rungwise.evidence.levels import screen_interval
from rungwise.evidence.metrics import MEANINGS, TITLES
from rungwise.evidence.slices import weak_slices
from rungwise.pipeline.stages import check_rows
from rungwise.release.abstain import metric_of, recorded, shown_by
from rungwise.release.facts import compared
from rungwise.release.gate import Verdict
from rungwise.release.ledger import looks
from rungwise.release.promote import verdict_on
from rungwise.release.registry import CHALLENGER, CHAMPION, Registry, Version
from rungwise.report.reference import Reference, Speed, reference, reference_json, speeds
from rungwise.workspace.dvc import changed
from rungwise.workspace.layout import Paths, data_version, settings_of
from rungwise.workspace.lock import working

DOUBTFUL_SHARE: Final = 0.05
"""Labels are doubted where no rung passes, if more than this share of them may be wrong."""


@dataclass(frozen=True)
class TaskStatus:
    """The status of one task."""

    name: str
    metric: str
    target: float
    """The bar, 0 to 1."""
    ladder: tuple[str, ...]
    """The rungs' names, cheapest first."""
    evidence: tuple[Evidence, ...]
    """The evidence of each tried rung, in order; empty before the first climb."""
    decision: Decision | None
    comparison: WithoutModel | Text | None
    """Whether a language model is needed at all; None where no rung without one was scored."""
    challenger: Version | None
    champion: Version | None
    test_looks: tuple[Mapping[str, Any], ...]
    """The recorded test-set looks, oldest first; `reasons` of each is a tuple of Reason."""
    floor: Floor | None = None
    """What needs no training; None before the first climb, and in climbs of older versions."""
    speeds: Mapping[str, Speed] = field(default_factory=dict)
    """Rung -> what its answers take and cost, where that was measured."""
    incumbent: Reference | None = None
    """What the user has today, compared with the rungs; None if it was not asked about today's rows."""
    verdict: Verdict | None = None
    """The gate's last verdict on the climb's candidate; None without one, or where the gate was not asked about it."""

    doubts: DoubtfulLabels | None = None
    """Where no rung passes and many labels may be wrong."""
    amounts: tuple[Doubling, ...] = ()
    """Where no rung passes: what twice as many training rows would bring."""
    is_alone: bool = False
    """Whether the climb is one of this task alone (`rungwise run --task`), from which nothing is registered."""

    @property
    def refused(self) -> Verdict | None:
        """The verdict, if the gate refused the climb's candidate and it is not the champion."""
        is_champion = self.chosen and self.champion and self.champion.is_of(self.chosen.attempt)
        return self.verdict if self.verdict and self.verdict.action == "refuse" and not is_champion else None

    @property
    def chosen(self) -> Evidence | None:
        """The evidence of the decision's rung: the rung that passes, otherwise the best so far."""
        name = self.decision.rung if self.decision else None
        return next((e for e in self.evidence if e.rung == name), None)


@dataclass(frozen=True)
class Status:
    """The status of a workspace."""

    tasks: Mapping[str, TaskStatus]
    data_version: str | None
    """The short name of the rows of the last climb; None before the first."""
    changed: tuple[str, ...]
    """The stages that DVC would run again. If there are any, the results are out of date."""
    working: str = ""
    """The process that holds the workspace's lock, and what it does; empty if none does. `changed` is empty then."""
    fault: str = ""
    """Why `changed` is not known, on one line; empty if it is known, or a process is working."""


@dataclass(frozen=True)
class RungExplanation:
    """A rung's evidence, and the decision after it."""

    evidence: Evidence
    seconds: float | None
    """Training time; None if the store has no record of it."""
    decision: Decision
    speed: Speed | None = None
    """What its answers take and cost; None if the store has no record of it."""


@dataclass(frozen=True)
class Explanation:
    """A task's whole climb: its metric, what its rows can show, each rung's evidence and decision."""

    name: str
    metric: str
    """The metric's title."""
    meaning: str
    """What the metric measures, as part of a sentence."""
    target: float
    dev_rows: int
    dev_groups: int
    """Lineage groups of the validation rows."""
    share_needed: float | None
    """The score with which a rung passes on independent rows; None if no score is enough."""
    share_needed_of_groups: float | None
    """The same if all rows of a group have equal scores."""
    rungs: tuple[RungExplanation, ...]
    decision: Decision
    comparison: WithoutModel | Text | None
    floor: Floor | None = None
    """What needs no training; None in climbs of older versions."""
    incumbent: Reference | None = None
    """What the user has today, compared with the rungs; None if it was not asked about today's rows."""
    verdict: Verdict | None = None
    """The gate's last verdict on the climb's candidate; None without one, or where the gate was not asked about it."""
    doubts: DoubtfulLabels | None = None
    """Where no rung passes and many labels may be wrong."""
    amounts: tuple[Doubling, ...] = ()
    """What twice as many training rows would bring rungs that were trained on parts of them."""
    weak: tuple[WeakSlice, ...] = ()
    """Where no rung passes: labels, sources and lengths on which the best so far is shown to be below the bar."""
    threshold: Threshold | None = None
    """Which answers the decision's rung would give itself; None where params.yaml sets no goal (`abstain.right`)."""


def status(root: Path) -> Status:
    """Returns the status of each task: bar, ladder, evidence, decision, challenger and champion.

    It takes no lock: while a run works, what changed since the last climb is left out.

    Raises:
        SettingsError: params.yaml is not valid.
        RegistryError: MLflow can't be read.
    """
    settings = settings_of(root)
    is_climbed = is_sealed(Paths(root).output("climb"))
    has_data = all(is_sealed(Paths(root).output(verb)) for verb in ("split", "augment"))
    asks = is_climbed and (root / ".dvc").is_dir()
    with ThreadPoolExecutor(1) as thread:  # DVC takes a second to answer
        changes = thread.submit(_changed, root) if asks else None
        tasks = _tasks(root, settings, is_climbed, has_data)
    stages, fault = changes.result() if changes else ((), "")
    return Status(
        tasks=tasks,
        data_version=data_version(root) if is_climbed and has_data else None,
        changed=stages,
        working=working(root),
        fault=fault,
    )


def _changed(root: Path) -> tuple[tuple[str, ...], str]:
    """Returns the stages that DVC would run again, and why they are not known, if not."""
    try:
        check_rows(root)
        return tuple(changed(root)), ""
    except WorkspaceBusy:
        return (), ""
    except RungwiseError as error:
        return (), error.problem.line


def _tasks(root: Path, settings: Settings, is_climbed: bool, has_data: bool) -> dict[str, TaskStatus]:
    registry = Registry(root)
    tasks = {}
    for name, task in settings.tasks.items():
        recorded = _climb(root, name) if is_climbed else None
        climb = recorded or _climb_alone(root, settings, name)
        aliases = registry.aliases(name)
        rungs = speeds(root, settings, climb) if climb else {}
        verdict = verdict_on(root, climb) if climb else None
        tasks[name] = TaskStatus(
            name=name,
            metric=task.measure,
            target=settings.bars[name],
            ladder=tuple(r.name for r in settings.ladder),
            evidence=climb.evidence if climb else (),
            decision=climb.decision if climb else None,
            comparison=compared(climb, verdict) if climb else None,
            challenger=aliases.get(CHALLENGER),
            champion=aliases.get(CHAMPION),
            test_looks=tuple(looks(Paths(root).ledger, name)),
            floor=climb.floor if climb else None,
            speeds=rungs,
            incumbent=reference(root, settings, climb, rungs) if climb and has_data else None,
            verdict=verdict,
            doubts=_doubts(root, climb) if climb else None,
            amounts=tuple(map(doubling, climb.curves)) if climb and not climb.decision.passes else (),
            is_alone=climb is not None and recorded is None,
        )
    return tasks


def explain(root: Path, task: str | None = None) -> dict[str, Explanation]:
    """Returns task -> its whole climb, for one task or for all.

    Raises:
        RungwiseError: the task does not exist, or it was not climbed yet.
    """
    settings = settings_of(root)
    if task is not None:
        settings.task(task)
    names = settings.tasks if task is None else [task]
    return {name: _explanation(root, name, settings) for name in names}


def _explanation(root: Path, name: str, settings: Settings) -> Explanation:
    climb = _climb_alone(root, settings, name) or last_climb(root, name)
    rungs, verdict = speeds(root, settings, climb), verdict_on(root, climb)
    has_data = all(is_sealed(Paths(root).output(verb)) for verb in ("split", "augment"))
    n = max((e.n for e in climb.evidence), default=0)
    n_groups = _groups(Paths(root).output("climb") / name / "predictions") or n
    needed = [share_needed(k, climb.target, screen_interval()) if k else None for k in (n, n_groups)]
    return Explanation(
        name=name,
        metric=TITLES[climb.metric],
        meaning=MEANINGS[climb.metric],
        target=climb.target,
        dev_rows=n,
        dev_groups=n_groups,
        share_needed=needed[0],
        share_needed_of_groups=needed[1],
        rungs=tuple(
            RungExplanation(evidence, _seconds(root, evidence.attempt), step, rungs.get(evidence.rung))
            for evidence, step in zip(climb.evidence, climb.steps, strict=True)
        ),
        decision=climb.decision,
        comparison=compared(climb, verdict),
        floor=climb.floor,
        incumbent=reference(root, settings, climb, rungs) if has_data else None,
        verdict=verdict,
        doubts=_doubts(root, climb),
        amounts=tuple(doubling(curve) for curve in climb.curves),
        weak=_weak(root, settings, climb) if has_data and not climb.decision.passes else (),
        threshold=shown_by(root, settings, climb, climb.decision.rung)[1],
    )


def _weak(root: Path, settings: Settings, climb: Climb) -> tuple[WeakSlice, ...]:
    predictions = recorded(root, climb, climb.decision.rung)
    path = Paths(root).output("split") / climb.task / "dev.jsonl"
    if predictions is None or not path.is_file():
        return ()
    metric = metric_of(settings, climb.task)
    return weak_slices(metric, predictions, Table.read(path), climb.target, settings.evaluate.confidence)


def _doubts(root: Path, climb: Climb) -> DoubtfulLabels | None:
    path = Paths(root).output("validate") / climb.task / "report.json"
    if climb.decision.passes or not path.is_file():
        return None
    report = read_json(path)
    suspects, rows = len(report["suspects"]), report["rows"]
    return DoubtfulLabels(suspects, rows) if suspects > DOUBTFUL_SHARE * rows else None


def _climb(root: Path, task: str) -> Climb | None:
    path = Paths(root).output("climb") / task / "climb.json"
    return climb_from_json(read_json(path)) if path.is_file() else None


def _climb_alone(root: Path, settings: Settings, task: str) -> Climb | None:
    """Returns the climb of a task alone, if the task has no other and its rows, bar and ladder are today's."""
    path, folder = Paths(root).alone(task), Paths(root).output("climb")
    if not path.is_file() or (folder / task / "climb.json").is_file():
        return None
    try:
        record = read_json(path)
        climb = climb_from_json(record["climb"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # a damaged record is none
        return None
    has_data = all(is_sealed(Paths(root).output(verb)) for verb in ("split", "augment"))
    ladder = {rung.name for rung in settings.ladder}
    is_of_today = climb.target == settings.bars[task] and {one.rung for one in climb.evidence} <= ladder
    return climb if has_data and is_of_today and record["data_version"] == data_version(root) else None


def _seconds(root: Path, attempt: str) -> float | None:
    """Returns how long an attempt was trained; None if that is not known, as where its record is damaged."""
    path = Paths(root).attempts / f"train-{attempt}" / "cost.json"
    try:
        seconds = read_json(path)["seconds"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return seconds if isinstance(seconds, int | float) else None


def _groups(folder: Path) -> int:
    """Returns the number of lineage groups of a climb's validation rows."""
    paths = sorted(folder.glob("*.jsonl"))
    return len({prediction_from_json(line).group for line in read_lines(paths[0])}) if paths else 0


def status_json(found: Status) -> Json:
    """Returns a status as JSON values, as `rungwise status --json` prints them."""
    tasks = {}
    for name, task in found.tasks.items():
        tasks[name] = {
            "metric": task.metric,
            "target": task.target,
            "floor": to_json(task.floor) if task.floor else None,
            "ladder": list(task.ladder),
            "evidence": [to_json(e) for e in task.evidence],
            "decision": _decision_json(task.decision) if task.decision else None,
            "comparison": reason_json(task.comparison) if task.comparison else None,
            "challenger": _version_json(task.challenger),
            "champion": _version_json(task.champion),
            "test_looks": [
                {**look, "reasons": [reason_json(reason) for reason in look["reasons"]]} for look in task.test_looks
            ],
            "speeds": {rung: to_json(speed) for rung, speed in task.speeds.items()},
            "incumbent": reference_json(task.incumbent),
            "verdict": _verdict_json(task.verdict),
            "doubts": reason_json(task.doubts) if task.doubts else None,
            "amounts": [reason_json(amount) for amount in task.amounts],
            "alone": task.is_alone,
        }
    about = {"changed": list(found.changed), "working": found.working, "fault": found.fault}
    return {"tasks": tasks, "data_version": found.data_version, **about}


def _decision_json(decision: Decision) -> Json:
    return {**to_json(decision), "reasons": [reason_json(reason) for reason in decision.reasons]}


def _verdict_json(verdict: Verdict | None) -> Json:
    if verdict is None:
        return None
    return {"action": verdict.action, "reasons": [reason_json(reason) for reason in verdict.reasons]}


def _version_json(version: Version | None) -> Json:
    return {"version": version.number, **version.tags} if version else None


def explain_json(found: Mapping[str, Explanation]) -> Json:
    """Returns explanations as JSON values, as `rungwise explain --json` prints them."""
    return {
        name: {
            "metric": one.metric,
            "meaning": one.meaning,
            "target": one.target,
            "dev_rows": one.dev_rows,
            "dev_groups": one.dev_groups,
            "share_needed": one.share_needed,
            "share_needed_of_groups": one.share_needed_of_groups,
            "floor": to_json(one.floor) if one.floor else None,
            "rungs": [
                {
                    **to_json(rung.evidence),
                    "seconds": rung.seconds,
                    "speed": to_json(rung.speed) if rung.speed else None,
                    "decision": _decision_json(rung.decision),
                }
                for rung in one.rungs
            ],
            "decision": _decision_json(one.decision),
            "comparison": reason_json(one.comparison) if one.comparison else None,
            "incumbent": reference_json(one.incumbent),
            "verdict": _verdict_json(one.verdict),
            "doubts": reason_json(one.doubts) if one.doubts else None,
            "amounts": [reason_json(amount) for amount in one.amounts],
            "weak": [reason_json(one_slice) for one_slice in one.weak],
            "threshold": reason_json(one.threshold) if one.threshold else None,
        }
        for name, one in found.items()
    }
