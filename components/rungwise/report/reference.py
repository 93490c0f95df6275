"""What each rung's answers take and cost, and the incumbent as a line to compare with.

Times are measurements of one machine. They are read from the store and are part of no hashed output.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rungwise.attempts.store import COST, evaluation_name
from rungwise.climbing.incumbent import Incumbent, compare_incumbent, read_incumbent
from rungwise.climbing.rungs import form_of
from rungwise.config import Settings
from rungwise.core.climb_reasons import IncumbentCompared
from rungwise.core.decisions import Climb
from rungwise.core.folders import read_json, read_lines
from rungwise.core.records import Interval, Json, Prediction, prediction_from_json, to_json
from rungwise.core.table import Table
from rungwise.core.words import reason_json
from rungwise.evidence.metrics import Metric, estimate
from rungwise.workspace.layout import Paths


@dataclass(frozen=True)
class Speed:
    """What one model's answers take and cost."""

    median_seconds: float
    """Median time of an answer to one row: of a rung on the machine of its evaluation, one row at a time."""
    cost_per_1000: float | None = None
    """Of a rung: of `incumbent.price.machine_hour`, while it answers one row after the other. None without a price."""
    currency: str = ""


@dataclass(frozen=True)
class Reference:
    """The incumbent on a task's validation rows, and each rung compared with it."""

    figures: Incumbent
    score: Interval | None
    """None if no row was answered."""
    speed: Speed | None
    compared: Mapping[str, IncumbentCompared] = field(default_factory=dict)
    """Rung -> its comparison, for each rung with answers."""


def speeds(root: Path, settings: Settings, climb: Climb) -> dict[str, Speed]:
    """Returns rung -> what its answers take and cost, for each rung whose evaluation the store has."""
    path, store = Paths(root).output("split") / climb.task / "dev.jsonl", Paths(root).attempts
    if not path.is_file():
        return {}
    rows = Table.read(path)
    price = settings.incumbent.price if settings.incumbent else None
    result = {}
    for evidence in climb.evidence:
        seconds = _median_seconds(store / evaluation_name(evidence.attempt, rows) / COST)
        if seconds is None:
            continue
        hour = price.machine_hour if price else None
        per_1000 = None if hour is None else hour * seconds * 1000 / 3600
        result[evidence.rung] = Speed(seconds, per_1000, price.currency if price and per_1000 is not None else "")
    return result


def _median_seconds(cost: Path) -> float | None:
    """Returns the measured time of an answer; None if it was not measured, or the file is damaged."""
    try:
        seconds = read_json(cost)["latency"]["median_seconds"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return float(seconds) if isinstance(seconds, int | float) and math.isfinite(seconds) else None


def reference(root: Path, settings: Settings, climb: Climb, rungs: Mapping[str, Speed]) -> Reference | None:
    """Returns the incumbent compared with the rungs of a climb; None if it was not asked about today's rows.

    `rungs`: the result of `speeds`.
    """
    asked = read_incumbent(root, settings, climb.task)
    if asked is None or settings.incumbent is None:
        return None
    figures, theirs = asked
    price, confidence = settings.incumbent.price, settings.evaluate.confidence
    per_1000 = figures.cost_per_1000(price)
    speed = Speed(figures.median_seconds or 0.0, per_1000, price.currency if price else "")
    metric = Metric(climb.metric, form_of(settings.tasks[climb.task], ()))
    compared = {}
    for evidence in climb.evidence:
        ours = _predictions(root, climb.task, evidence.rung)
        if not any(p.answer is not None for p in ours):
            continue
        one = compare_incumbent(
            metric, settings.incumbent.margin, confidence, evidence.rung, ours, figures.name, theirs
        )
        cost = rungs[evidence.rung].cost_per_1000 if evidence.rung in rungs else None
        compared[evidence.rung] = replace(one, cost=cost, incumbent_cost=per_1000, currency=speed.currency)
    score = estimate(metric, [p for p in theirs if p.answer is not None], confidence)
    return Reference(figures, score, speed if figures.answered else None, compared)


def _predictions(root: Path, task: str, rung: str) -> Sequence[Prediction]:
    path = Paths(root).output("climb") / task / "predictions" / f"{rung}.jsonl"
    return [prediction_from_json(line) for line in read_lines(path)] if path.is_file() else []


def reference_json(one: Reference | None) -> Json:
    """Returns the incumbent and its comparisons as JSON values."""
    if one is None:
        return None
    return {
        **to_json(one.figures),
        "score": to_json(one.score) if one.score else None,
        "speed": to_json(one.speed) if one.speed else None,
        "compared": {rung: reason_json(compared) for rung, compared in one.compared.items()},
    }
