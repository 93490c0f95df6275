"""A task's whole climb: its rungs are tried until the policy ends it; returns the files of data/climb/<task>.

Local bases lie outside the DVC graph, so two checks of them are here too: whether the ladder's bases exist, and whether
those of the last climb have changed.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rungwise.climbing.climb import climb
from rungwise.climbing.curve import curve_of
from rungwise.climbing.decide import Outcome, compare, decide
from rungwise.climbing.rungs import EvaluateRung, TaskClimb, TrainRung
from rungwise.config import Settings, base_of
from rungwise.core.decisions import Climb, climb_from_json
from rungwise.core.errors import DataError, ModelError, Problem, TrainingError, WorkspaceError
from rungwise.core.folders import open_sealed, read_json
from rungwise.core.methods import METHODS
from rungwise.core.progress import say
from rungwise.core.prompts import slots
from rungwise.core.records import Base, Json, counted, to_json, to_lines
from rungwise.core.table import Table
from rungwise.core.texts import number_of
from rungwise.core.words import sentences_of
from rungwise.evidence.ceiling import ceiling_of
from rungwise.evidence.evaluate import score_text
from rungwise.evidence.floors import floor_of
from rungwise.evidence.intervals import MIN_GROUPS, has_few_groups
from rungwise.model.bases import base_digest, check_local, embedded_name, local_folder
from rungwise.workspace.layout import Paths

if TYPE_CHECKING:
    from rungwise.attempts.store import Attempt

BEST = "best"
"""The folder under data/climb/<task>/ with the files that the best attempt needs to answer again."""
DATA = "data.json"
"""The file in that folder that names the data version and the sources of the training rows."""
_LEFT_OUT = ("SEAL.json", "cost.json", "losses.json", "audit.json")
"""Files of an attempt that it does not need to answer again, or that differ from run to run."""


@dataclass(frozen=True)
class Climbed:
    """One task's climb with its files."""

    climb: Climb
    files: Mapping[str, str | Path | Json]
    """Path in the task's folder of data/climb -> text, a file to copy, or a value that becomes JSON."""


def climb_ladder(one: TaskClimb, data_version: str, train: TrainRung, evaluate: EvaluateRung) -> Climbed:
    """Returns one task's climb with its files: evidence, decisions, predictions, the best adapter.

    Args:
        one: the task's rows and what each rung would try.
        data_version: the short name of the rows.
        train: trains a rung, or returns its attempt from the store.
        evaluate: evaluates a rung's attempt on the validation rows.

    Raises:
        DataError: there are too few validation rows, or groups of them, to judge anything.
        ModelError, TrainingError: a rung can't be trained or evaluated; the error names the task and the rung.
    """
    settings = one.settings
    if len(one.dev) < settings.decide.min_scored:
        raise DataError(
            Problem(
                "there are too few validation rows to judge anything",
                where=f"step climb: {one.name}",
                found=number_of(len(one.dev), "row"),
                wanted=f"{settings.decide.min_scored} (`decide.min_scored`)",
                do="collect more rows, or raise `split.dev`: nothing was trained",
            )
        )
    if has_few_groups(one.dev.group):
        raise DataError(
            Problem(
                "the validation rows are of too few groups to judge anything",
                where=f"step climb: {one.name}",
                found=f"{number_of(len(one.dev), 'row')} of {number_of(len(set(one.dev.group)), 'group')}",
                wanted=f"{MIN_GROUPS} groups: rows of one group say the same",
                do="collect rows of other groups, raise `split.dev`, or correct `split.group` if rows of one group are "
                "independent: nothing was trained",
            )
        )
    attempts: dict[str, Attempt] = {}

    def attempt(rung: str) -> Outcome:
        try:
            attempts[rung] = train(one, rung)
            outcome = evaluate(one, rung, attempts[rung])
        except (ModelError, TrainingError) as error:
            where = f"task {one.name}, rung {rung}" + (f": {error.problem.where}" if error.problem.where else "")
            raise type(error)(replace(error.problem, where=where)) from error
        say(f"climb {one.name} on data {data_version}: {rung} " + score_text(outcome.evidence))
        return outcome

    floor = floor_of(one.metric, slots(one.task.prompt), one.train, one.dev, settings.evaluate.confidence)
    ceiling = ceiling_of(one.task.answer, one.train, one.dev)
    target = settings.bars[one.name]
    policy = functools.partial(
        decide, settings.decide, target, one.metric, floor=floor, ceiling=ceiling, refused=one.refused
    )
    names = [rung.name for rung in settings.ladder]
    result, outcomes = climb(one.name, one.task.measure, target, names, attempt, policy)
    comparison = compare(one.metric, outcomes, result.decision)
    curves = tuple(curve for outcome in outcomes if (curve := curve_of(one, outcome, train, evaluate)))
    result = replace(result, comparison=comparison, floor=floor.floor if floor else None, curves=curves)
    files: dict[str, str | Path | Json] = {"climb.json": to_json(result)}
    for outcome in outcomes:
        files[f"predictions/{outcome.evidence.rung}.jsonl"] = to_lines(outcome.predictions)
    if result.decision.rung:
        files |= {f"{BEST}/{f.name}": f for f in _answering_files(attempts[result.decision.rung].folder)}
        files[f"{BEST}/{DATA}"] = _trained_on(settings, one.train, data_version)
    news = [result.decision.reasons[-1], *([result.comparison] if result.comparison else [])]
    say(f"climb {one.name} on data {data_version}: {sentences_of(news)}")
    return Climbed(result, files)


def _answering_files(attempt: Path) -> list[Path]:
    """Returns the files that an attempt needs to answer again; none of them differs from run to run."""
    return sorted(p for p in attempt.iterdir() if p.is_file() and p.name not in _LEFT_OUT)


def _trained_on(settings: Settings, train: Table, version: str) -> dict[str, Json]:
    """Returns the data version and the sources of the training rows, each with its number of rows and its licence."""
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
    """Checks that every local base of the ladder exists and suits its rung, before any rung is trained.

    Raises:
        ModelError: a base is missing or incomplete, can't write, or its terms were not accepted.
    """
    for rung in settings.ladder:
        base = base_of(rung)
        if base:
            check_local(base, root, writes=METHODS[rung.method].engine == "language_model")


def changed_bases(root: Path) -> list[str]:
    """Returns the local bases whose files changed after the last climb used them, sorted.

    A base lies outside the DVC graph, so DVC does not detect this.
    """
    changed = set()
    for path in sorted(Paths(root).output("climb").glob("*/climb.json")):
        for evidence in climb_from_json(read_json(path)).evidence:
            if not evidence.base or "@" in evidence.base:
                continue
            try:
                now = base_digest(local_folder(Base(evidence.base), root))
            except ModelError:
                # an embedded base that is not in the cache is fetched again, and its SHA-256 fixes its files
                now = evidence.base_digest if embedded_name(Base(evidence.base), root) else ""
            if now != evidence.base_digest:
                changed.add(evidence.base)
    return sorted(changed)
