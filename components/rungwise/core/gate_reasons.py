"""Why the promotion gate promotes, keeps or refuses: a frozen dataclass per kind of reason, as in `climb_reasons`."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from rungwise.core.records import Interval


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
    """The rung with which the climb continues; None where there is none, or where these test rows refuse every rung."""
    code: Literal["after_refusal"] = "after_refusal"


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
class Threshold:
    """What validation rows show about the answers that can be used without a look by people."""

    at: float | None
    """The probability from which an answer is used; None: no threshold is shown to keep the goal."""
    goal: float
    """The share of used answers that is to be right, 0 to 1."""
    confidence: float
    """How sure that is, 0 to 1."""
    answered: int
    """Rows with an answer at or above the threshold."""
    rows: int
    """All validation rows, those without an answer included."""
    least: int
    """Rows that would show the goal if the answers to all of them were right."""
    rung: str = ""
    """The rung that answered."""
    code: Literal["threshold"] = "threshold"


@dataclass(frozen=True)
class ThresholdOnTest:
    """What test rows show about a threshold."""

    score: Interval | None
    """The share of right answers among those at or above the threshold; None where there are none."""
    goal: float
    """The share that is to be right."""
    rows: int
    """All test rows, those without an answer included."""
    holds: bool
    """Whether the test rows are in agreement with the goal. Otherwise the threshold is not used."""
    code: Literal["threshold_on_test"] = "threshold_on_test"


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

ReleaseReason: TypeAlias = (
    AlreadyChampion
    | OtherData
    | AskedBefore
    | AfterRefusal
    | NothingRegistered
    | ClimbedAlone
    | Threshold
    | ThresholdOnTest
)
"""Why the gate was not asked, what to do after it refused, and which answers a champion gives itself."""
