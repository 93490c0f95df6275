"""What a climb and the promotion gate decide, with typed reasons, and how they become values again from JSON.

A reason is a frozen dataclass per kind: a `code` that JSON readers can test, and the figures behind it. `core.words`
makes its sentence. Scores, bars and shares are from 0 to 1. A row without an answer scores 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from rungwise.core.methods import RENAMED_METHODS
from rungwise.core.records import Evidence, Interval, Json, from_json

Unscored: TypeAlias = Literal["", "over_context", "not_trained"]
"""The main reason why rows of a rung could not be scored. `over_context`: they are longer than its base reads, or too
many training rows are. `not_trained`: it has nothing that answers, for another reason. Empty: not recorded."""


@dataclass(frozen=True)
class NoScore:
    """A rung has no score: it could not be trained, or no row could be scored."""

    rung: str
    note: str
    """Why, as the attempt recorded it."""
    why: Unscored = ""
    code: Literal["no_score"] = "no_score"


@dataclass(frozen=True)
class TooFewScored:
    """Too few validation rows of a rung could be scored to judge it."""

    rung: str
    scored: int
    rows: int
    """All validation rows."""
    required: int
    """`decide.min_scored`."""
    why: Unscored = ""
    code: Literal["too_few_scored"] = "too_few_scored"


@dataclass(frozen=True)
class TooManyUnscored:
    """Too large a share of the validation rows of a rung could not be scored."""

    rung: str
    unscored: int
    rows: int
    """All validation rows."""
    max_share: float
    """`decide.max_unscored_share`."""
    why: Unscored = ""
    code: Literal["too_many_unscored"] = "too_many_unscored"


@dataclass(frozen=True)
class RungScore:
    """A rung's score against the bar.

    The rung passes if the lower end of the interval is at or above the bar, and if it is clearly better than the floor.
    """

    rung: str
    metric: str
    """The metric's title, as in a sentence."""
    score: Interval
    unscored: int
    cut: int
    """Written answers that were cut off before their end; they are scored as they are."""
    target: float
    """The bar."""
    passes: bool
    code: Literal["rung_score"] = "rung_score"


@dataclass(frozen=True)
class NotAboveFloor:
    """A rung reaches the bar but is not clearly better than the floor, so it does not pass."""

    rung: str
    floor: str
    """The floor's name."""
    score: Interval
    """The floor's score."""
    difference: Interval | None
    """`rung` minus the floor on the same rows; None where no row was scored."""
    code: Literal["not_above_floor"] = "not_above_floor"


@dataclass(frozen=True)
class RungCompared:
    """A later rung compared with the best so far on the same rows, and which of the two is the best from now on."""

    rung: str
    other: str
    """The best so far, before this comparison."""
    difference: Interval | None
    """`rung` minus `other`; None where no row was scored by both."""
    best: str
    passes: bool
    """Whether `best` passes the bar; if so it is `other`, which is cheaper."""
    code: Literal["rung_compared"] = "rung_compared"


@dataclass(frozen=True)
class BeyondClassical:
    """A rung without a language model passes, and `decide.beyond_classical` requires the next one all the same."""

    rung: str
    """The rung that is tried next."""
    code: Literal["beyond_classical"] = "beyond_classical"


@dataclass(frozen=True)
class NotTried:
    """Rungs that are not tried, because a cheaper one passes."""

    rungs: tuple[str, ...]
    code: Literal["not_tried"] = "not_tried"


@dataclass(frozen=True)
class TryNext:
    """No rung passes yet, so the next one is tried."""

    rung: str
    """The rung that is tried next."""
    code: Literal["try_next"] = "try_next"


@dataclass(frozen=True)
class NothingJudged:
    """The ladder ends, and no rung could be judged."""

    why: Unscored = ""
    """The reason, if it is that of every rung."""
    code: Literal["nothing_judged"] = "nothing_judged"


