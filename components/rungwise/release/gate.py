"""The promotion gate: pure, from predictions on the test rows to a verdict with typed reasons.

`before_look` refuses what no score can change, before the test rows are scored. `measured` takes from predictions all
that a verdict needs, and `judge` decides from that, so that other settings of the gate need no second look.

A challenger is promoted if the lower end of its interval is at or above the bar and one of these holds: it is clearly
better than the champion on the same rows; it is not clearly worse and has a smaller base; the champion itself is below
the bar; there is no champion that it can be compared with. A tie keeps the champion.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rungwise.config import PromoteSettings
from rungwise.core.decisions import (
    AfterRefusal,
    ChallengerScore,
    ChallengerTooFewScored,
    ChallengerTooManyUnscored,
    ChampionCompared,
    Climb,
    ComparisonOutcome,
    NoChampion,
    Reason,
    RefusalCause,
    TooFewTestRows,
    UnseenTestAnswers,
    WhyAlone,
)
from rungwise.core.records import Interval, Prediction
from rungwise.core.words import MANY_TIMES
from rungwise.evidence.ceiling import Unseen
from rungwise.evidence.intervals import rows_needed
from rungwise.evidence.metrics import Metric, difference, estimate


@dataclass(frozen=True)
class Verdict:
    """The gate's answer and its reasons."""

    action: str
    """`promote`, `keep` (the champion stays) or `refuse` (below the bar, or not judged)."""
    reasons: tuple[Reason, ...]

    def parted(self) -> tuple[tuple[Reason, ...], AfterRefusal | None]:
        """Returns the reasons without what to do after a refusal, and that."""
        advice = next((reason for reason in self.reasons if isinstance(reason, AfterRefusal)), None)
        return tuple(reason for reason in self.reasons if reason is not advice), advice


@dataclass(frozen=True)
class Measured:
    """What a test-set look measured: all that the gate decides from, whatever its settings."""

    score: Interval | None
    """The challenger's; None where no row was scored."""
    unscored: int
    rows: int
    """All test rows."""
    difference: Interval | None = None
    """Challenger minus champion; None where no row was scored by both, or there are no answers of a champion."""
    champion: Interval | None = None
    """The champion's score; None where no row was scored."""
    why_alone: WhyAlone | None = None
    """Why there are no answers of a champion; None: there are."""


def measured(
    metric: Metric,
    confidence: float,
    challenger: Sequence[Prediction],
    champion: Sequence[Prediction] | None,
    why_alone: WhyAlone | None = None,
) -> Measured:
    """Returns what the predictions on the test rows show.

    Args:
        metric: scores one prediction.
        confidence: of the two-sided intervals, 0 to 1.
        challenger: predictions on the test rows.
        champion: the champion's predictions on the same rows; None where there are none.
        why_alone: why `champion` is None; None: there is no champion.
    """
    score, unscored = estimate(metric, challenger, confidence), sum(p.answer is None for p in challenger)
    if champion is None:
        return Measured(score, unscored, len(challenger), why_alone=why_alone or NoChampion())
    change = difference(metric, challenger, champion, confidence)
    return Measured(score, unscored, len(challenger), change, estimate(metric, champion, confidence))


def before_look(settings: PromoteSettings, target: float, rows: int, unseen: Unseen | None) -> Verdict | None:
    """Returns the refusal that no score on the test rows can change; None if they have to be scored.

    Args:
        settings: what the gate requires in addition to the bar.
        target: the bar, 0 to 1.
        rows: the number of test rows.
        unseen: what the answers of the test rows have that no training row has; None where that limits no score.
    """
    if rows < settings.min_scored:
        return Verdict("refuse", (TooFewTestRows(rows, settings.min_scored),))
    if unseen and unseen.affected and unseen.ceiling < target:
        return Verdict("refuse", (_unseen(unseen, target),))
    return None


