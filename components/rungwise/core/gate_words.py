"""The one sentence of each reason of the promotion gate; see `words`."""

from statistics import NormalDist
from typing import assert_never

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
    Threshold,
    ThresholdOnTest,
    TooFewTestGroups,
    TooFewTestRows,
    UnseenTestAnswers,
)
from rungwise.core.interval_words import ends_text, paired_text
from rungwise.core.records import Interval
from rungwise.core.texts import number_of

_OUTCOMES = {
    "better": "clearly better",
    "worse": "clearly worse",
    "champion_below_bar": "no clear difference, but the champion is below the bar",
    "smaller_base": "no clear difference, and its base is smaller",  # as older versions recorded it
    "maybe_worse": "its base is smaller, but it may be worse",
}


def gate_sentence(reason: GateReason) -> str:
    """Returns why the gate promotes, keeps or refuses."""
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
                f"{title} {ends_text(score)} on {number_of(score.n, 'test row')}: the lower end is {side} the bar of "
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
    sentence = f"Challenger minus champion, {paired_text(reason.difference)}: "
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


def release_sentence(reason: ReleaseReason) -> str:
    """Returns why the gate was not asked, what to do after it refused, or what a champion answers itself."""
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
        case Threshold():
            return _threshold(reason)
        case ThresholdOnTest():
            return _threshold_on_test(reason)
    assert_never(reason)


def _threshold(reason: Threshold) -> str:
    goal = f"at least {reason.goal:.0%} of such answers are right (confidence {reason.confidence:.0%})"
    if reason.at is None:
        few = f" It takes {number_of(reason.least, 'row')} to show that, all of them right."
        return (
            f"All rows are for people: {number_of(reason.rows, 'validation row')} show no probability from which "
            f"{goal}.{few if reason.rows < reason.least else ''}"
        )
    rows = f"{reason.answered / reason.rows:.1%} of {number_of(reason.rows, 'validation row')}"
    return (
        f"{reason.rung or 'It'} itself can answer {rows}, with a probability of at least {reason.at:.4g}: {goal}. The "
        "other rows are for people."
    )


def _threshold_on_test(reason: ThresholdOnTest) -> str:
    if reason.score is None:
        return f"It is not sure enough of any of {number_of(reason.rows, 'test row')}: all of them are for people."
    shown = f"Of {number_of(reason.rows, 'test row')} it answers {reason.score.n / reason.rows:.1%} itself, "
    right = f"{reason.score.value:.1%} of these rightly ({reason.score.low:.1%} to {reason.score.high:.1%})"
    if reason.holds:
        return f"{shown}{right}: in agreement with the goal of {reason.goal:.0%}."
    return f"{shown}{right}, below the goal of {reason.goal:.0%}: so all rows are for people."


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