@dataclass(frozen=True)
class TooFewRows:
    """The ladder ends; the best rung scores above the bar, but with so many rows its interval reaches below it."""

    rung: str
    score: Interval
    rows_needed: int | None
    """Validation rows that would show the bar at this score in four of five cases; None where no number would."""
    code: Literal["too_few_rows"] = "too_few_rows"


@dataclass(frozen=True)
class BarAtFloor:
    """The ladder ends; the best rung reaches the bar, but so does the floor, or nearly."""

    rung: str
    floor: str
    """The floor's name."""
    code: Literal["bar_at_floor"] = "bar_at_floor"


@dataclass(frozen=True)
class LabelCeiling:
    """The ladder ends below the bar, and no rung can reach it with these labels."""

    rung: str
    """The best so far."""
    missing: float
    """The bar minus its score."""
    ceiling: float
    """The highest score that the labels and items of the validation rows allow."""
    unknown: int
    """Validation rows with a label or an item that no training row has."""
    contradicting: int
    """Other validation rows whose text occurs more often with another label."""
    rows: int
    """All validation rows."""
    format: Literal["label", "list", "json"] = "label"
    """The format of the answers."""
    code: Literal["label_ceiling"] = "label_ceiling"


Help: TypeAlias = Literal["texts", "longer_base", "model", "training", "rows", "steps", "base"]
"""What would help a rung below the bar. `texts`: it learned nothing beyond the floor. `longer_base`: other rungs were
not judged, because rows are longer than their bases read. `model`: the ladder has no language model. `training`: the
best rung trains nothing. The others: more training rows, more steps, a larger base."""


@dataclass(frozen=True)
class BelowBar:
    """The ladder ends; the best rung scores at or below the bar."""

    rung: str
    missing: float
    """The bar minus the score."""
    helps: tuple[Help, ...] = ("rows", "steps", "base")
    code: Literal["below_bar"] = "below_bar"


@dataclass(frozen=True)
class WithoutModel:
    """The score of a rung without a language model, compared with the best rung that has one."""

    rung: str
    score: Interval
    model: str | None
    """The rung with a language model that scores highest; None where none was scored."""
    difference: Interval | None
    """`model` minus `rung` on the same rows; None where there is no such rung, or no row was scored by both."""
    is_enough: bool
    """Whether the rung without a language model is the one that passes: no language model is needed."""
    is_encoder: bool = False
    """Whether that rung has a frozen encoder, so that no language model has to be trained."""
    code: Literal["without_model"] = "without_model"


IncumbentOutcome: TypeAlias = Literal["better", "as_good", "worse", "not_shown", "nothing_in_common"]
"""How a rung compares with the incumbent. `better` and `worse`: clearly so. `as_good`: the lower end of the difference
is above minus the margin. `not_shown`: the rows can't show either. `nothing_in_common`: no row was scored by both."""


@dataclass(frozen=True)
class IncumbentCompared:
    """A rung compared with the incumbent on the same validation rows. No gate uses it."""

    rung: str
    incumbent: str
    """The model and its host."""
    difference: Interval | None
    """`rung` minus the incumbent; None where no row was scored by both."""
    margin: float
    """`incumbent.margin`."""
    outcome: IncumbentOutcome
    cost: float | None = None
    """What 1,000 answers of the rung cost; None if it is not known."""
    incumbent_cost: float | None = None
    """What 1,000 answers of the incumbent cost; None if it is not known."""
    currency: str = ""
    code: Literal["incumbent_compared"] = "incumbent_compared"


@dataclass(frozen=True)
class TooFewTestRows:
    """There are too few test rows to promote anything, so they were not scored."""

    rows: int
    required: int
    """`promote.min_scored`."""
    code: Literal["too_few_test_rows"] = "too_few_test_rows"


@dataclass(frozen=True)
class TooFewTestGroups:
    """The test rows belong to too few lineage groups to promote anything, so they were not scored."""

    groups: int
    rows: int
    """All test rows."""
    required: int
    code: Literal["too_few_test_groups"] = "too_few_test_groups"


