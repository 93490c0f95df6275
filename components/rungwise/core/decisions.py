"""What a climb and the promotion gate decide, and how decisions and their reasons become values again from JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from rungwise.core.climb_reasons import ClimbReason, IncumbentCompared, RefusedOnTest, RowsReason, WithoutModel
from rungwise.core.gate_reasons import GateReason, ReleaseReason
from rungwise.core.methods import RENAMED_METHODS
from rungwise.core.records import Evidence, Interval, Json, from_json


@dataclass(frozen=True)
class Text:
    """A reason that an older version recorded as a sentence."""

    text: str
    code: Literal["text"] = "text"


Reason: TypeAlias = ClimbReason | WithoutModel | IncumbentCompared | RowsReason | GateReason | ReleaseReason | Text

_BY_CODE: Final[Mapping[str, type]] = {kind.code: kind for kind in get_args(Reason)}
_INTERVALS: Final = ("score", "difference")
_TUPLES: Final = ("rungs", "helps", "labels")


@dataclass(frozen=True)
class Decision:
    """What the climb does next, and why."""

    action: str
    """`stop`: a rung passed. `climb`: try the next. `exhausted`: no rung is left and none passed."""
    rung: str | None
    """The rung that passes, otherwise the best so far; None where none has a score."""
    passes: bool
    """Whether that rung passes."""
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class Floor:
    """The best score on the validation rows without any training; no rung, and never promoted."""

    name: str
    """How every row is answered: `most frequent answer`, `copy of the input`."""
    score: Interval


@dataclass(frozen=True)
class CurvePoint:
    """A rung trained on a part of the training rows."""

    rows: int
    """Training rows."""
    score: Interval
    """On the validation rows."""
    attempt: str
    """Digest of the attempt."""


@dataclass(frozen=True)
class Curve:
    """A rung's score by the number of training rows; each part contains the smaller ones."""

    rung: str
    points: tuple[CurvePoint, ...]
    """Ascending by rows; the last has all rows."""
    last: Interval
    """The score with all rows minus that with half of them, on the same validation rows."""


@dataclass(frozen=True)
class Climb:
    """A whole climb of one task: every rung's evidence in the order tried, and the last decision."""

    task: str
    metric: str
    target: float
    evidence: tuple[Evidence, ...]
    decision: Decision
    steps: tuple[Decision, ...]
    """The decision after each rung; the last one is `decision`."""
    comparison: WithoutModel | Text | None = None
    """Whether a language model is needed at all; None where no rung without one was scored."""
    floor: Floor | None = None
    """What needs no training; None in climbs of older versions."""
    curves: tuple[Curve, ...] = ()
    """The curves of rungs that were tried, by the number of training rows; none in climbs of older versions."""

    @property
    def refused(self) -> frozenset[str]:
        """The rungs that the test rows refused."""
        return frozenset(reason.rung for reason in self.decision.reasons if isinstance(reason, RefusedOnTest))

    @property
    def candidate(self) -> Evidence | None:
        """The evidence of the decision's rung if it passes on the validation rows, also if the test rows refused it."""
        name = self.decision.rung
        is_one = self.decision.passes or name in self.refused
        return next((one for one in self.evidence if one.rung == name), None) if is_one else None


def reason_from_json(row: Json) -> Reason:
    """Returns the reason that `to_json` made `row` from; older versions recorded a sentence."""
    if isinstance(row, str):
        return Text(row)
    values = {k: Interval(**v) if k in _INTERVALS and v else tuple(v) if k in _TUPLES else v for k, v in row.items()}
    reason: Reason = _BY_CODE[row["code"]](**values)
    return reason


def decision_from_json(row: Mapping[str, Json]) -> Decision:
    """Returns the Decision that `to_json` made `row` from."""
    return Decision(**{**row, "reasons": tuple(reason_from_json(r) for r in row["reasons"])})


def climb_from_json(row: Mapping[str, Json]) -> Climb:
    """Returns the Climb that `to_json` made `row` from.

    Older versions recorded its comparison as a sentence, and the methods of rungs by their old names.
    """
    comparison = reason_from_json(row["comparison"]) if row["comparison"] else None
    assert comparison is None or isinstance(comparison, WithoutModel | Text)
    return Climb(
        task=row["task"],
        metric=row["metric"],
        target=row["target"],
        evidence=tuple(_evidence(e) for e in row["evidence"]),
        decision=decision_from_json(row["decision"]),
        steps=tuple(decision_from_json(d) for d in row["steps"]),
        comparison=comparison,
        floor=from_json(Floor, row["floor"]) if row.get("floor") else None,
        curves=tuple(from_json(Curve, one) for one in row.get("curves", ())),
    )


def _evidence(row: Mapping[str, Json]) -> Evidence:
    return from_json(Evidence, {**row, "method": RENAMED_METHODS.get(row["method"], row["method"])})