def judge(
    settings: PromoteSettings,
    target: float,
    title: str,
    look: Measured,
    is_smaller: bool,
    unseen: Unseen | None = None,
) -> Verdict:
    """Returns the verdict on what a test-set look measured.

    Args:
        settings: what the gate requires in addition to the bar.
        target: the bar, 0 to 1.
        title: the metric's, as in a sentence.
        look: what the predictions on the test rows show.
        is_smaller: whether the challenger's base is smaller than the champion's.
        unseen: as in `before_look`; a refusal names it.
    """
    if look.score is None or look.score.n < settings.min_scored:
        return Verdict("refuse", (ChallengerTooFewScored(look.score.n if look.score else 0, settings.min_scored),))
    if look.unscored > settings.max_unscored_share * look.rows:
        reason = ChallengerTooManyUnscored(look.unscored, look.rows, settings.max_unscored_share)
        return Verdict("refuse", (reason,))
    standing = ChallengerScore(title, look.score, target, look.score.low >= target)
    if not standing.passes:
        limits = (_unseen(unseen, target),) if unseen and unseen.affected else ()
        return Verdict("refuse", (standing, *limits))
    if look.why_alone:
        return Verdict("promote", (standing, look.why_alone))
    outcome = _outcome(look.difference, is_smaller, look.champion is not None and look.champion.low >= target)
    action = "keep" if outcome in ("worse", "no_difference") else "promote"
    return Verdict(action, (standing, ChampionCompared(look.difference, outcome)))


def _unseen(unseen: Unseen, target: float) -> UnseenTestAnswers:
    return UnseenTestAnswers(tuple(unseen.values), unseen.affected, unseen.rows, unseen.ceiling, target)


def _outcome(change: Interval | None, is_smaller: bool, is_champion_at_bar: bool) -> ComparisonOutcome:
    if change is None:
        return "nothing_in_common"
    if change.low > 0:
        return "better"
    if change.high < 0:
        return "worse"
    if not is_champion_at_bar:
        return "champion_below_bar"
    return "smaller_base" if is_smaller else "no_difference"


def after_refusal(climb: Climb, ladder: Sequence[str], verdict: Verdict) -> AfterRefusal | None:
    """Returns what to do after the gate refused the rung that passed a climb; None if it did not refuse it.

    Args:
        climb: the climb that chose the challenger.
        ladder: the names of the ladder's rungs, cheapest first.
        verdict: the gate's answer about the challenger.
    """
    chosen = next((e for e in climb.evidence if e.rung == climb.decision.rung), None)
    if verdict.action != "refuse" or not climb.decision.passes or chosen is None or chosen.score is None:
        return None
    standing = next((r for r in verdict.reasons if isinstance(r, ChallengerScore)), None)
    cause = _refusal_cause(chosen.score, standing, verdict.reasons)
    if cause is None:  # the gate was not asked
        return None
    needed = None
    if standing and cause == "too_few_rows":
        score = standing.score
        needed = rows_needed(score.value, standing.target, score.confidence)
        needed = None if needed is None or needed > MANY_TIMES * score.n else needed
    tried = {e.rung for e in climb.evidence}
    untried = [rung for rung in ladder if rung not in tried]
    if standing is None and cause != "not_scored":
        untried = []  # the same test rows refuse every rung
    return AfterRefusal(chosen.rung, cause, needed, untried[0] if untried else None)


def _refusal_cause(dev: Interval, standing: ChallengerScore | None, reasons: Sequence[Reason]) -> RefusalCause | None:
    """Returns why the gate refused; None if its reasons are others than the test rows."""
    kinds = {type(reason) for reason in reasons}
    if standing is None:
        if TooFewTestRows in kinds:
            return "few_test_rows"
        if UnseenTestAnswers in kinds:
            return "unseen_answers"
        return "not_scored" if kinds & {ChallengerTooFewScored, ChallengerTooManyUnscored} else None
    if standing.score.value > standing.target:
        return "unlike_validation" if standing.score.high < dev.low else "too_few_rows"
    if UnseenTestAnswers in kinds:
        return "unseen_answers"
    return "unlike_validation" if standing.score.high < dev.low else "below_bar"