@dataclass(frozen=True)
class UnseenTestAnswers:
    """Labels or items of the test rows that no rung can give, because no training row has them."""

    labels: tuple[str, ...]
    """The labels or items (in objects `field: value`), the most frequent first."""
    affected: int
    """Test rows with one of them."""
    rows: int
    """All test rows."""
    ceiling: float
    """The highest score that they leave."""
    target: float
    """The bar. If the ceiling is below it, the test rows were not scored."""
    code: Literal["unseen_test_answers"] = "unseen_test_answers"


@dataclass(frozen=True)
class ChallengerTooFewScored:
    """Too few test rows of the challenger could be scored."""

    scored: int
    required: int
    """`promote.min_scored`."""
    code: Literal["challenger_too_few_scored"] = "challenger_too_few_scored"


@dataclass(frozen=True)
class ChallengerTooManyUnscored:
    """Too large a share of the challenger's test rows could not be scored."""

    unscored: int
    rows: int
    """All test rows."""
    max_share: float
    """`promote.max_unscored_share`."""
    code: Literal["challenger_too_many_unscored"] = "challenger_too_many_unscored"


@dataclass(frozen=True)
class ChallengerScore:
    """The challenger's score on the test rows against the bar."""

    metric: str
    """The metric's title, as in a sentence."""
    score: Interval
    target: float
    """The bar."""
    passes: bool
    """Whether the lower end of the interval is at or above the bar."""
    code: Literal["challenger_score"] = "challenger_score"


ComparisonOutcome: TypeAlias = Literal[
    "better", "worse", "champion_below_bar", "smaller_base", "maybe_worse", "no_difference", "nothing_in_common"
]
"""What decides between challenger and champion. `better` and `worse`: shown on the same rows. `champion_below_bar`: the
champion is shown to be below the bar. `smaller_base`: the challenger's base is smaller, and it is shown to be at most
`promote.margin` worse than the best version ever promoted; `maybe_worse`: its base is smaller, and that is not shown.
`no_difference`: none of these. `nothing_in_common`: no row was scored by both (in looks of older versions)."""


@dataclass(frozen=True)
class ChampionCompared:
    """The challenger compared with the champion on the same test rows."""

    difference: Interval | None
    """Challenger minus champion; None where no row was scored by both."""
    outcome: ComparisonOutcome
    p: float | None = None
    """The p-value behind `better` and `worse`; None in looks of older versions."""
    margin: float | None = None
    """`promote.margin`, where the challenger's base is smaller."""
    lower: float | None = None
    """The lower end of challenger minus the best version ever promoted; None where too few rows are common."""
    anchor: int | None = None
    """That version; None: the champion."""
    code: Literal["champion_compared"] = "champion_compared"


@dataclass(frozen=True)
class SpentLook:
    """These test rows were looked at before, so this look is decided at a smaller level."""

    look: int
    """Counted from 1 among the looks at these rows."""
    level: float
    """One-sided."""
    missing: int
    """How many more new test rows form the next cohort."""
    code: Literal["spent_look"] = "spent_look"


@dataclass(frozen=True)
class NotScreened:
    """The validation rows give no reason to look at the test rows, so they were not scored."""

    p: float
    """The p-value that the challenger is better than the champion on the validation rows."""
    required: float
    """The largest p-value with which the test rows are scored."""
    rows: int
    """All validation rows."""
    margin: float | None = None
    """`promote.margin`, where the challenger's base is smaller."""
    code: Literal["not_screened"] = "not_screened"


@dataclass(frozen=True)
class NoChampion:
    """There is no champion to compare with."""

    code: Literal["no_champion"] = "no_champion"


@dataclass(frozen=True)
class OtherSplit:
    """The champion was trained under another split, so that it may have been trained on today's test rows."""

    champion: int
    """Its version in the registry."""
    code: Literal["other_split"] = "other_split"


@dataclass(frozen=True)
class ChampionFails:
    """The champion can't answer any more."""

    champion: int
    """Its version in the registry."""
    problem: str
    """What the error says in one line."""
    code: Literal["champion_fails"] = "champion_fails"


@dataclass(frozen=True)
class AlreadyChampion:
    """The challenger is the champion."""

    version: int
    code: Literal["already_champion"] = "already_champion"


