"""Asks the gate about a task's challenger and moves the alias `champion`; the only place that scores test rows.

Every test-set look is recorded in data/promote/ledger.jsonl with what it measured, and the same question is not asked
twice: under other settings of the gate, or another bar, the verdict follows from what was measured. A look spends some
of the evidence that its rows hold (`release.spending`), so that a challenger first has to do well on validation rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rungwise.climbing.ladder import last_climb
from rungwise.climbing.rungs import form_of
from rungwise.config import Settings
from rungwise.core.decisions import Climb
from rungwise.core.errors import ModelError, Problem, RegistryError
from rungwise.core.folders import is_sealed, open_sealed, read_lines
from rungwise.core.gate_reasons import (
    AlreadyChampion,
    AskedBefore,
    ChampionFails,
    NoChampion,
    NotScreened,
    OtherData,
    OtherSplit,
    SpentLook,
    WhyAlone,
)
from rungwise.core.records import Prediction, prediction_from_json, to_json
from rungwise.core.table import Table
from rungwise.evidence.metrics import Metric
from rungwise.release import parity
from rungwise.release.abstain import set_threshold
from rungwise.release.connection import Connection
from rungwise.release.gate import Measured, Verdict, after_refusal, before_look, judge, measured, row_scores, screen
from rungwise.release.ledger import anchor, answered, check_whole, is_remeasured, looks, measured_before, record
from rungwise.release.question import digest_of, gate_settings, rows_of_look
from rungwise.release.register import split_version
from rungwise.release.registry import CHALLENGER, CHAMPION, Registry, Version
from rungwise.release.runs import log_verdict
from rungwise.release.versions import note_verdict
from rungwise.workspace.layout import Paths, data_version, settings_of


def promote(root: Path, task: str, prove: Callable[[Path], None] | None = None) -> Verdict:
    """Returns the verdict on the task's challenger, and makes it the champion if the verdict says so.

    The same question (challenger, champion, test rows, bar, gate) is not asked twice: the ledger's answer is returned.
    If only the bar or the gate's limits changed, the verdict follows from what the ledger says was measured. With too
    few test rows, or with labels among them that leave no score at the bar, nothing is scored. A challenger that was
    trained on other data than the workspace holds is refused without a test-set look, because it may have been trained
    on today's test rows. For the same reason a challenger is not compared with a champion of another split. A refusal
    also says what to do next. `prove`: see `register`.

    Raises:
        SettingsError: there is no such task.
        WorkspaceError: the task was not climbed yet.
        RegistryError: there is no challenger, or it does not reload exactly.
    """
    settings = settings_of(root)
    settings.task(task)
    climb = last_climb(root, task)  # fails for a task that was not climbed, before the registry is asked
    answers = _Answers(root)
    verdict = _with_advice(root, climb, _asked(root, climb, prove, answers))
    champion = Registry(root).version(task, CHAMPION)
    shown = set_threshold(root, settings, climb, champion, answers) if champion else None
    return Verdict(verdict.action, (*verdict.reasons, *(one for one in shown or () if one)))


def verdict_on(root: Path, climb: Climb) -> Verdict | None:
    """Returns the gate's last recorded verdict on a climb's candidate, and what to do after a refusal.

    A refusal that needs no look at the test rows is not recorded but computed. None if no rung passes on the
    validation rows, or if the gate was not asked about it.
    """
    chosen = climb.candidate
    if chosen is None:
        return None
    for look in reversed(looks(Paths(root).ledger, climb.task)):
        if look.get("attempt") == chosen.attempt:
            return _with_advice(root, climb, Verdict(look["action"], look["reasons"]))
    refusal = _refused_unasked(root, climb)
    return _with_advice(root, climb, refusal) if refusal else None


def pending(root: Path, climb: Climb) -> tuple[bool, str]:
    """Returns whether the gate would decide about an unchanged climb, and why: by the ledger, not the registry."""
    chosen = climb.candidate
    if chosen is None or not climb.decision.passes:
        return False, "no rung passes"
    settings = settings_of(root)
    past = [look for look in looks(Paths(root).ledger, climb.task) if look.get("attempt") == chosen.attempt]
    gate = gate_settings(settings, climb.task)
    if past and past[-1]["action"] == "promote":
        return False, f"{chosen.rung} was promoted"
    if any(look.get("gate") == gate for look in past):
        return False, "the same question is not asked of the test rows again"
    if _refused_unasked(root, climb):
        return False, f"{chosen.rung} is refused before the test rows are scored"
    if not past:
        return True, f"{chosen.rung} passes, and the test rows were not scored yet"
    if is_remeasured(past[-1], gate):
        return True, "a setting of the gate changed: it decides again from the recorded scores, without a second look"
    return True, "a setting of the gate changed: the test rows are scored again"


def _with_advice(root: Path, climb: Climb, verdict: Verdict) -> Verdict:
    advice = after_refusal(climb, [rung.name for rung in settings_of(root).ladder], verdict)
    return Verdict(verdict.action, (*verdict.reasons, advice)) if advice else verdict


class _Answers:
    """Answers rows with versions; the same rows once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[tuple[int, str], tuple[Prediction, ...]] = {}

    def __call__(self, version: Version, rows: Table) -> tuple[Prediction, ...]:
        """Returns one prediction for each row."""
        from rungwise.serving.answerer import Answerer

        key = version.number, digest_of(rows)
        if key not in self._known:
            with Registry(self._root).attempt_folder(version) as folder:
                self._known[key] = Answerer(folder, self._root).judge(rows)
        return self._known[key]


