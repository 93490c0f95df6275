"""The promotion gate: pure, from predictions on the test rows to a verdict with typed reasons.

`before_look` refuses what no score can change, before the test rows are scored. `measured` takes from predictions all
that a verdict needs, and `judge` decides from that, so that other settings of the gate need no second look.

A challenger is promoted if the lower end of its interval is at or above the bar and one of these is true: there is no
champion that it can be compared with; it is better than the champion, shown on the same rows; the champion is shown to
be below the bar; it has a smaller base and is shown to be at most `promote.margin` worse than the best version that was
ever promoted. A tie keeps the champion. A row without an answer scores 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from rungwise.config import PromoteSettings
from rungwise.core.decisions import Climb, Reason
from rungwise.core.gate_reasons import (
    AfterRefusal,
    ChallengerScore,
    ChallengerTooFewScored,
    ChallengerTooManyUnscored,
    ChampionCompared,
    ComparisonOutcome,
    NoChampion,
    NotScreened,
    RefusalCause,
    TooFewTestGroups,
    TooFewTestRows,
    UnseenTestAnswers,
    WhyAlone,
)
from rungwise.core.interval_words import MANY_TIMES
from rungwise.core.records import Interval, Prediction
from rungwise.evidence.ceiling import Unseen
from rungwise.evidence.intervals import (
    MIN_GROUPS,
    has_few_groups,
    mean_interval,
    paired_difference,
    paired_lower,
    rows_needed,
)
from rungwise.evidence.metrics import Metric
from rungwise.evidence.sign_flips import better_p


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


SCREEN: Final = 0.10
"""The one-sided level at which validation rows give a reason for a look at test rows."""


@dataclass(frozen=True)
class Anchor:
    """The best version that was ever promoted, with its scores on test rows."""

    version: int
    scores: Mapping[str, float]
    """Id of a test row -> its score, 0 to 1."""


@dataclass(frozen=True)
class Measured:
    """What a test-set look measured: all that the gate decides from, whatever its settings."""

    score: Interval | None
    """The challenger's; None where no row was answered."""
    unscored: int
    """Rows without an answer, which score 0."""
    rows: int
    """All test rows."""
    difference: Interval | None = None
    """Challenger minus champion; None where there are no answers of a champion."""
    champion: Interval | None = None
    """The champion's score; None where no row was answered."""
    why_alone: WhyAlone | None = None
    """Why there are no answers of a champion; None: there are."""
    better: float | None = None
    """The p-value that the challenger is better than the champion (`evidence.sign_flips`)."""
    worse: float | None = None
    """The p-value that it is worse."""
    lower: float | None = None
    """The one-sided lower end of challenger minus the best version ever promoted; None: too few rows are common."""
    anchor: int | None = None
    """That version; None: the champion, as no promoted version has scores."""


def row_scores(metric: Metric, predictions: Sequence[Prediction]) -> dict[str, float]:
    """Returns the score of each row, 0 to 1, by id; a row without an answer scores 0."""
    return {p.id: metric(p) for p in predictions}


def measured(
    metric: Metric,
    level: float,
    challenger: Sequence[Prediction],
    champion: Sequence[Prediction] | None,
    why_alone: WhyAlone | None = None,
    anchor: Anchor | None = None,
) -> Measured:
    """Returns what the predictions on the test rows show.

    Args:
        metric: scores one prediction.
        level: the one-sided level of this look, 0 to 0.5.
        challenger: predictions on the test rows.
        champion: the champion's predictions on the same rows; None where there are none.
        why_alone: why `champion` is None; None: there is no champion.
        anchor: the best version ever promoted; None where none has scores.
    """
    confidence = 1 - 2 * level
    own, unscored = row_scores(metric, challenger), sum(p.answer is None for p in challenger)
    groups = {p.id: p.group for p in challenger}
    score = mean_interval(list(own.values()), list(groups.values()), confidence) if unscored < len(challenger) else None
    if champion is None:
        return Measured(score, unscored, len(challenger), why_alone=why_alone or NoChampion())
    theirs = row_scores(metric, champion)
    has_answered = any(p.answer is not None for p in champion)
    second = mean_interval(list(theirs.values()), [p.group for p in champion], confidence) if has_answered else None
    differences = [own[row] - theirs[row] for row in own]
    rivals = anchor.scores if anchor else theirs
    common = [row for row in own if row in rivals]
    lower = paired_lower([own[row] - rivals[row] for row in common], [groups[row] for row in common], 1 - level)
    return Measured(
        score,
        unscored,
        len(challenger),
        paired_difference(list(own.values()), [theirs[row] for row in own], list(groups.values()), confidence),
        second,
        better=better_p(differences, list(groups.values())),
        worse=better_p([-change for change in differences], list(groups.values())),
        lower=lower,
        anchor=anchor.version if anchor else None,
    )


