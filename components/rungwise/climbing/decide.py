"""The climb's policy: pure, from evidence to a Decision with typed reasons.

The validation rows are a screen, and the test rows are the proof: a rung passes when its score is at or above the bar
with a confidence of 80 %, one-sided, and clearly above the floor, which needs no training. The first that passes ends
the climb, unless it has no language model and `decide.beyond_classical` requires a comparison with one. If the test
rows refuse it, it counts as one that does not pass, and the climb continues with the next. Among rungs that don't pass,
a later one replaces the best so far only if their paired difference is clearly above zero: a larger model must earn its
place.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

from rungwise.config import DecideSettings
from rungwise.core.climb_reasons import (
    BarAtFloor,
    BelowBar,
    BestRefused,
    BeyondClassical,
    Help,
    LabelCeiling,
    NoScore,
    NotAboveFloor,
    NothingJudged,
    NotTried,
    RefusedOnTest,
    RungCompared,
    RungScore,
    TooFewRows,
    TooFewScored,
    TooManyUnscored,
    TryNext,
    Unscored,
    WithoutModel,
)
from rungwise.core.decisions import Decision, Reason
from rungwise.core.methods import METHODS
from rungwise.core.records import Evidence, Interval, Prediction
from rungwise.evidence.ceiling import Ceiling
from rungwise.evidence.floors import FloorAnswers
from rungwise.evidence.intervals import rows_needed
from rungwise.evidence.levels import screen_interval
from rungwise.evidence.metrics import Metric, difference, estimate


@dataclass(frozen=True)
class Outcome:
    """One rung's evidence with the predictions behind it."""

    evidence: Evidence
    predictions: tuple[Prediction, ...]


def decide(
    settings: DecideSettings,
    target: float,
    metric: Metric,
    outcomes: Sequence[Outcome],
    remaining: Sequence[str],
    floor: FloorAnswers | None = None,
    ceiling: Ceiling | None = None,
    refused: Set[str] = frozenset(),
) -> Decision:
    """Returns what to do after the rungs in `outcomes` (in the order tried), with `remaining` rungs untried.

    `ceiling`: what the labels and items allow; None for texts. `refused`: attempts that the test rows refused.
    """
    reasons: list[Reason] = []
    best: Outcome | None = None
    passes = has_passing_model = False
    for outcome in outcomes:
        standing = _standing(settings, target, metric, outcome)
        at_floor = _not_above(metric, outcome, floor) if isinstance(standing, RungScore) and standing.passes else None
        if isinstance(standing, RungScore) and at_floor:
            standing = replace(standing, passes=False)
        reasons += [standing, *([at_floor] if at_floor else [])]
        if not isinstance(standing, RungScore):
            continue
        is_refused = standing.passes and outcome.evidence.attempt in refused
        if is_refused:
            reasons.append(RefusedOnTest(outcome.evidence.rung))
        is_good = standing.passes and not is_refused
        has_passing_model = has_passing_model or (is_good and _has_model(outcome))
        if best is None or (is_good and not passes):
            best, passes = outcome, is_good
            continue
        change = _difference(metric, outcome, best)
        better = outcome if not passes and change and change.low > 0 else best
        names = outcome.evidence.rung, best.evidence.rung
        reasons.append(RungCompared(*names, change, better.evidence.rung, passes))
        best = better
    name = best.evidence.rung if best else None
    if passes and best:
        if remaining and settings.beyond_classical and not _has_model(best) and not has_passing_model:
            return Decision("climb", name, True, (*reasons, BeyondClassical(remaining[0])))
        untried = [NotTried(tuple(remaining))] if remaining else []
        return Decision("stop", name, True, (*reasons, *untried))
    if remaining:
        return Decision("climb", name, False, (*reasons, TryNext(remaining[0])))
    if best and RefusedOnTest(best.evidence.rung) in reasons:
        return Decision("exhausted", name, False, (*reasons, BestRefused(best.evidence.rung)))
    ends = _what_would_help(target, metric, outcomes, best, floor, ceiling)
    return Decision("exhausted", name, False, (*reasons, ends))


def compare(metric: Metric, outcomes: Sequence[Outcome], decision: Decision) -> WithoutModel | None:
    """Returns whether a language model is needed at all; None where no rung without one was scored.

    Of several rungs without one, the rung that passes is compared, otherwise the one that scores highest.
    """
    without = [o for o in outcomes if not _has_model(o) and o.evidence.score]
    if not without:
        return None
    passing = [o for o in without if decision.passes and o.evidence.rung == decision.rung]
    plain = max(passing or without, key=lambda o: _score(o.evidence).value)
    models = [o for o in outcomes if _has_model(o) and o.evidence.score]
    best = max(models, key=lambda o: _score(o.evidence).value, default=None)
    name, score = plain.evidence.rung, _score(plain.evidence)
    change = difference(metric, best.predictions, plain.predictions, score.confidence) if best else None
    is_enough = decision.passes and decision.rung == name
    is_encoder = METHODS[plain.evidence.method].engine == "encoder"
    return WithoutModel(name, score, best.evidence.rung if best else None, change, is_enough, is_encoder)


