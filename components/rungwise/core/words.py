"""The one sentence of each reason.

It lies in this room because the stages and the steps of a run, below `report`, show reasons as they are decided.
"""

import math
from collections.abc import Iterable, Mapping
from typing import assert_never

from rungwise.core.climb_reasons import (
    BarAtFloor,
    BelowBar,
    BestRefused,
    BeyondClassical,
    ClimbReason,
    Doubling,
    DoubtfulLabels,
    Help,
    IncumbentCompared,
    LabelCeiling,
    NoScore,
    NotAboveFloor,
    NothingJudged,
    NotTried,
    RefusedOnTest,
    RowsReason,
    RungCompared,
    RungScore,
    TooFewRows,
    TooFewScored,
    TooManyUnscored,
    TryNext,
    Unscored,
    WeakSlice,
    WithoutModel,
)
from rungwise.core.decisions import Reason, Text
from rungwise.core.gate_reasons import GateReason
from rungwise.core.gate_words import gate_sentence, release_sentence
from rungwise.core.interval_words import MANY_TIMES, change_text, ends_text, paired_text
from rungwise.core.records import Json, to_json
from rungwise.core.texts import number_of, on_one_line

_UNSCORED: Mapping[Unscored, str] = {
    "": "",
    "over_context": " Rows are longer than its base reads: choose a base that reads more, or leave out the longest "
    "rows (`validate.max_words`).",
    "not_trained": " It could not be trained.",
}
_HELPS: Mapping[Help, str] = {
    "model": "a rung with a language model",
    "training": "a rung that trains",
    "rows": "more training rows",
    "steps": "more steps",
    "base": "a larger base",
}
"""The others are sentences of their own, see `_below_bar`."""


def sentence_of(reason: Reason) -> str:
    """Returns the sentence of a reason, with its figures."""
    if isinstance(reason, Text):
        return reason.text
    if isinstance(reason, WithoutModel):
        return _without_model(reason)
    if isinstance(reason, IncumbentCompared):
        return _incumbent_compared(reason)
    if isinstance(reason, RowsReason):
        return _rows(reason)
    if isinstance(reason, ClimbReason):
        return _climb(reason)
    return gate_sentence(reason) if isinstance(reason, GateReason) else release_sentence(reason)


def sentences_of(reasons: Iterable[Reason]) -> str:
    """Returns reasons as one text."""
    return " ".join(sentence_of(reason) for reason in reasons)


def reason_json(reason: Reason) -> Json:
    """Returns a reason as JSON values: its code, its figures and its sentence."""
    return {**to_json(reason), "sentence": sentence_of(reason)}


def _rows(reason: RowsReason) -> str:
    match reason:
        case DoubtfulLabels(suspects, rows):
            return (
                f"{suspects} of {rows} labels may be wrong: a model trained on the other rows contradicts them. Check "
                "them before you train more: `rungwise data docs` lists them."
            )
        case Doubling():
            return _doubling(reason)
        case WeakSlice():
            return _weak_slice(reason)
    assert_never(reason)


def _climb(reason: ClimbReason) -> str:
    match reason:
        case NoScore():
            return f"{reason.rung}: no score: {reason.note}.{_UNSCORED[reason.why]}"
        case TooFewScored(rung, scored, rows, required):
            return (
                f"{rung}: only {scored} of {rows} rows could be scored; `decide.min_scored` requires {required}, so it "
                f"is not judged.{_UNSCORED[reason.why]}"
            )
        case TooManyUnscored(rung, unscored, rows, share):
            return (
                f"{rung}: {unscored} of {rows} rows could not be scored; `decide.max_unscored_share` allows "
                f"{share:.0%}, so it is not judged.{_UNSCORED[reason.why]}"
            )
        case RungScore():
            return _rung_score(reason)
        case NotAboveFloor(rung, floor, score, change):
            paired = paired_text(change) if change else "no row was scored by both"
            return f"{rung} is not clearly better than the floor ({floor}, {score.value:.3f}): {paired}."
        case RefusedOnTest(rung):
            return f"{rung} was refused on the test rows, so it does not end the climb."
        case RungCompared():
            return _rung_compared(reason)
        case BeyondClassical():
            return f"`decide.beyond_classical`: {reason.rung} is tried to show what a language model would add."
        case NotTried(rungs):
            are = "is" if len(rungs) == 1 else "are"
            return f"{', '.join(rungs)} {are} not tried: a cheaper rung passes."
        case TryNext():
            return f"No rung passes yet, so {reason.rung} is tried next."
        case NothingJudged() | TooFewRows() | BarAtFloor() | LabelCeiling() | BelowBar() | BestRefused():
            return _no_rung_left(reason)
    assert_never(reason)


