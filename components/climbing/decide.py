"""The climb's policy: pure, from evidence to a Decision with its reasons in words and numbers.

A rung passes when the lower end of its interval stands at or above the bar. The first that passes ends the
climb. Among rungs that don't pass, a later one replaces the one kept only if its paired difference is clearly
above zero: a larger model has to earn its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from components.config import DecideSettings
from components.evaluation.metrics import accuracy, accuracy_difference
from components.evaluation.reference import NAME
from components.evaluation.statistics import rows_needed
from components.records import Decision, Evidence, Interval, Prediction


@dataclass(frozen=True)
class Outcome:
    """One rung's evidence with the predictions behind it."""

    evidence: Evidence
    predictions: tuple[Prediction, ...]


def decide(settings: DecideSettings, target: float, outcomes: Sequence[Outcome], remaining: Sequence[str]) -> Decision:
    """Returns what to do after the rungs in `outcomes` (in the order tried), with `remaining` rungs untried."""
    reasons: list[str] = []
    kept: Outcome | None = None
    passes = False
    for outcome in outcomes:
        is_decidable, sentence = _standing(settings, target, outcome.evidence)
        reasons.append(sentence)
        if not is_decidable:
            continue
        score = _score(outcome.evidence)
        if score.low >= target:
            kept, passes = outcome, True
        elif kept is None:
            kept = outcome
        else:
            is_better, sentence = _compared(outcome, kept)
            reasons.append(sentence)
            kept = outcome if is_better else kept
    name = kept.evidence.rung if kept else None
    if passes:
        if remaining:
            reasons.append(f"{_names(remaining)} not tried: a cheaper rung passes.")
        return Decision("stop", name, True, tuple(reasons))
    if remaining:
        reasons.append(f"No rung passes yet, so {remaining[0]} is tried next.")
        return Decision("climb", name, False, tuple(reasons))
    reasons += _what_would_help(target, kept)
    return Decision("exhausted", name, False, tuple(reasons))


def _score(evidence: Evidence) -> Interval:
    assert evidence.score is not None  # only asked of evidence that `_standing` called decidable
    return evidence.score


def _standing(settings: DecideSettings, target: float, evidence: Evidence) -> tuple[bool, str]:
    name, score = evidence.rung, evidence.score
    if score is None:
        return False, f"{name}: no score: {evidence.note}."
    if score.n < settings.min_scored:
        wanted = f"`decide.min_scored` asks for {settings.min_scored}"
        return False, f"{name}: only {score.n} of {evidence.n} rows could be scored; {wanted}, so it is not judged."
    if evidence.n - score.n > settings.max_unscored_share * evidence.n:
        limit = f"`decide.max_unscored_share` allows {settings.max_unscored_share:.0%}"
        return False, f"{name}: {evidence.n - score.n} of {evidence.n} rows could not be scored; {limit}: not judged."
    side = "at or above" if score.low >= target else "below"
    ends = f"{score.value:.3f}, {score.confidence:.0%} interval {score.low:.3f} to {score.high:.3f}"
    verdict = "it passes" if score.low >= target else "it does not pass"
    left_out = f" ({evidence.n - score.n} not scored)" if evidence.n > score.n else ""
    return True, (
        f"{name}: accuracy {ends} on {score.n} development rows{left_out}; "
        f"the lower end is {side} the bar of {target:g}, so {verdict}."
    )


def _compared(new: Outcome, kept: Outcome) -> tuple[bool, str]:
    names = f"{new.evidence.rung} minus {kept.evidence.rung}"
    confidence = _score(new.evidence).confidence
    difference = accuracy_difference(new.predictions, kept.predictions, confidence)
    if difference is None:
        return False, f"{names}: no row was scored by both; {kept.evidence.rung} is kept."
    text = f"{names}, paired on {difference.n} rows: {difference.value:+.3f} ({difference.low:+.3f} to "
    text += f"{difference.high:+.3f})"
    if difference.low > 0:
        return True, f"{text}: clearly better, so {new.evidence.rung} is kept."
    how = "clearly worse" if difference.high < 0 else "no clear gain"
    return False, f"{text}: {how}, so the cheaper {kept.evidence.rung} is kept."


def _what_would_help(target: float, kept: Outcome | None) -> list[str]:
    if kept is None:
        return ["No rung could be judged: look at why rows are not scored before training anything else."]
    score = _score(kept.evidence)
    needed = rows_needed(score.value, target, score.confidence)
    if score.value > target:
        rows = f"about {needed} development rows" if needed and needed > score.n else "more lineage groups"
        return [
            f"No rung is left. {kept.evidence.rung} scores above the bar, but {score.n} rows can't show it: {rows} "
            f"would, if the score stays at {score.value:.3f}."
        ]
    return [
        f"No rung is left. The best, {kept.evidence.rung}, is {target - score.value:.3f} short of the bar itself: "
        "more training rows, more steps or a larger base are next."
    ]


def _names(remaining: Sequence[str]) -> str:
    return f"{', '.join(remaining)} {'is' if len(remaining) == 1 else 'are'}"


def compare(target: float, confidence: float, kept: Outcome | None, reference: Sequence[Prediction]) -> str:
    """Returns what stands beside the verdict: how far the same rows get one without any language model."""
    score = accuracy(reference, confidence)
    if score is None:
        return ""
    ends = f"{NAME} reaches {score.value:.3f} ({score.low:.3f} to {score.high:.3f}) on the same rows"
    difference = accuracy_difference(kept.predictions, reference, confidence) if kept else None
    if kept and difference:
        ends += f"; {kept.evidence.rung} minus it, paired: {difference.value:+.3f} "
        ends += f"({difference.low:+.3f} to {difference.high:+.3f})"
    if score.low >= target:
        return f"You may not need a language model for this: {ends}."
    return f"Without a language model: {ends}."
