"""A task's whole climb: its rungs tried until the policy says stop, and the files that this leaves.

Local bases lie outside the DVC graph: whether the ladder's are there, and still are those of the last climb, is asked
here too.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rungwise.climbing.climb import climb
from rungwise.climbing.decide import Outcome, compare, decide
from rungwise.climbing.rungs import EvaluateRung, TaskClimb, TrainRung
from rungwise.config import Settings, base_of
from rungwise.core.errors import DataError, ModelError, Problem, WorkspaceError
from rungwise.core.folders import open_sealed, read_json
from rungwise.core.progress import say
from rungwise.core.records import Base, Climb, Json, climb_from_json, counted, to_json, to_lines
from rungwise.core.table import Table
from rungwise.evidence.evaluate import score_text
from rungwise.model.bases import base_digest, base_folder
from rungwise.workspace.layout import Paths

if TYPE_CHECKING:
    from rungwise.attempts.store import Attempt

KEPT = "kept"
"""The folder under data/climb/<task>/ that holds what makes the kept attempt answer again."""
DATA = "data.json"
"""The file beside a kept attempt that names the rows that it was taught by."""
_NOT_KEPT = ("SEAL.json", "cost.json", "losses.json", "audit.json")
"""The files of an attempt that are not needed to answer again, or differ from run to run."""


@dataclass(frozen=True)
class Climbed:
    """One task's climb with what it leaves."""

    climb: Climb
    files: Mapping[str, str | Path | Json]
    """Path in the task's folder of data/climb -> text, a file to copy, or a value that becomes JSON."""


def climb_ladder(one: TaskClimb, data_version: str, train: TrainRung, evaluate: EvaluateRung) -> Climbed:
    """Returns one task's climb: evidence, decisions, predictions, the kept adapter.

    `data_version`: the short name of its rows. `train` and `evaluate` are how one rung is tried.

    Raises:
        DataError: there are too few development rows to judge anything.
    """
    settings = one.settings
    if len(one.dev) < settings.decide.min_scored:
        raise DataError(
            Problem(
                "there are too few development rows to judge anything",
                where=f"step climb: {one.name}",
                found=f"{len(one.dev)} rows",
                wanted=f"{settings.decide.min_scored} (`decide.min_scored`)",
                do="collect more rows, or raise `split.dev`: nothing was trained",
            )
        )
    attempts: dict[str, Attempt] = {}

    def attempt(rung: str) -> Outcome:
        attempts[rung] = train(one, rung)
        outcome = evaluate(one, rung, attempts[rung])
        say(f"climb {one.name} on data {data_version}: {rung} " + score_text(outcome.evidence))
        return outcome

    policy = functools.partial(decide, settings.decide, one.task.target, one.metric)
    names = [rung.name for rung in settings.ladder]
    result, outcomes = climb(one.name, one.task.measure, one.task.target, names, attempt, policy)
    result = replace(result, comparison=compare(one.metric, outcomes, result.decision))
    files: dict[str, str | Path | Json] = {"climb.json": to_json(result)}
    for outcome in outcomes:
        files[f"predictions/{outcome.evidence.rung}.jsonl"] = to_lines(outcome.predictions)
    if result.decision.rung:
        files |= {f"{KEPT}/{f.name}": f for f in _kept_files(attempts[result.decision.rung].folder)}
        files[f"{KEPT}/{DATA}"] = _taught_by(settings, one.train, data_version)
    say(f"climb {one.name} on data {data_version}: {result.decision.reasons[-1]} {result.comparison}")
    return Climbed(result, files)


def _kept_files(attempt: Path) -> list[Path]:
    """Returns the files of an attempt that make it answer again: no cost, nothing that differs between runs."""
    return sorted(p for p in attempt.iterdir() if p.is_file() and p.name not in _NOT_KEPT)


def _taught_by(settings: Settings, train: Table, version: str) -> dict[str, Json]:
    """Returns the data version and the sources of the rows that taught, each with its rows and its licence."""
    licences = {source.name: source.licence for source in settings.ingest.sources}
    counts = counted(train.source)
    return {
        "data_version": version,
        "sources": {name: {"rows": n, "licence": licences.get(name)} for name, n in counts.items()},
    }


def last_climb(root: Path, task: str) -> Climb:
    """Returns the task's last climb.

    Raises:
        WorkspaceError: the task was not climbed yet.
    """
    folder = Paths(root).output("climb")
    if not folder.exists() or not (open_sealed(folder, "climb") / task / "climb.json").is_file():
        raise WorkspaceError(
            Problem("a task was not climbed yet", where=str(folder), found=task, do="`rungwise run` climbs it")
        )
    return climb_from_json(read_json(folder / task / "climb.json"))


def check_bases(root: Path, settings: Settings) -> None:
    """Checks that every local base of the ladder is there, before anything is spent on a rung below it.

    Raises:
        ModelError: one is not, or lacks a part.
    """
    for rung in settings.ladder:
        base = base_of(rung)
        if base and not base.revision:
            base_folder(base, root)


def changed_bases(root: Path) -> list[str]:
    """Returns the local bases of the last climb whose files are no longer those that it used.

    A base lies outside the DVC graph, so DVC does not see this.
    """
    changed = set()
    for path in sorted(Paths(root).output("climb").glob("*/climb.json")):
        for evidence in climb_from_json(read_json(path)).evidence:
            if not evidence.base or "@" in evidence.base:
                continue
            try:
                now = base_digest(base_folder(Base(evidence.base), root))
            except ModelError:
                now = ""
            if now != evidence.base_digest:
                changed.add(evidence.base)
    return sorted(changed)