def _asked(root: Path, climb: Climb, prove: Callable[[Path], None] | None, answers: _Answers) -> Verdict:
    settings, registry, ledger, task = settings_of(root), Registry(root), Paths(root).ledger, climb.task
    target, gate = settings.bars[task], settings.promote
    challenger, champion = _challenger(registry, climb), registry.version(task, CHAMPION)
    check_whole(ledger, task, registry.versions(task))
    if champion and champion.number == challenger.number:
        past = verdict_on(root, climb) if "verdict" not in challenger.tags else None
        if past:  # the run that promoted it was killed before it wrote so
            _note(root, climb, challenger, past)
        return Verdict("keep", (AlreadyChampion(champion.number),))
    if challenger.tags.get("data_version") != data_version(root):
        own = challenger.tags.get("data_version")
        return Verdict("refuse", (OtherData(challenger.number, own, data_version(root)),))
    of, rows, unseen = rows_of_look(root, settings, task)
    metric = Metric(settings.tasks[task].measure, form_of(settings.tasks[task], ()))
    attempt = next((e.attempt for e in climb.evidence if challenger.is_of(e.attempt)), challenger.tags["attempt"])
    is_smaller = _is_smaller(challenger, champion)
    question = {
        "task": task,
        "challenger": challenger.number,
        "champion": champion.number if champion else None,
        "test": digest_of(rows),
        "gate": gate_settings(settings, task),
        "attempt": attempt,
    }

    def verdict_of(look: Measured) -> Verdict:
        return judge(gate, target, metric.title, look, is_smaller, unseen)

    past = answered(ledger, question)
    if past is None and (refusal := before_look(gate, target, rows.group, unseen)):
        _note(root, climb, challenger, refusal)
        return refusal
    earlier = None if past else _measured_before(ledger, question)
    verdict = past or (verdict_of(earlier.look) if earlier else None)
    if verdict is None or verdict.action == "promote":
        with registry.attempt_folder(challenger) as folder:
            prove(folder) if prove else parity.prove(folder, root)
    if past is None:
        if earlier is None:
            if unscreened := _unscreened(root, settings, metric, climb, attempt, challenger, champion, answers):
                verdict = Verdict("keep", (unscreened,))
                record(ledger, {**question, **to_json(verdict), "when": _now()}, None)
                _note(root, climb, challenger, verdict)
                return verdict
            earlier = _look(root, settings, metric, rows, challenger, champion, of.level, answers)
        verdict = verdict_of(earlier.look)
        if earlier.is_new and of.look > 1:
            spent = SpentLook(of.look, of.level, of.missing)
            verdict = Verdict(verdict.action, (*verdict.reasons, spent))
        line = {**question, **to_json(verdict), "measured": to_json(earlier.look), "when": earlier.when}
        if earlier.is_new:
            line["cohort"] = {"number": of.number, "look": of.look, "level": of.level}
        # the record comes before the promotion: the next run promotes from it, without a second look
        record(ledger, line if earlier.is_new else {**line, "decided": _now()}, earlier.scores)
        if not earlier.is_new:
            verdict = Verdict(verdict.action, (*verdict.reasons, AskedBefore(earlier.when)))
    assert verdict is not None
    if verdict.action == "promote":  # also where the run that asked was killed before, or the alias was moved back
        registry.set_alias(challenger, CHAMPION)
    _note(root, climb, challenger, verdict)
    return verdict


