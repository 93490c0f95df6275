"""A rung's score by the number of training rows: the same rung, trained on parts of the rows.

Parts are nested and keep the shares of the labels, so that they differ in their number of rows alone. They are attempts
like any other: the store keeps them, and no part is trained twice.
"""

from collections import defaultdict
from dataclasses import replace
from typing import Final

from rungwise.climbing.decide import Outcome
from rungwise.climbing.rungs import EvaluateRung, TaskClimb, TrainRung
from rungwise.config import Settings
from rungwise.core.decisions import Curve, CurvePoint
from rungwise.core.errors import ModelError, TrainingError
from rungwise.core.methods import METHODS
from rungwise.core.records import digest
from rungwise.core.table import Table
from rungwise.evidence.metrics import difference

CHEAP: Final = (1 / 8, 1 / 4, 1 / 2)
"""The parts of the training rows for a rung of words and letters, which takes seconds."""
OTHERS: Final = (1 / 4, 1 / 2)
"""The parts for other rungs."""
LEAST: Final = 16
"""A part has at least this many rows."""


def curve_of(one: TaskClimb, outcome: Outcome, train: TrainRung, evaluate: EvaluateRung) -> Curve | None:
    """Returns the curve of a rung that was tried; None where it has no score, no curve is wanted, or rows are too few.

    A rung of words and letters always has one, unless its setting `curve` is false. Others have it if that says
    so; a language model is trained on its parts for as many epochs as on the whole.
    """
    rung = next(r for r in one.settings.ladder if r.name == outcome.evidence.rung)
    is_cheap = METHODS[rung.method].engine == "classical"
    if outcome.evidence.score is None or not (rung.curve if rung.curve is not None else is_cheap):
        return None
    points: list[CurvePoint] = []
    half: Outcome | None = None
    for share in CHEAP if is_cheap else OTHERS:
        rows = part(one.train, share, bool(one.labels))
        if len(rows) < LEAST:
            continue
        settings = with_steps(one.settings, rung.name, share) if METHODS[rung.method].trains else one.settings
        some = replace(one, settings=settings, train=rows, part=f"1/{round(1 / share)}")
        try:
            tried = evaluate(some, rung.name, train(some, rung.name))
        except (ModelError, TrainingError):  # too few rows for this rung
            continue
        if tried.evidence.score:
            points.append(CurvePoint(len(rows), tried.evidence.score, tried.evidence.attempt))
            half = tried if share == 1 / 2 else None
    if half is None:
        return None
    confidence = one.settings.evaluate.confidence
    last = difference(one.metric, outcome.predictions, half.predictions, confidence)
    whole = CurvePoint(len(one.train), outcome.evidence.score, outcome.evidence.attempt)
    return Curve(rung.name, (*points, whole), last) if last else None


def part(train: Table, share: float, by_answer: bool) -> Table:
    """Returns a part of the training rows, in their order; a larger share contains it.

    Groups are taken whole, in the order of the hashes of their names. With `by_answer`, the groups of each answer are
    taken apart, and at least one of each, so that the shares of the labels stay and none is lost.
    """
    places: dict[str, list[int]] = defaultdict(list)
    for place, group in enumerate(train.group):
        places[group].append(place)
    strata: dict[str, list[str]] = defaultdict(list)
    for group, rows in places.items():
        strata[train.answer[rows[0]] if by_answer else ""].append(group)
    taken: list[int] = []
    for groups in strata.values():
        wanted, n = share * sum(len(places[group]) for group in groups), 0
        for group in sorted(groups, key=digest):
            if n and n + len(places[group]) / 2 > wanted:
                break
            taken += places[group]
            n += len(places[group])
    return train.take(sorted(taken))


def with_steps(settings: Settings, rung: str, share: float) -> Settings:
    """Returns the settings in which a rung is trained for a share of its steps."""
    ladder = tuple(
        one.model_copy(update={"steps": max(1, round(share * (one.steps or settings.train.steps)))})
        if one.name == rung
        else one
        for one in settings.ladder
    )
    return settings.model_copy(update={"ladder": ladder})
