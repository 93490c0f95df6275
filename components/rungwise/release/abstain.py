"""Which answers a champion gives itself: its threshold, set from validation rows and compared once with test rows.

The threshold stands in tags of the version: `threshold` (a probability, or `none`), `threshold_for` (the goal that it
is for) and `threshold_test` (what the test rows show). It depends on the version's answers and the goal alone, so that
another goal needs no other version.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from rungwise.climbing.rungs import form_of
from rungwise.config import Settings
from rungwise.core.decisions import Climb
from rungwise.core.errors import ModelError, Problem, RegistryError
from rungwise.core.folders import is_sealed, open_sealed, read_lines
from rungwise.core.gate_reasons import Threshold, ThresholdOnTest
from rungwise.core.records import Prediction, prediction_from_json
from rungwise.core.table import Table
from rungwise.core.words import sentence_of
from rungwise.evidence.abstain import Sure, on_test, surest_first, threshold
from rungwise.evidence.metrics import Metric
from rungwise.release.connection import TAG
from rungwise.release.register import split_version
from rungwise.release.registry import Version
from rungwise.release.versions import set_tags
from rungwise.workspace.layout import Paths

AT: Final = "threshold"
FOR: Final = "threshold_for"
TEST: Final = "threshold_test"
NONE: Final = "none"
"""The tag `threshold` of a version of which all rows are for people."""

Answers = Callable[[Version, Table], Sequence[Prediction]]
"""Answers rows with a version."""


def goal_text(settings: Settings, task: str) -> str:
    """Returns the goal of a task as the tag `threshold_for` has it; empty without one."""
    goal = settings.abstain.right.get(task)
    return "" if goal is None else f"{goal:g} right, confidence {settings.abstain.confidence:g}"


def threshold_of(settings: Settings, task: str, rung: str, predictions: Sequence[Prediction]) -> Threshold | None:
    """Returns what a rung's answers to the validation rows show; None if params.yaml sets no goal for the task."""
    goal = settings.abstain.right.get(task)
    if goal is None:
        return None
    sure = surest_first(metric_of(settings, task), predictions)
    return replace(threshold(sure, goal, settings.abstain.confidence), rung=rung)


def metric_of(settings: Settings, task: str) -> Metric:
    """Returns the metric of a task, with which an answer is right if it scores 1."""
    return Metric(settings.tasks[task].measure, form_of(settings.tasks[task], ()))


def set_threshold(
    root: Path, settings: Settings, climb: Climb, champion: Version, answers: Answers
) -> tuple[Threshold, ThresholdOnTest | None] | None:
    """Sets the champion's threshold for the goal of params.yaml; returns it, and what the test rows show.

    Returns None where nothing changed: the threshold is for that goal already, or the champion can't answer the rows,
    because its base is gone or it may have been trained on them.
    """
    task, wanted = climb.task, goal_text(settings, climb.task)
    if champion.tags.get(FOR, "") == wanted:
        return None
    if not wanted:
        set_tags(root, champion, {AT: "", FOR: "", TEST: ""})
        return None
    rows = _rows(root, task)
    if rows is None or champion.tags.get("split_version") != split_version(settings):
        return None
    dev, test = rows
    try:
        shown_by_dev = threshold_of(
            settings, task, champion.tags.get("rung", ""), _on_dev(root, climb, champion) or answers(champion, dev)
        )
        assert shown_by_dev is not None
        at, metric = shown_by_dev.at, metric_of(settings, task)
        shown_by_test = on_test(shown_by_dev, metric, answers(champion, test)) if at is not None else None
    except (ModelError, RegistryError):
        return None
    holds = shown_by_test is not None and shown_by_test.holds
    shown = sentence_of(shown_by_test) if shown_by_test else ""
    set_tags(root, champion, {AT: repr(at) if holds else NONE, FOR: wanted, TEST: shown})
    return shown_by_dev, shown_by_test


def threshold_in(version: Version) -> float | None:
    """Returns the probability from which a version's answers are used; None where all rows are for people.

    Raises:
        RegistryError: its tag was edited.
    """
    text = version.tags.get(AT, "nothing")
    try:
        at = None if text == NONE else float(text)
    except ValueError:
        at = math.nan
    if at is None or 0 <= at <= 1:
        return at
    raise RegistryError(
        Problem(
            "a version's threshold can't be read",
            where=f"{version.uri}, tag {TAG}{AT}",
            found=text[:40],
            wanted=f"a probability from 0 to 1, or `{NONE}`",
            do=f"delete the tags {TAG}{AT} and {TAG}{FOR}; `rungwise run` sets them again",
        )
    )


def _rows(root: Path, task: str) -> tuple[Table, Table] | None:
    """Returns the validation and the test rows of a task; None where they are not split."""
    folder = Paths(root).output("split")
    if not is_sealed(folder):
        return None
    dev, test = (Table.read(open_sealed(folder, "split") / task / f"{side}.jsonl") for side in ("dev", "test"))
    return dev, test


def _on_dev(root: Path, climb: Climb, version: Version) -> list[Prediction] | None:
    """Returns the answers that the climb recorded; None where the version is not one of its attempts."""
    rung = next((e.rung for e in climb.evidence if version.is_of(e.attempt)), None)
    return recorded(root, climb, rung)


def recorded(root: Path, climb: Climb, rung: str | None) -> list[Prediction] | None:
    """Returns a rung's answers to the validation rows; None where the climb has none."""
    path = Paths(root).output("climb") / climb.task / "predictions" / f"{rung}.jsonl"
    return [prediction_from_json(line) for line in read_lines(path)] if rung and path.is_file() else None


def shown_by(root: Path, settings: Settings, climb: Climb, rung: str | None) -> tuple[Sure | None, Threshold | None]:
    """Returns a rung's answers to the validation rows, the surest first, and which of them it would give itself.

    Both are None where the answers are texts, which are never entirely right, or where the climb has none.
    """
    predictions = recorded(root, climb, rung)
    if predictions is None or settings.tasks[climb.task].answer.format == "text":
        return None, None
    sure = surest_first(metric_of(settings, climb.task), predictions)
    return sure, threshold_of(settings, climb.task, rung or "", predictions)
