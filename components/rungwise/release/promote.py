"""Asks the gate about a task's challenger and moves the alias `champion`; the only place that scores test rows.

Every test-set look is recorded in data/promote/ledger.jsonl, and the same question is not asked twice.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rungwise.climbing.ladder import last_climb
from rungwise.climbing.rungs import form_of
from rungwise.core.decisions import (
    AlreadyChampion,
    AskedBefore,
    ChallengerScore,
    ChampionFails,
    Climb,
    NoChampion,
    OtherData,
    OtherSplit,
    WhyAlone,
    reason_from_json,
)
from rungwise.core.errors import ModelError, Problem, RegistryError
from rungwise.core.folders import open_sealed
from rungwise.core.logs import append_log, read_log
from rungwise.core.records import Prediction, digest, to_json
from rungwise.core.table import Table
from rungwise.evidence.metrics import Metric
from rungwise.release import parity
from rungwise.release.gate import Verdict, after_refusal, judge
from rungwise.release.register import split_version
from rungwise.release.registry import CHALLENGER, CHAMPION, Registry, Version
from rungwise.release.versions import note_test
from rungwise.workspace.layout import Paths, data_version, settings_of


def promote(root: Path, task: str, prove: Callable[[Path], None] | None = None) -> Verdict:
    """Returns the verdict on the task's challenger, and makes it the champion if the verdict says so.

    The same question (challenger, champion, test rows, bar, gate) is not asked twice: the ledger's answer is returned.
    A challenger that was trained on other data than the workspace holds is refused without a test-set look, because it
    may have been trained on today's test rows. For the same reason a challenger is not compared with a champion of
    another split. A refusal also says what to do next. `prove`: see `register`.

    Raises:
        SettingsError: there is no such task.
        WorkspaceError: the task was not climbed yet.
        RegistryError: there is no challenger, or it does not reload exactly.
    """
    settings_of(root).task(task)
    climb = last_climb(root, task)  # fails for a task that was not climbed, before the registry is asked
    return _with_advice(root, climb, _asked(root, climb, prove))


def verdict_on(root: Path, climb: Climb) -> Verdict | None:
    """Returns the gate's last recorded verdict on the attempt that passed a climb, and what to do after a refusal.

    None where no rung passed, or the gate was not asked about it.
    """
    chosen = next((e for e in climb.evidence if e.rung == climb.decision.rung), None)
    if chosen is None or not climb.decision.passes:
        return None
    for look in reversed(looks(Paths(root).ledger, climb.task)):
        if look.get("attempt") == chosen.attempt:
            return _with_advice(root, climb, Verdict(look["action"], look["reasons"]))
    return None


def _with_advice(root: Path, climb: Climb, verdict: Verdict) -> Verdict:
    advice = after_refusal(climb, [rung.name for rung in settings_of(root).ladder], verdict)
    return Verdict(verdict.action, (*verdict.reasons, advice)) if advice else verdict


def _asked(root: Path, climb: Climb, prove: Callable[[Path], None] | None) -> Verdict:
    from rungwise.serving.answerer import Answerer

    settings, registry, ledger, task = settings_of(root), Registry(root), Paths(root).ledger, climb.task
    target = settings.bars[task]
    challenger, champion = _challenger(registry, climb), registry.version(task, CHAMPION)
    if champion and champion.number == challenger.number:
        return Verdict("keep", (AlreadyChampion(champion.number),))
    if challenger.tags.get("data_version") != data_version(root):
        own = challenger.tags.get("data_version")
        return Verdict("refuse", (OtherData(challenger.number, own, data_version(root)),))
    rows = Table.read(open_sealed(Paths(root).output("split"), "split") / task / "test.jsonl")
    metric = Metric(settings.tasks[task].measure, form_of(settings.tasks[task], ()))
    gate, confidence = settings.promote, settings.evaluate.confidence
    question = {
        "task": task,
        "challenger": challenger.number,
        "champion": champion.number if champion else None,
        "test": digest([to_json(e) for e in rows]),
        "gate": [metric.name, target, confidence, gate.min_scored, gate.max_unscored_share],
        "attempt": challenger.tags["attempt"],
    }
    past = _answered(ledger, question)
    if past:
        _note(root, climb, challenger, past)
    if past and past.action != "promote":
        return past
    with registry.attempt_folder(challenger) as folder:
        prove(folder) if prove else parity.prove(folder, root)
    if past:  # the run that asked was killed before it moved the alias, or the alias was moved back
        registry.set_alias(challenger, CHAMPION)
        return past

    def answers(version: Version) -> tuple[Prediction, ...]:
        with registry.attempt_folder(version) as folder:
            return Answerer(folder, root).judge(rows)

    first = answers(challenger)
    second, why_alone = _champion_answers(champion, split_version(settings), answers)
    verdict = judge(gate, target, metric, confidence, first, second, _is_smaller(challenger, champion), why_alone)
    # the record comes before the promotion: the next run promotes from it, without a second look
    append_log(ledger, {**question, **to_json(verdict), "when": _now()})
    if verdict.action == "promote":
        registry.set_alias(challenger, CHAMPION)
    _note(root, climb, challenger, verdict)
    return verdict


def _note(root: Path, climb: Climb, challenger: Version, verdict: Verdict) -> None:
    """Writes the challenger's score on the test rows into the registry."""
    for reason in verdict.reasons:
        if isinstance(reason, ChallengerScore):
            note_test(root, climb, challenger, reason.score, reason.target)


def _challenger(registry: Registry, climb: Climb) -> Version:
    challenger = registry.version(climb.task, CHALLENGER)
    if challenger is None:
        passes = climb.decision.passes
        raise RegistryError(
            Problem(
                "there is nothing to promote",
                where=f"task {climb.task}",
                found="no version with the alias challenger" + ("" if passes else ": no rung passed the last climb"),
                wanted="a rung that passed on the validation rows",
                do="`rungwise run` registers it" if passes else f"`rungwise explain {climb.task}` says what would help",
            )
        )
    return challenger


def _champion_answers(
    champion: Version | None, split: str, answers: Callable[[Version], tuple[Prediction, ...]]
) -> tuple[tuple[Prediction, ...] | None, WhyAlone | None]:
    """Returns the champion's predictions on the test rows; or None, and why the challenger is judged alone."""
    if champion is None:
        return None, NoChampion()
    if champion.tags.get("split_version") != split:
        return None, OtherSplit(champion.number)
    try:
        return answers(champion), None
    except (ModelError, RegistryError) as error:
        return None, ChampionFails(champion.number, error.problem.what)


def looks(ledger: Path, task: str) -> list[dict[str, Any]]:
    """Returns the recorded test-set looks of a task, oldest first; `reasons` of each is a tuple of Reason."""
    lines = [line for line in read_log(ledger, ("task", "action", "reasons", "when")) if line["task"] == task]
    return [{**line, "reasons": tuple(reason_from_json(r) for r in line["reasons"])} for line in lines]


def _is_smaller(challenger: Version, champion: Version | None) -> bool:
    sizes = [int(v.tags.get("base_parameters", 0)) for v in (challenger, champion) if v]
    return len(sizes) == 2 and sizes[0] < sizes[1]


def _answered(ledger: Path, question: Mapping[str, Any]) -> Verdict | None:
    for look in looks(ledger, str(question["task"])):
        if all(look.get(k) == v for k, v in question.items()):
            return Verdict(look["action"], (*look["reasons"], AskedBefore(look["when"])))
    return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
