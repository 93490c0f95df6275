"""Why a climb continues or ends: a frozen dataclass per kind of reason, with the figures behind it.

Each has a `code` that JSON readers can test, and `core.words` makes its sentence. Scores, bars and shares are from 0 to
1. A row without an answer scores 0.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from rungwise.core.records import Interval

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

    The rung passes if its score is at or above the bar with a confidence of 80 %, one-sided, and if it is clearly
    better than the floor. In climbs of older versions the lower end of the interval was compared with the bar.
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
    lower: float | None = None
    """What the score is at least, with a confidence of 80 %; None in climbs of older versions."""
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
class RefusedOnTest:
    """A rung passes on the validation rows, and the test rows refused it: it does not count as one that passes."""

    rung: str
    code: Literal["refused_on_test"] = "refused_on_test"


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
    """The ladder ends; the best rung scores above the bar, but too few rows show it."""

    rung: str
    score: Interval
    rows_needed: int | None
    """Validation rows with which a rung of this score passes in four of five cases; None where no number would do."""
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


@dataclass(frozen=True)
class BestRefused:
    """The ladder ends, and the test rows refused the best rung."""

    rung: str
    code: Literal["best_refused"] = "best_refused"


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
class DoubtfulLabels:
    """No rung passes, and many labels may be wrong."""

    suspects: int
    """Rows whose label a model trained on the other rows contradicts."""
    rows: int
    """All validated rows."""
    code: Literal["doubtful_labels"] = "doubtful_labels"


@dataclass(frozen=True)
class Doubling:
    """What twice as many training rows would bring a rung, judged by what the last doubling brought."""

    rung: str
    rows: int
    """Training rows of the rung."""
    half: int
    """Training rows of the half."""
    difference: Interval
    """The rung with all rows minus the same with half of them, on the same validation rows."""
    outcome: Literal["gains", "flat", "unknown"]
    """`gains`: more rows help. `flat`: twice as many bring less than `FLAT`. `unknown`: the rows show neither."""
    low: float
    """The least that twice as many rows are expected to bring."""
    high: float
    """The most."""
    rows_needed: int | None = None
    """Validation rows that would tell (outcome `unknown`)."""
    code: Literal["doubling"] = "doubling"


@dataclass(frozen=True)
class WeakSlice:
    """Validation rows with something in common, on which the rung is shown to be below the bar."""

    kind: Literal["label", "source", "length"]
    """What they have in common: the right label, the source, or the length of their texts."""
    name: str
    """The label, the source, or `shortest third` and `longest third`."""
    score: Interval
    """The rung's score on them."""
    rows: int
    """All validation rows."""
    target: float
    """The bar."""
    code: Literal["weak_slice"] = "weak_slice"


ClimbReason: TypeAlias = (
    NoScore
    | TooFewScored
    | TooManyUnscored
    | RungScore
    | NotAboveFloor
    | RefusedOnTest
    | RungCompared
    | BeyondClassical
    | NotTried
    | TryNext
    | NothingJudged
    | TooFewRows
    | BarAtFloor
    | LabelCeiling
    | BelowBar
    | BestRefused
)
"""Why a climb continues or ends."""

RowsReason: TypeAlias = DoubtfulLabels | Doubling | WeakSlice
"""What the rows have to do with it, and which rows would help."""
