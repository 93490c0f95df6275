"""The climb's policy: pure, from evidence to a Decision with its reasons in words and numbers.

A rung passes when the lower end of its interval stands at or above the bar. The first that passes is kept and ends
the climb, unless it has no language model and `decide.beyond_classical` asks what one would add. Among rungs that
don't pass, a later one replaces the one kept only if its paired difference is clearly above zero: a larger model has
to earn its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rungwise.config import DecideSettings
from rungwise.core.records import Decision, Evidence, Interval, Prediction
from rungwise.evidence.intervals import rows_needed
from rungwise.evidence.metrics import Metric, difference


@dataclass(frozen=True)
class Outcome:
    """One rung's evidence with the predictions behind it."""

    evidence: Evidence
    predictions: tuple[Prediction, ...]


def decide(
    settings: DecideSettings, target: float, metric: Metric, outcomes: Sequence[Outcome], remaining: Sequence[str]
) -> Decision:
    """Returns what to do after the rungs in `outcomes` (in the order tried), with `remaining` rungs untried."""
    reasons: list[str] = []
    kept: Outcome | None = None
    passes = has_passing_model = False
    for outcome in outcomes:
        is_decidable, sentence = _standing(settings, target, metric, outcome.evidence)
        reasons.append(sentence)
        if not is_decidable:
            continue
        is_passing = _score(outcome.evidence).low >= target
        has_passing_model = has_passing_model or (is_passing and not _is_classical(outcome))
        if passes and kept:
            reasons.append(_compared(metric, outcome, kept)[1] + f" {kept.evidence.rung} passes and is cheaper.")
        elif kept is None or is_passing:
            kept, passes = outcome, is_passing
        else:
            is_better, sentence = _compared(metric, outcome, kept)
            reasons.append(f"{sentence} {(outcome if is_better else kept).evidence.rung} is kept.")
            kept = outcome if is_better else kept
    name = kept.evidence.rung if kept else None
    if passes and kept:
        if remaining and settings.beyond_classical and _is_classical(kept) and not has_passing_model:
            reasons.append(
                f"`decide.beyond_classical`: {remaining[0]} is tried to see what a language model would add."
            )
            return Decision("climb", name, True, tuple(reasons))
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


def _is_classical(outcome: Outcome) -> bool:
    return outcome.evidence.method == "tfidf"


def _standing(settings: DecideSettings, target: float, metric: Metric, evidence: Evidence) -> tuple[bool, str]:
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
    left_out += f" ({evidence.cut} answers cut off before their end)" if evidence.cut else ""
    return True, (
        f"{name}: {metric.title} {ends} on {score.n} development rows{left_out}; "
        f"the lower end is {side} the bar of {target:g}, so {verdict}."
    )


def _compared(metric: Metric, new: Outcome, kept: Outcome) -> tuple[bool, str]:
    names = f"{new.evidence.rung} minus {kept.evidence.rung}"
    gain = difference(metric, new.predictions, kept.predictions, _score(new.evidence).confidence)
    if gain is None:
        return False, f"{names}: no row was scored by both."
    text = f"{names}, paired on {gain.n} rows: {gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
    if gain.low > 0:
        return True, f"{text}: clearly better."
    return False, f"{text}: clearly worse." if gain.high < 0 else f"{text}: no clear gain."


def _what_would_help(target: float, kept: Outcome | None) -> list[str]:
    if kept is None:
        return ["No rung could be judged: look at why rows are not scored before training anything else."]
    score = _score(kept.evidence)
    needed = rows_needed(score.value, target, score.confidence)
    if score.value > target:
        rows = f"about {needed:,} development rows" if needed and needed > score.n else "more lineage groups"
        would = f"{rows} would, if the score stays at {score.value:.3f}."
        if needed is None or needed > 10 * score.n:
            would = "it stands so close to the bar that a better rung or more training rows are next."
        return [
            f"No rung is left. {kept.evidence.rung} scores above the bar, but {score.n} rows can't show it: {would}"
        ]
    return [
        f"No rung is left. {kept.evidence.rung}, which is kept, is {target - score.value:.3f} short of the bar itself: "
        "more training rows, more steps or a larger base are next."
    ]


def _names(remaining: Sequence[str]) -> str:
    return f"{', '.join(remaining)} {'is' if len(remaining) == 1 else 'are'}"


def compare(metric: Metric, outcomes: Sequence[Outcome], decision: Decision) -> str:
    """Returns whether a language model is needed at all; empty where no rung without one could be scored."""
    plain = next((o for o in outcomes if _is_classical(o) and o.evidence.score), None)
    models = [o for o in outcomes if not _is_classical(o) and o.evidence.score]
    if plain is None:
        return ""
    score, name = _score(plain.evidence), plain.evidence.rung
    text = f"{name} (no language model) reaches {score.value:.3f} ({score.low:.3f} to {score.high:.3f})"
    if models:
        best = max(models, key=lambda o: _score(o.evidence).value)
        gain = difference(metric, best.predictions, plain.predictions, score.confidence)
        if gain:
            text += f"; {best.evidence.rung} minus it, paired on {gain.n} rows: {gain.value:+.3f} "
            text += f"({gain.low:+.3f} to {gain.high:+.3f})"
    if decision.passes and decision.rung == name:
        return f"You do not need a language model for this: {text}."
    return f"Without a language model: {text}."