def _score(evidence: Evidence) -> Interval:
    assert evidence.score is not None  # callers leave out evidence without a score
    return evidence.score


def _has_model(outcome: Outcome) -> bool:
    """Whether a language model answers: neither a classical model nor a frozen encoder is one."""
    return METHODS[outcome.evidence.method].engine not in ("classical", "encoder")


def _screened(metric: Metric, outcome: Outcome) -> Interval | None:
    """Returns the score with the interval whose lower end is compared with the bar; None if no row has an answer."""
    return estimate(metric, outcome.predictions, screen_interval())


def _standing(
    settings: DecideSettings, target: float, metric: Metric, outcome: Outcome
) -> NoScore | TooFewScored | TooManyUnscored | RungScore:
    evidence, screened = outcome.evidence, _screened(metric, outcome)
    rung, score, rows = evidence.rung, evidence.score, evidence.n
    if score is None or screened is None:
        return NoScore(rung, evidence.note, _why_unscored(evidence))
    unscored = sum(evidence.unscored.values())
    if rows - unscored < settings.min_scored:
        return TooFewScored(rung, rows - unscored, rows, settings.min_scored, _why_unscored(evidence))
    if unscored > settings.max_unscored_share * rows:
        return TooManyUnscored(rung, unscored, rows, settings.max_unscored_share, _why_unscored(evidence))
    return RungScore(rung, metric.title, score, unscored, evidence.cut, target, screened.low >= target, screened.low)


def _why_unscored(evidence: Evidence) -> Unscored:
    """Returns the main reason why rows of a rung are not scored; of equals the first by name."""
    reason = min(evidence.unscored, key=lambda name: (-evidence.unscored[name], name), default="")
    if reason == "over_context" or evidence.train_rejected.get("over_context"):
        return "over_context"
    return "not_trained" if reason == "not_trained" else ""


def _difference(metric: Metric, new: Outcome, best: Outcome) -> Interval | None:
    return difference(metric, new.predictions, best.predictions, _score(new.evidence).confidence)


def _not_above(metric: Metric, outcome: Outcome, floor: FloorAnswers | None) -> NotAboveFloor | None:
    """Returns the reason if a rung is not clearly better than the floor."""
    if floor is None:
        return None
    change = difference(metric, outcome.predictions, floor.predictions, _score(outcome.evidence).confidence)
    if change and change.low > 0:
        return None
    return NotAboveFloor(outcome.evidence.rung, floor.floor.name, floor.floor.score, change)


def _what_would_help(
    target: float,
    metric: Metric,
    outcomes: Sequence[Outcome],
    best: Outcome | None,
    floor: FloorAnswers | None,
    ceiling: Ceiling | None,
) -> NothingJudged | BarAtFloor | TooFewRows | LabelCeiling | BelowBar:
    if best is None:
        causes = {_why_unscored(o.evidence) for o in outcomes}
        return NothingJudged(causes.pop() if len(causes) == 1 else "")
    rung, score, screened = best.evidence.rung, _score(best.evidence), _screened(metric, best)
    assert screened is not None  # it has a score
    if floor and screened.low >= target:
        return BarAtFloor(rung, floor.floor.name)
    if score.value > target:
        return TooFewRows(rung, score, rows_needed(screened, target))
    if ceiling and ceiling.score < target:
        figures = ceiling.score, ceiling.unknown, ceiling.contradicting, ceiling.rows, ceiling.format
        return LabelCeiling(rung, target - score.value, *figures)
    return BelowBar(rung, target - score.value, _helps(metric, outcomes, best, floor))


def _helps(metric: Metric, outcomes: Sequence[Outcome], best: Outcome, floor: FloorAnswers | None) -> tuple[Help, ...]:
    """Returns what would help a rung below the bar; `outcomes` are those of the whole ladder."""
    helps: list[Help] = ["texts"] if _not_above(metric, best, floor) else []
    judged = [o for o in outcomes if o.evidence.score is not None]
    if any(o not in judged and _why_unscored(o.evidence) == "over_context" for o in outcomes):
        helps.append("longer_base")
    helps.append("rows")
    if not any(_has_model(o) for o in outcomes):
        return (*helps, "model")
    if not any(METHODS[o.evidence.method].trains for o in outcomes if _has_model(o)):
        return (*helps, "training", "base")
    return (*helps, "steps", "base")
