"""Pictures of a climb, as SVG: the ladder, what the chosen rung takes for what, and how sure it is of right answers."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from rungwise.core.decisions import Climb
from rungwise.core.folders import read_lines
from rungwise.core.gate_reasons import Threshold
from rungwise.evidence.abstain import Sure
from rungwise.evidence.figure import (
    BLACK,
    GREEN,
    GREY,
    RED,
    Panel,
    ScoreRow,
    answered_figure,
    axis_limits,
    confusion_figure,
    curves_figure,
    scores_figure,
)
from rungwise.evidence.metrics import TITLES
from rungwise.release.facts import standing
from rungwise.release.gate import Verdict

LADDER: Final = "ladder.svg"
"""The file with the picture of the ladder."""
MOST_LABELS: Final = 30
"""With more labels a picture of all pairs is not readable."""


def pictures_of(
    climb: Climb, predictions: Path, sure: Sure | None = None, threshold: Threshold | None = None
) -> dict[str, str]:
    """Returns file name -> SVG. They hold names of rungs and labels, and no text of rows.

    Args:
        climb: the climb.
        predictions: the folder with each rung's answers to the validation rows.
        sure: the chosen rung's answers to them, the surest first; None where answers are not right or wrong.
        threshold: which of them are used without a look by people; None where nothing sets that.
    """
    made = {LADDER: ladder_picture(climb)}
    answers = predictions / f"{climb.decision.rung}.jsonl"
    if climb.metric == "accuracy" and climb.decision.rung and answers.is_file():
        made |= confusion_picture(climb, read_lines(answers))
    if climb.curves:
        curves = {curve.rung: [(point.rows, point.score) for point in curve.points] for curve in climb.curves}
        title = f"{climb.task}: amount of data"
        made["data.svg"] = curves_figure(title, curves, TITLES[climb.metric], bar=climb.target)
    if sure and sure.right:
        title = f"{climb.task}: {climb.decision.rung} on validation rows"
        goal, answered = (threshold.goal, threshold.answered) if threshold else (None, None)
        made["answered.svg"] = answered_figure(title, sure.right, sure.rows, goal=goal, answered=answered)
    return made


def ladder_picture(climb: Climb, verdict: Verdict | None = None) -> str:
    """Returns each rung's score with its interval, the floor, the bar, and how the chosen rung stands."""
    refused = climb.refused
    if climb.candidate and verdict and verdict.action == "refuse":
        refused |= {climb.candidate.rung}
    rows = [ScoreRow("floor", climb.floor.score, climb.floor.name, GREY)] if climb.floor else []
    for one in climb.evidence:
        note = one.note or standing(climb, one.rung, verdict)
        colour = RED if one.rung in refused else GREEN if one.rung == climb.decision.rung else BLACK
        rows.append(ScoreRow(one.rung, one.score, note[:40], colour))
    scores = [row.score for row in rows if row.score]
    low, high = axis_limits(scores)
    limits = min(low, climb.target), max(high, climb.target)
    panel = Panel(climb.task, tuple(rows), f"{climb.metric} on validation rows, with its interval", bar=climb.target)
    return scores_figure([panel], limits=limits)


def confusion_picture(climb: Climb, predictions: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Returns the confusion matrix of the chosen rung; nothing if there are too many labels."""
    counts = Counter((row["expected"], row["answer"]) for row in predictions if row["answer"] is not None)
    labels = sorted({label for pair in counts for label in pair})
    if not labels or len(labels) > MOST_LABELS:
        return {}
    title = f"{climb.task}: {climb.decision.rung} on validation rows"
    return {"confusion.svg": confusion_figure(title, labels, counts)}
