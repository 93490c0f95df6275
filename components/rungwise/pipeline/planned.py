"""What a run would do and why, before it does anything: `rungwise run --dry-run`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rungwise.climbing.ladder import changed_bases, last_climb
from rungwise.climbing.rungs import is_stored, task_climb
from rungwise.config import Settings
from rungwise.core.folders import is_sealed, joined
from rungwise.core.recipes import STAGES
from rungwise.pipeline.stages import check_rows
from rungwise.release.promote import pending
from rungwise.workspace import dvc
from rungwise.workspace.layout import Paths, check_graph, settings_of


@dataclass(frozen=True)
class PlannedStep:
    """A step of a run, before the run."""

    name: str
    """A name of `steps.STEPS`; in place of `prepare`, its stages."""
    runs: Literal["yes", "no", "perhaps"]
    """`perhaps`: it depends on what earlier steps write."""
    why: str


def planned(root: Path, task: str | None = None) -> tuple[PlannedStep, ...]:
    """Returns the steps of a run in order; changes nothing. `task`: the only task to climb, register and promote.

    Raises:
        RungwiseError: params.yaml, dvc.yaml or data/raw is not valid, or there is no such task.
        WorkspaceBusy: a run is working.
    """
    settings = settings_of(root)
    tasks = list(settings.tasks)
    if task is not None:
        settings.task(task)
        tasks = [task]
    check_graph(root)
    steps = []
    if settings.collect:
        names = joined([source.name for source in settings.collect])
        steps.append(PlannedStep("collect", "yes", f"each run looks whether the sources changed: {names}"))
    check_rows(root, may_be_empty=bool(settings.collect))
    stages = _stages(dvc.changes(root), changed_bases(root), collects=bool(settings.collect))
    steps += stages
    if stages[-1].runs != "no":
        steps[-1] = _climb_with_rungs(root, settings, tasks, stages)
    climbs = steps[-1].runs
    if settings.incumbent:
        steps.append(PlannedStep("incumbent", "perhaps", "it is asked what the store has no answer for"))
    after = {"yes": "the climb runs", "perhaps": "if the climb runs", "no": "nothing changed since the last climb"}[
        climbs
    ]
    steps.append(PlannedStep("accept", climbs, after))
    why = f"{joined(tasks)}: {after}"
    steps.append(PlannedStep("register", climbs, why))
    steps.append(_promote(root, tasks, climbs, why))
    return tuple(steps)


def _promote(root: Path, tasks: Sequence[str], climbs: Literal["yes", "no", "perhaps"], why: str) -> PlannedStep:
    """Returns the promotion: without a new climb, it runs if the gate's settings changed or it was not asked yet."""
    if climbs != "no":
        return PlannedStep("promote", climbs, f"{why}; the same question is not asked of the test rows again")
    outcomes = {task: pending(root, last_climb(root, task)) for task in tasks}
    runs: Literal["yes", "no"] = "yes" if any(is_pending for is_pending, _ in outcomes.values()) else "no"
    return PlannedStep("promote", runs, "; ".join(f"{task}: {reason}" for task, (_, reason) in outcomes.items()))


def _stages(changes: Mapping[str, Sequence[Any]], bases: Sequence[str], *, collects: bool) -> list[PlannedStep]:
    steps: list[PlannedStep] = []
    for verb in STAGES:
        own = reasons(verb, changes.get(verb, ()))
        if verb == "climb" and bases:
            own.append(f"the files of base {joined(bases)} changed")
        earlier = next((step.name for step in steps if step.runs != "no"), "collect" if collects else "")
        if own:
            steps.append(PlannedStep(verb, "yes", "; ".join(own)))
        elif earlier:
            steps.append(PlannedStep(verb, "perhaps", f"if {earlier} writes something else than last time"))
        else:
            steps.append(PlannedStep(verb, "no", "nothing changed"))
    return steps


def reasons(verb: str, entries: Sequence[Any]) -> list[str]:
    """Returns why DVC would run a stage, from the entries of `dvc.changes`; empty if it would not."""
    deps: dict[str, Any] = {}
    outs: dict[str, str] = {}
    other = []
    for entry in entries:
        if isinstance(entry, str):
            other.append("its recipe changed" if entry == "changed command" else entry)
        else:
            deps |= entry.get("changed deps", {})
            outs |= entry.get("changed outs", {})
    if deps.get("params.yaml") == "new":  # no section is recorded
        return ["it has not run yet"]
    texts = []
    for path, state in deps.items():
        if isinstance(state, dict):
            texts.append(f"{path}: {', '.join(sorted(state))} changed")
        elif path == "data/raw" or state not in ("modified", "deleted"):
            texts.append(f"{path} changed")
    texts += other + [f"{path} is {'missing' if state == 'deleted' else 'changed'}" for path, state in outs.items()]
    return texts or (["an earlier stage's output is missing"] if "deleted" in deps.values() else [])


def _climb_with_rungs(
    root: Path, settings: Settings, tasks: Sequence[str], stages: Sequence[PlannedStep]
) -> PlannedStep:
    """Returns the climb with the rungs that the store lacks, if the rows are known already."""
    climb = stages[-1]
    has_rows = all(is_sealed(Paths(root).output(verb)) for verb in ("split", "augment"))
    if not has_rows or any(step.runs != "no" for step in stages[:-1]):
        return PlannedStep(climb.name, climb.runs, f"{climb.why}; which rungs are trained depends on the rows")
    missing = [
        f"{name}/{rung.name}"
        for name in tasks
        for one in [task_climb(root, settings, name)]
        for rung in settings.ladder
        if not is_stored(one, rung.name)
    ]
    trains = f"not in the store, and trained if the climb reaches them: {joined(missing)}" if missing else ""
    return PlannedStep(
        climb.name, climb.runs, f"{climb.why}; {trains or 'every rung is in the store, so none is trained'}"
    )