def before_look(
    settings: PromoteSettings, target: float, groups: Sequence[str], unseen: Unseen | None
) -> Verdict | None:
    """Returns the refusal that no score on the test rows can change; None if they have to be scored.

    Args:
        settings: what the gate requires in addition to the bar.
        target: the bar, 0 to 1.
        groups: each test row's lineage group.
        unseen: what the answers of the test rows have that no training row has; None where that limits no score.
    """
    if len(groups) < settings.min_scored:
        return Verdict("refuse", (TooFewTestRows(len(groups), settings.min_scored),))
    if has_few_groups(groups):
        return Verdict("refuse", (TooFewTestGroups(len(set(groups)), len(groups), MIN_GROUPS),))
    if unseen and unseen.affected and unseen.ceiling < target:
        return Verdict("refuse", (_unseen(unseen, target),))
    return None


def screen(
    settings: PromoteSettings,
    target: float,
    metric: Metric,
    challenger: Sequence[Prediction],
    champion: Sequence[Prediction],
    is_smaller: bool,
) -> NotScreened | None:
    """Returns why the validation rows give no reason for a look at the test rows; None if they do.

    They do if they hint at one of the gate's conditions: the challenger is better, its base is smaller and it is not
    worse, or the champion is below the bar.

    Args:
        settings: what the gate requires.
        target: the bar, 0 to 1.
        metric: scores one prediction.
        challenger: predictions on the validation rows.
        champion: the champion's predictions on the same rows.
        is_smaller: whether the challenger's base is smaller than the champion's.
    """
    own, theirs = row_scores(metric, challenger), row_scores(metric, champion)
    groups = [p.group for p in challenger]
    differences = [own[row] - theirs[row] for row in own]
    p = better_p(differences, groups)
    score = mean_interval(list(theirs.values()), [p.group for p in champion], 1 - 2 * SCREEN)
    if p <= SCREEN or score is None or score.high < target:
        return None
    lower = paired_lower(differences, groups, 1 - SCREEN) if is_smaller else None
    if lower is not None and lower > -settings.margin:
        return None
    return NotScreened(p, SCREEN, len(own), settings.margin if is_smaller else None)


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
    if look.score is None or look.rows - look.unscored < settings.min_scored:
        return Verdict("refuse", (ChallengerTooFewScored(look.rows - look.unscored, settings.min_scored),))
    if look.unscored > settings.max_unscored_share * look.rows:
        reason = ChallengerTooManyUnscored(look.unscored, look.rows, settings.max_unscored_share)
        return Verdict("refuse", (reason,))
    standing = ChallengerScore(title, look.score, target, look.score.low >= target)
    if not standing.passes:
        limits = (_unseen(unseen, target),) if unseen and unseen.affected else ()
        return Verdict("refuse", (standing, *limits))
    if look.why_alone:
        return Verdict("promote", (standing, look.why_alone))
    outcome = _outcome(look, settings.margin, target, is_smaller)
    action = "promote" if outcome in ("better", "champion_below_bar", "smaller_base") else "keep"
    p = {"better": look.better, "worse": look.worse}.get(outcome)
    compared = ChampionCompared(look.difference, outcome, p)
    if is_smaller:
        compared = replace(compared, margin=settings.margin, lower=look.lower, anchor=look.anchor)
    return Verdict(action, (standing, compared))


def _unseen(unseen: Unseen, target: float) -> UnseenTestAnswers:
    return UnseenTestAnswers(tuple(unseen.values), unseen.affected, unseen.rows, unseen.ceiling, target)


def _outcome(look: Measured, margin: float, target: float, is_smaller: bool) -> ComparisonOutcome:
    if look.better is None or look.worse is None or look.difference is None:
        return "nothing_in_common"
    level = (1 - look.difference.confidence) / 2
    if look.better <= level:
        return "better"
    if look.champion is None or look.champion.high < target:
        return "champion_below_bar"
    if is_smaller:
        return "smaller_base" if look.lower is not None and look.lower > -margin else "maybe_worse"
    return "worse" if look.worse <= level else "no_difference"


def after_refusal(climb: Climb, ladder: Sequence[str], verdict: Verdict) -> AfterRefusal | None:
    """Returns what to do after the gate refused a climb's candidate; None if it did not refuse it.

    Args:
        climb: the climb that chose the challenger.
        ladder: the names of the ladder's rungs, cheapest first.
        verdict: the gate's answer about the challenger.
    """
    chosen = climb.candidate
    if verdict.action != "refuse" or chosen is None or chosen.score is None:
        return None
    standing = next((r for r in verdict.reasons if isinstance(r, ChallengerScore)), None)
    cause = _refusal_cause(chosen.score, standing, verdict.reasons)
    if cause is None:  # the gate was not asked
        return None
    needed = None
    if standing and cause == "too_few_rows":
        score = standing.score
        needed = rows_needed(score, standing.target)
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
        if TooFewTestGroups in kinds:
            return "few_test_groups"
        if UnseenTestAnswers in kinds:
            return "unseen_answers"
        return "not_scored" if kinds & {ChallengerTooFewScored, ChallengerTooManyUnscored} else None
    if standing.score.value > standing.target:
        return "unlike_validation" if standing.score.high < dev.low else "too_few_rows"
    if UnseenTestAnswers in kinds:
        return "unseen_answers"
    return "unlike_validation" if standing.score.high < dev.low else "below_bar"