def _rung_score(reason: RungScore) -> str:
    score = reason.score
    left_out = f" ({reason.unscored} without an answer, which score 0)" if reason.unscored else ""
    left_out += f" ({number_of(reason.cut, 'answer')} cut off before their end)" if reason.cut else ""
    lower = score.low if reason.lower is None else reason.lower
    reaches = lower >= reason.target
    side = "at or above" if reaches else "below"
    verdict = "so it passes" if reason.passes else "but it does not pass" if reaches else "so it does not pass"
    end = "the lower end" if reason.lower is None else f"with a confidence of 80% it is at least {lower:.3f},"
    return (
        f"{reason.rung}: {reason.metric} {score.value:.3f}, {score.confidence:.0%} interval {score.low:.3f} to "
        f"{score.high:.3f} on {number_of(score.n, 'validation row')}{left_out}; {end} "
        f"{'is ' if reason.lower is None else ''}{side} the bar of {reason.target:g}, {verdict}."
    )


def _rung_compared(reason: RungCompared) -> str:
    names, change = f"{reason.rung} minus {reason.other}", reason.difference
    best = f"{reason.best} passes and is cheaper." if reason.passes else f"{reason.best} is the best so far."
    if change is None:
        return f"{names}: no row was scored by both. {best}"
    verdict = "clearly better" if change.low > 0 else "clearly worse" if change.high < 0 else "no clear gain"
    return f"{names}, {paired_text(change)}: {verdict}. {best}"


def _no_rung_left(reason: NothingJudged | TooFewRows | BarAtFloor | LabelCeiling | BelowBar | BestRefused) -> str:
    match reason:
        case NothingJudged("over_context"):
            return (
                "No rung could be judged, because rows are longer than the bases read: put a base that reads more on "
                "the ladder, or leave out the longest rows (`validate.max_words`)."
            )
        case NothingJudged():
            return "No rung could be judged: find out why rows are not scored before training anything else."
        case TooFewRows():
            return _too_few_rows(reason)
        case BarAtFloor(rung, floor):
            return (
                f"No rung is left. {rung} reaches the bar, but it is not clearly better than the floor ({floor}): "
                "raise the bar, or use a metric that the floor does not satisfy."
            )
        case LabelCeiling():
            return _label_ceiling(reason)
        case BelowBar():
            return _below_bar(reason)
        case BestRefused(rung):
            return f"No rung is left. {rung} passes on the validation rows, and the test rows refused it."
    assert_never(reason)


def _doubling(reason: Doubling) -> str:
    gained = (
        f"from {number_of(reason.half, 'row')} to {reason.rows:,} it gained {change_text(reason.difference)}, on "
        f"{number_of(reason.difference.n, 'validation row')}"
    )
    match reason.outcome:
        case "gains":
            return (
                f"{reason.rung}: twice as many training rows would bring between {100 * reason.low:.1f} and "
                f"{100 * reason.high:.1f} points ({gained})."
            )
        case "flat":
            return (
                f"{reason.rung}: twice as many training rows would bring at most {100 * max(0.0, reason.high):.1f} "
                f"points ({gained})."
            )
        case "unknown":
            needed = f": about {number_of(reason.rows_needed, 'row')} would" if reason.rows_needed else ""
            return (
                f"{reason.rung}: these validation rows can't tell what twice as many training rows would bring{needed} "
                f"({gained})."
            )
    assert_never(reason.outcome)


def _weak_slice(reason: WeakSlice) -> str:
    named = {
        "label": f"Rows with the label {on_one_line(reason.name)!r}",
        "source": f"Rows of the source {on_one_line(reason.name)!r}",
        "length": f"The {reason.name} of the texts",
    }[reason.kind]
    return (
        f"{named}: {ends_text(reason.score)}, clearly below the bar of {reason.target:g}. They are "
        f"{reason.score.n / reason.rows:.0%} of {number_of(reason.rows, 'validation row')}: collect more of them first."
    )


