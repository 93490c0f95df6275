"""The promotion gate: pure, from predictions on the test rows to a verdict with typed reasons.

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
    WhyAlone,
)
from rungwise.core.records import Interval, Prediction
from rungwise.core.words import MANY_TIMES
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


def judge(
    settings: PromoteSettings,
    target: float,
    metric: Metric,
    confidence: float,
    challenger: Sequence[Prediction],
    champion: Sequence[Prediction] | None,
    is_smaller: bool,
    why_alone: WhyAlone | None = None,
) -> Verdict:
    """Returns the verdict on test predictions.

    Args:
        settings: what the gate requires in addition to the bar.
        target: the bar, 0 to 1.
        metric: scores one prediction.
        confidence: of the two-sided intervals, 0 to 1.
        challenger: predictions on the test rows.
        champion: the champion's predictions on the same rows; None where there are none.
        is_smaller: whether the challenger's base is smaller than the champion's.
        why_alone: why `champion` is None; None: there is no champion.
    """
    score = estimate(metric, challenger, confidence)
    if score is None or score.n < settings.min_scored:
        return Verdict("refuse", (ChallengerTooFewScored(score.n if score else 0, settings.min_scored),))
    n_unscored, rows = sum(p.answer is None for p in challenger), len(challenger)
    if n_unscored > settings.max_unscored_share * rows:
        return Verdict("refuse", (ChallengerTooManyUnscored(n_unscored, rows, settings.max_unscored_share),))
    standing = ChallengerScore(metric.title, score, target, score.low >= target)
    if not standing.passes:
        return Verdict("refuse", (standing,))
    if champion is None:
        return Verdict("promote", (standing, why_alone or NoChampion()))
    change = difference(metric, challenger, champion, confidence)
    champion_score = estimate(metric, champion, confidence)
    outcome = _outcome(change, is_smaller, champion_score is not None and champion_score.low >= target)
    action = "keep" if outcome in ("worse", "no_difference") else "promote"
    return Verdict(action, (standing, ChampionCompared(change, outcome)))


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
    is_unscored = any(isinstance(r, ChallengerTooFewScored | ChallengerTooManyUnscored) for r in verdict.reasons)
    if standing is None and not is_unscored:  # the gate was not asked
        return None
    needed, cause = None, _refusal_cause(chosen.score, standing)
    if standing and cause == "too_few_rows":
        score = standing.score
        needed = rows_needed(score.value, standing.target, score.confidence)
        needed = None if needed is None or needed > MANY_TIMES * score.n else needed
    tried = {e.rung for e in climb.evidence}
    return AfterRefusal(chosen.rung, cause, needed, next((rung for rung in ladder if rung not in tried), None))


def _refusal_cause(dev: Interval, standing: ChallengerScore | None) -> RefusalCause:
    if standing is None:
        return "not_scored"
    if standing.score.high < dev.low:
        return "unlike_validation"
    return "too_few_rows" if standing.score.value > standing.target else "below_bar"