@dataclass(frozen=True)
class _Look:
    """What was measured on the test rows, and when."""

    look: Measured
    when: str
    """ISO 8601, UTC."""
    scores: Mapping[str, float] | None = None
    """Id of a test row -> the challenger's score; None: the look is an earlier one."""

    @property
    def is_new(self) -> bool:
        """Whether the test rows were scored for it."""
        return self.scores is not None


def _measured_before(ledger: Path, question: Mapping[str, Any]) -> _Look | None:
    past = measured_before(ledger, question)
    return _Look(*past) if past else None


def _look(
    root: Path,
    settings: Settings,
    metric: Metric,
    rows: Table,
    challenger: Version,
    champion: Version | None,
    level: float,
    answers: _Answers,
) -> _Look:
    """Scores the test rows, the only place that does; `level`: of this look, one-sided."""
    best = anchor(Paths(root).ledger, challenger.task, metric.name) if champion else None
    first = answers(challenger, rows)
    second, why_alone = _champion_answers(answers, champion, split_version(settings), rows)
    look = measured(metric, level, first, second, why_alone, best)
    return _Look(look, _now(), row_scores(metric, first))


def _unscreened(
    root: Path,
    settings: Settings,
    metric: Metric,
    climb: Climb,
    attempt: str,
    challenger: Version,
    champion: Version | None,
    answers: _Answers,
) -> NotScreened | None:
    """Returns why the validation rows give no reason to score test rows; None if they do, or can't be compared.

    They can't where there is no champion that can answer them, or where the climb was one of other rungs.
    """
    chosen = next((e for e in climb.evidence if e.attempt == attempt), None)
    if champion is None or chosen is None:
        return None
    rows = Table.read(open_sealed(Paths(root).output("split"), "split") / climb.task / "dev.jsonl")
    path = Paths(root).output("climb") / climb.task / "predictions" / f"{chosen.rung}.jsonl"
    own = [prediction_from_json(line) for line in read_lines(path)]
    theirs, _ = _champion_answers(answers, champion, split_version(settings), rows)
    if theirs is None or [p.id for p in own] != [p.id for p in theirs]:
        return None
    is_smaller = _is_smaller(challenger, champion)
    return screen(settings.promote, settings.bars[climb.task], metric, own, theirs, is_smaller)


def _refused_unasked(root: Path, climb: Climb) -> Verdict | None:
    """Returns the refusal of a climb that needs no score of the test rows; None if they have to be scored."""
    settings, task = settings_of(root), climb.task
    has_rows = all(is_sealed(Paths(root).output(verb)) for verb in ("split", "augment"))
    if not has_rows or settings.tasks[task].measure != climb.metric:  # the settings changed since
        return None
    _, rows, unseen = rows_of_look(root, settings, task)
    return before_look(settings.promote, settings.bars[task], rows.group, unseen)


def _note(root: Path, climb: Climb, challenger: Version, verdict: Verdict) -> None:
    """Writes the verdict and the challenger's score on the test rows on the version and on the climb's run."""
    verdict = _with_advice(root, climb, verdict)
    log_verdict(Connection(root), settings_of(root).register_.experiment, climb, data_version(root), verdict)
    note_verdict(root, climb, challenger, verdict)


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
    answers: _Answers, champion: Version | None, split: str, rows: Table
) -> tuple[tuple[Prediction, ...] | None, WhyAlone | None]:
    """Returns the champion's predictions on held-out rows; or None, and why the challenger is judged alone."""
    if champion is None:
        return None, NoChampion()
    if champion.tags.get("split_version") != split:
        return None, OtherSplit(champion.number)
    try:
        return answers(champion, rows), None
    except (ModelError, RegistryError) as error:
        return None, ChampionFails(champion.number, error.problem.what)


def _is_smaller(challenger: Version, champion: Version | None) -> bool:
    """Whether the challenger's base is smaller; a version that does not say how large its base is never counts."""
    sizes = [int(v.tags["base_parameters"]) for v in (challenger, champion) if v and "base_parameters" in v.tags]
    return len(sizes) == 2 and sizes[0] < sizes[1]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