@dataclass(frozen=True)
class OtherData:
    """The challenger was trained on other rows than the workspace holds now."""

    version: int
    """The challenger's version in the registry."""
    data_version: str | None
    """The rows that it was trained on."""
    workspace: str
    """The rows that the workspace holds."""
    code: Literal["other_data"] = "other_data"


@dataclass(frozen=True)
class AskedBefore:
    """The verdict is that of an earlier, equal question; the test rows were not scored again."""

    when: str
    """ISO 8601, UTC."""
    code: Literal["asked_before"] = "asked_before"


RefusalCause: TypeAlias = Literal[
    "few_test_rows", "few_test_groups", "unseen_answers", "not_scored", "unlike_validation", "too_few_rows", "below_bar"
]
"""Why the gate refused a challenger. `few_test_rows`: there are too few test rows. `few_test_groups`: they belong to
too few lineage groups. `unseen_answers`: test rows have
labels or items that no training row has. `not_scored`: too few test rows could be scored. `unlike_validation`: the rung
scores clearly lower than on the validation rows. `too_few_rows`: the score is above the bar, and the rows can't show
it. `below_bar`: none of these."""


@dataclass(frozen=True)
class AfterRefusal:
    """What to do after the gate refused a challenger on the test rows."""

    rung: str
    cause: RefusalCause
    rows_needed: int | None
    """Test rows that would show the bar at this score in four of five cases (cause `too_few_rows`); None: too many."""
    next_rung: str | None
    """The next rung of the ladder, which the climb did not try; None where there is none."""
    code: Literal["after_refusal"] = "after_refusal"


@dataclass(frozen=True)
class DoubtfulLabels:
    """No rung passes, and many labels may be wrong."""

    suspects: int
    """Rows whose label a model trained on the other rows contradicts."""
    rows: int
    """All validated rows."""
    code: Literal["doubtful_labels"] = "doubtful_labels"


@dataclass(frozen=True)
class NothingRegistered:
    """No rung passes, so there is no challenger."""

    code: Literal["nothing_registered"] = "nothing_registered"


@dataclass(frozen=True)
class ClimbedAlone:
    """Only one task was climbed, so that nothing is registered."""

    rungs: tuple[str, ...]
    """`task/rung`: rungs of other tasks that would be trained before the climb is recorded."""
    code: Literal["climbed_alone"] = "climbed_alone"


@dataclass(frozen=True)
class Text:
    """A reason that an older version recorded as a sentence."""

    text: str
    code: Literal["text"] = "text"


ClimbReason: TypeAlias = (
    NoScore
    | TooFewScored
    | TooManyUnscored
    | RungScore
    | NotAboveFloor
    | RungCompared
    | BeyondClassical
    | NotTried
    | TryNext
    | NothingJudged
    | TooFewRows
    | BarAtFloor
    | LabelCeiling
    | BelowBar
)
"""Why a climb continues or ends."""
WhyAlone: TypeAlias = NoChampion | OtherSplit | ChampionFails
"""Why a challenger is not compared with a champion."""
GateReason: TypeAlias = (
    TooFewTestRows
    | TooFewTestGroups
    | SpentLook
    | NotScreened
    | UnseenTestAnswers
    | ChallengerTooFewScored
    | ChallengerTooManyUnscored
    | ChallengerScore
    | ChampionCompared
    | WhyAlone
)
"""Why the gate promotes, keeps or refuses."""
ReleaseReason: TypeAlias = AlreadyChampion | OtherData | AskedBefore | AfterRefusal | NothingRegistered | ClimbedAlone
"""Why the gate was not asked, or what to do after it refused."""
Reason: TypeAlias = ClimbReason | WithoutModel | IncumbentCompared | DoubtfulLabels | GateReason | ReleaseReason | Text

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
    )


def _evidence(row: Mapping[str, Json]) -> Evidence:
    return from_json(Evidence, {**row, "method": RENAMED_METHODS.get(row["method"], row["method"])})
