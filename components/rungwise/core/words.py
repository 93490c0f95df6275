"""The one sentence of each reason.

It lies in this room because the stages and the steps of a run, below `report`, show reasons as they are decided.
"""

import math
from collections.abc import Iterable, Mapping
from statistics import NormalDist
from typing import assert_never

from rungwise.core.climb_reasons import (
    BarAtFloor,
    BelowBar,
    BestRefused,
    BeyondClassical,
    ClimbReason,
    DoubtfulLabels,
    Help,
    IncumbentCompared,
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
from rungwise.core.decisions import Reason, Text
from rungwise.core.folders import joined
from rungwise.core.gate_reasons import (
    AfterRefusal,
    AlreadyChampion,
    AskedBefore,
    ChallengerScore,
    ChallengerTooFewScored,
    ChallengerTooManyUnscored,
    ChampionCompared,
    ChampionFails,
    ClimbedAlone,
    GateReason,
    NoChampion,
    NothingRegistered,
    NotScreened,
    OtherData,
    OtherSplit,
    ReleaseReason,
    SpentLook,
    TooFewTestGroups,
    TooFewTestRows,
    UnseenTestAnswers,
)
from rungwise.core.records import Interval, Json, to_json
from rungwise.core.texts import number_of

_OUTCOMES = {
    "better": "clearly better",
    "worse": "clearly worse",
    "champion_below_bar": "no clear difference, but the champion is below the bar",
    "smaller_base": "no clear difference, and its base is smaller",  # as older versions recorded it
    "maybe_worse": "its base is smaller, but it may be worse",
}
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
MANY_TIMES = 10
"""If more than this many times the rows are needed, they are not worth their labels: a better rung is advised."""


def sentence_of(reason: Reason) -> str:
    """Returns the sentence of a reason, with its figures."""
    if isinstance(reason, Text):
        return reason.text
    if isinstance(reason, WithoutModel):
        return _without_model(reason)
    if isinstance(reason, IncumbentCompared):
        return _incumbent_compared(reason)
    if isinstance(reason, DoubtfulLabels):
        return (
            f"{reason.suspects} of {reason.rows} labels may be wrong: a model trained on the other rows contradicts "
            "them. Check them before you train more: `rungwise data docs` lists them."
        )
    if isinstance(reason, ClimbReason):
        return _climb(reason)
    return _gate(reason) if isinstance(reason, GateReason) else _release(reason)


def sentences_of(reasons: Iterable[Reason]) -> str:
    """Returns reasons as one text."""
    return " ".join(sentence_of(reason) for reason in reasons)


def reason_json(reason: Reason) -> Json:
    """Returns a reason as JSON values: its code, its figures and its sentence."""
    return {**to_json(reason), "sentence": sentence_of(reason)}


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
            paired = _paired(change) if change else "no row was scored by both"
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
    return f"{names}, {_paired(change)}: {verdict}. {best}"


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
    text = f"{reason.rung} ({what}) reaches {_ends(reason.score)}"
    if reason.model and reason.difference:
        text += f"; {reason.model} minus it, {_paired(reason.difference)}"
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
    return f"{verdict}{_fraction(reason)}. {rung} minus it, {_paired(reason.difference)}{within}."


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


def _gate(reason: GateReason) -> str:
    match reason:
        case TooFewTestRows(rows, required):
            are = "is" if rows == 1 else "are"
            return (
                f"There {are} only {number_of(rows, 'test row')}, and `promote.min_scored` requires {required}: "
                "nothing was scored."
            )
        case TooFewTestGroups(groups, rows, required):
            are = number_of(rows, "test row", "is", "are")
            return (
                f"The {are} of only {number_of(groups, 'group')}, and a gate needs {required}: rows of one group say "
                "the same. Nothing was scored."
            )
        case UnseenTestAnswers():
            return _unseen_answers(reason)
        case ChallengerTooFewScored(scored, required):
            return f"Only {number_of(scored, 'test row')} could be scored; {required} are required."
        case ChallengerTooManyUnscored(unscored, rows, share):
            return f"{unscored} of {rows} test rows could not be scored; at most {share:.0%} are allowed."
        case ChallengerScore(metric, score, target, passes):
            title, side = metric[:1].upper() + metric[1:], "at or above" if passes else "below"
            return (
                f"{title} {_ends(score)} on {number_of(score.n, 'test row')}: the lower end is {side} the bar of "
                f"{target:g}."
            )
        case ChampionCompared():
            return _compared(reason)
        case SpentLook(look, level, missing):
            return (
                f"It is look {look} at these test rows, so it is decided at {level:.2%} (one-sided): "
                f"{number_of(missing, 'new test row')} would form a new cohort with a first look of its own."
            )
        case NotScreened():
            return _not_screened(reason)
        case NoChampion():
            return "There is no champion to compare with."
        case OtherSplit(champion):
            return f"Champion {champion} was trained under another split: no fair comparison on these rows."
        case ChampionFails(champion, problem):
            return f"Champion {champion} can't answer any more ({problem})."
    assert_never(reason)


def _compared(reason: ChampionCompared) -> str:
    if reason.difference is None:
        return "No test row was scored by both the challenger and the champion."
    sentence = f"Challenger minus champion, {_paired(reason.difference)}: "
    if reason.margin is None or reason.outcome not in ("smaller_base", "maybe_worse"):
        if reason.outcome == "no_difference":
            return f"{sentence}no clear difference, so the champion stays{_detectable(reason.difference)}."
        chance = "" if reason.p is None else f" (sign-flip test, p = {reason.p:.2g})"
        return f"{sentence}{_OUTCOMES[reason.outcome]}{chance}."
    rival = "the champion" if reason.anchor is None else f"version {reason.anchor}, the best that was ever promoted"
    if reason.lower is None:
        return f"{sentence}its base is smaller, but too few of these rows were scored to compare it with {rival}."
    worst = f"it is at most {max(0.0, -reason.lower):.3f} worse than {rival}"
    limit = f"`promote.margin` allows {reason.margin:g}"
    if reason.outcome == "smaller_base":
        return f"{sentence}its base is smaller, and {worst} ({limit})."
    return f"{sentence}its base is smaller, but these rows show only that {worst} ({limit}), so the champion stays."


def _not_screened(reason: NotScreened) -> str:
    worse = "" if reason.margin is None else f", nor shown to be at most {reason.margin:g} worse with its smaller base"
    return (
        f"On {number_of(reason.rows, 'validation row')} it is not better than the champion (sign-flip test, "
        f"p = {reason.p:.2g}; at most {reason.required:g} is required){worse}. So the test rows are not scored: each "
        "look at them spends what they can show."
    )


def _detectable(difference: Interval) -> str:
    """Returns the difference that a new sample of the same size would show in four of five cases, as text."""
    normal = NormalDist()
    standard_error = (difference.high - difference.low) / 2 / normal.inv_cdf(0.5 + difference.confidence / 2)
    seen = standard_error * (normal.inv_cdf(0.5 + difference.confidence / 2) + normal.inv_cdf(0.8))
    return f" ({number_of(difference.n, 'row')} would show a difference of {seen:.3f} in four of five cases)"


def _unseen_answers(reason: UnseenTestAnswers) -> str:
    listed = joined([repr(label) for label in reason.labels])
    sentence = (
        f"{reason.affected / reason.rows:.0%} of the test rows ({reason.affected} of {reason.rows}) can't be answered "
        f"fully by any rung, because no training row has {listed}: the ceiling is {reason.ceiling:.2f}"
    )
    if reason.ceiling >= reason.target:
        return f"{sentence}."
    return f"{sentence}, below the bar of {reason.target:g}. So nothing was scored."


def _release(reason: ReleaseReason) -> str:
    match reason:
        case AlreadyChampion(version):
            return f"Version {version} is the champion already."
        case OtherData(version, data_version, workspace):
            versions = f"data {data_version}, and the workspace holds {workspace}"
            return (
                f"Version {version} was trained on {versions}: `rungwise status` says whether a rung passes on those, "
                "or whether `rungwise run` has to climb again."
            )
        case AskedBefore(when):
            return f"(test rows scored on {when})"
        case AfterRefusal():
            return _after_refusal(reason)
        case NothingRegistered():
            return "No rung passes, so nothing is registered for promotion."
        case ClimbedAlone(rungs):
            return (
                f"Its attempts are kept, and nothing is registered: `rungwise run` would also train {joined(rungs)}, "
                "and then registers each task's rung that passes."
            )
    assert_never(reason)


def _after_refusal(reason: AfterRefusal) -> str:
    if reason.next_rung:
        return f"The climb continues: `rungwise run` tries {reason.next_rung} next."
    would = "it is so close to the bar that a better rung or more training rows are the next thing to try"
    if reason.rows_needed:
        would = f"about {number_of(reason.rows_needed, 'test row')} would in four of five cases, if the score stays"
    helps = {
        "few_test_rows": "Collect more rows, raise `split.test`, or lower `promote.min_scored`",
        "few_test_groups": "Collect rows of other groups, raise `split.test`, or correct `split.group` if rows of one "
        "group are independent",
        "unseen_answers": "Add training rows with these answers, or correct the test rows",
        "not_scored": "Find out why test rows are not scored, such as rows that are longer than the base reads",
        "unlike_validation": "The test rows score clearly lower than the validation rows: compare the two sides, and "
        "check the labels of the test rows (`rungwise data docs`)",
        "too_few_rows": f"The score is above the bar, but these test rows can't show it: {would}",
        "below_bar": "It is not good enough on rows that did not choose it: try more training rows or a better rung",
    }[reason.cause]
    is_few = reason.cause in ("few_test_rows", "few_test_groups")
    changes = "the rows or the setting" if is_few else "the rows, the ladder or the bar"
    return f"{helps}. `rungwise run` gives the same answer until {changes} change."


def _ends(score: Interval) -> str:
    return f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f})"


def _paired(difference: Interval) -> str:
    return f"paired on {number_of(difference.n, 'row')}: {change_text(difference)}"


def change_text(difference: Interval) -> str:
    """Returns a difference with its interval as text, such as `+0.100 (+0.050 to +0.150)`."""
    return f"{_signed(difference.value)} ({_signed(difference.low)} to {_signed(difference.high)})"


def _signed(change: float) -> str:
    """Returns three decimals, more where they would read as zero: an end just above it decides what is better."""
    texts = [f"{change:+.{decimals}f}" for decimals in range(3, 7)]
    return next((text for text in texts if float(text) != 0), "+0.000")