def _label_ceiling(reason: LabelCeiling) -> str:
    causes = []
    name = {"label": "label", "list": "item", "json": "label or an item"}[reason.format]
    if reason.unknown:
        causes.append(f"{reason.unknown} have a{'n' * (name == 'item')} {name} that no training row has")
    if reason.contradicting:
        causes.append(f"{reason.contradicting} have a text that occurs more often with another label")
    names = {"label": "labels", "list": "items", "json": "labels and items"}[reason.format]
    return (
        f"No rung is left. {reason.rung}, the best so far, is {reason.missing:.3f} below the bar, and the {names} "
        f"allow no more than {reason.ceiling:.3f}: of {reason.rows} validation rows {' and '.join(causes)}. "
        f"Correct the {names}, or collect training rows with these {names}."
    )


def _below_bar(reason: BelowBar) -> str:
    *first, last = [_HELPS[name] for name in reason.helps if name in _HELPS] or ["another base"]
    tried = f"{', '.join(first)} or {last}" if first else last
    text = f"No rung is left. {reason.rung}, the best so far, is {reason.missing:.3f} below the bar"
    if "texts" in reason.helps:
        text += ", and not clearly better than the floor: check that the texts say what decides the answer"
    if "longer_base" in reason.helps:
        longer = (
            "other rungs were not judged, because rows are longer than their bases read: choose bases that read more"
        )
        return f"{text}. {longer[:1].upper()}{longer[1:]}. Otherwise try {tried}."
    return f"{text}. Then try {tried}." if "texts" in reason.helps else f"{text}: try {tried}."


def _too_few_rows(reason: TooFewRows) -> str:
    score, needed = reason.score, reason.rows_needed
    if needed is None or needed > MANY_TIMES * score.n:
        would = "it is so close to the bar that a better rung or more training rows are the next thing to try."
    else:
        would = f"about {number_of(needed, 'validation row')} would in four of five cases, if the score stays."
    return (
        f"No rung is left. {reason.rung} scores above the bar, but {number_of(score.n, 'row')} can't show it: {would}"
    )


def _without_model(reason: WithoutModel) -> str:
    what, needs = "no language model", "You do not need a language model for this"
    if reason.is_encoder:
        what, needs = "a frozen encoder", "A frozen encoder is enough, no language model needs training"
    text = f"{reason.rung} ({what}) reaches {ends_text(reason.score)}"
    if reason.model and reason.difference:
        text += f"; {reason.model} minus it, {paired_text(reason.difference)}"
    return f"{needs if reason.is_enough else 'Without a language model'}: {text}."


def _incumbent_compared(reason: IncumbentCompared) -> str:
    rung, today = reason.rung, f"what you use today ({reason.incumbent})"
    if reason.difference is None:
        return f"{rung} can't be compared with {today}: no row was scored by both."
    verdict = {
        "better": f"{rung} is clearly better than {today}",
        "as_good": f"{rung} is as good as {today}",
        "worse": f"{rung} is clearly worse than {today}",
        "not_shown": f"These rows can't show that {rung} is as good as {today}",
    }[reason.outcome]
    within = f"; the lower end is above -{reason.margin:g} (`incumbent.margin`)" if reason.outcome == "as_good" else ""
    return f"{verdict}{_fraction(reason)}. {rung} minus it, {paired_text(reason.difference)}{within}."


def _fraction(reason: IncumbentCompared) -> str:
    """Returns what the rung's answers cost compared with the incumbent's, as part of a sentence."""
    ours, theirs, currency = reason.cost, reason.incumbent_cost, reason.currency
    if ours is None or not theirs:
        return ""
    costs = f"{money(ours, currency)} for 1,000 answers in place of {money(theirs, currency)}"
    if ours >= theirs or reason.outcome not in ("better", "as_good"):
        return f" ({costs})"
    share = ours / theirs
    return f" at {share:.1%} of the cost ({costs})" if share >= 0.001 else f" at less than 0.1% of the cost ({costs})"


def money(amount: float, currency: str) -> str:
    """Returns an amount with its currency: two decimals, below 1 two significant digits."""
    decimals = 2 if amount >= 1 or amount <= 0 else 1 - math.floor(math.log10(amount))
    return f"{amount:.{decimals}f} {currency}"
