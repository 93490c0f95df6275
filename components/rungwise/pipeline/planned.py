"""What a run would do and why, before it does anything: `rungwise run --dry-run`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rungwise.climbing.ladder import changed_bases, last_climb
from rungwise.climbing.rungs import is_stored, task_climb
from rungwise.config import Settings
from rungwise.core.decisions import Climb
from rungwise.core.folders import is_sealed, joined
from rungwise.core.recipes import STAGES
from rungwise.history.kept import log
from rungwise.pipeline.stages import check_rows
from rungwise.pipeline.steps import rungs_of_others
from rungwise.release.promote import pending, verdict_on
from rungwise.release.registry import CHALLENGER, CHAMPION, Registry
from rungwise.workspace import dvc
from rungwise.workspace.layout import Paths, check_graph, data_version, settings_of

Runs: TypeAlias = Literal["yes", "no", "perhaps"]


@dataclass(frozen=True)
class PlannedStep:
    """A step of a run, before the run."""

    name: str
    """A name of `steps.STEPS`; in place of `prepare`, its stages."""
    runs: Runs
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
    has_rows = _has_rows(root, stages)
    others = rungs_of_others(root, settings, task) if task and has_rows and climbs != "no" else []
    if settings.incumbent:
        steps.append(PlannedStep("incumbent", "perhaps", "it is asked what the store has no answer for"))
    if climbs == "no":
        return (*steps, _accept(root), *_release(root, tasks))
    if others:
        why = f"only {task} is climbed, because the climb of all tasks would also train {joined(others)}"
        return (*steps, *(PlannedStep(name, "no", why) for name in ("accept", "register", "promote")))
    after = "the climb runs" if climbs == "yes" else "if the climb runs"
    if task and len(settings.tasks) > 1 and not has_rows:
        climbs, after = "perhaps", "if the store has every rung that the other tasks' climbs reach"
    steps.append(PlannedStep("accept", climbs, after))
    why = f"{joined(tasks)}: {after}"
    steps.append(PlannedStep("register", climbs, why))
    steps.append(PlannedStep("promote", climbs, f"{why}; the same question is not asked of the test rows again"))
    return tuple(steps)


def _accept(root: Path) -> PlannedStep:
    """Returns whether the rows of the last climb are still to be accepted."""
    version, known = data_version(root), log(root)
    if known and known[-1]["data_version"] == version:
        return PlannedStep("accept", "no", f"data version {version} was accepted")
    return PlannedStep("accept", "yes", f"data version {version} is not the last one in {Paths(root).history.name}")


def _release(root: Path, tasks: Sequence[str]) -> tuple[PlannedStep, PlannedStep]:
    """Returns whether `register` and `promote` have something to do after the last climb, which is up to date."""
    registers, promotes = {}, {}
    for task in tasks:
        registers[task], promotes[task] = _release_of(root, last_climb(root, task))
    return _joined("register", registers), _joined("promote", promotes)


def _joined(name: str, tasks: Mapping[str, tuple[Runs, str]]) -> PlannedStep:
    """Returns the step of all tasks: it runs if it runs for one; the reasons name the tasks."""
    answers = {runs for runs, _ in tasks.values()}
    runs: Runs = "yes" if "yes" in answers else "perhaps" if "perhaps" in answers else "no"
    return PlannedStep(name, runs, "; ".join(f"{task}: {why}" for task, (_, why) in tasks.items()))


def _release_of(root: Path, climb: Climb) -> tuple[tuple[Runs, str], tuple[Runs, str]]:
    """Returns whether a climb would be registered, and whether the gate would be asked, each with the reason."""
    chosen = next((e for e in climb.evidence if e.rung == climb.decision.rung), None)
    if chosen is None or not climb.decision.passes:
        return ("no", "no rung passes"), ("no", "no rung passes")
    aliases = Registry(root).aliases(climb.task)
    challenger, champion = aliases.get(CHALLENGER), aliases.get(CHAMPION)
    if challenger is None:
        why = f"the registry has no challenger, and {chosen.rung} passes"
    elif not challenger.is_of(chosen.attempt) or challenger.tags.get("data_version") != data_version(root):
        why = f"the challenger, version {challenger.number}, is not the attempt of {chosen.rung} that passes"
    elif challenger.tags.get("reload") != "exact":
        why = f"version {challenger.number} was not proved to reload exactly"
    elif champion and champion.number == challenger.number:
        done = f"version {challenger.number} is registered"
        return ("no", done), ("no", f"version {challenger.number} is the champion")
    else:
        registered: tuple[Runs, str] = ("no", f"version {challenger.number} is registered")
        verdict = verdict_on(root, climb)
        if verdict and verdict.action == "promote":
            return registered, ("yes", f"version {challenger.number} passed the gate and is not the champion")
        is_pending, reason = pending(root, climb)
        return registered, ("yes" if is_pending else "no", reason)
    return ("yes", why), ("yes", "after it is registered; the same question is not asked of the test rows again")


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


def _has_rows(root: Path, stages: Sequence[PlannedStep]) -> bool:
    """Whether the rows that the climb would read are known already."""
    is_ready = all(is_sealed(Paths(root).output(verb)) for verb in ("split", "augment"))
    return is_ready and all(step.runs == "no" for step in stages[:-1])


def _climb_with_rungs(
    root: Path, settings: Settings, tasks: Sequence[str], stages: Sequence[PlannedStep]
) -> PlannedStep:
    """Returns the climb with the rungs that the store lacks, if the rows are known already."""
    climb = stages[-1]
    if not _has_rows(root, stages):
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
