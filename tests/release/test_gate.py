from dataclasses import replace

import pytest

from rungwise.config import PromoteSettings
from rungwise.core.gate_reasons import (
    ChallengerScore,
    ChallengerTooFewScored,
    ChallengerTooManyUnscored,
    ChampionCompared,
    ChampionFails,
    ComparisonOutcome,
    NoChampion,
    NotScreened,
    TooFewTestGroups,
    TooFewTestRows,
    UnseenTestAnswers,
)
from rungwise.core.records import AnswerForm, Interval, Prediction, from_json, to_json
from rungwise.core.words import sentence_of
from rungwise.evidence.ceiling import Unseen
from rungwise.evidence.metrics import Metric
from rungwise.release.gate import Anchor, Measured, Verdict, before_look, judge, measured, screen

ACCURACY = Metric("accuracy", AnswerForm("label", ("a", "b")))
ALONE = [f"g{i}" for i in range(100)]


def answers(right: int, n: int = 300, unscored: int = 0) -> list[Prediction]:
    return [
        Prediction(f"r{i}", f"g{i}", "a", None if i < unscored else "a" if i < right else "b", 0.9) for i in range(n)
    ]


def ask(challenger, champion=None, is_smaller=False, settings=None, *, anchor=None, target=0.9):
    look = measured(ACCURACY, 0.025, challenger, champion, anchor=anchor)
    assert from_json(Measured, to_json(look)) == look  # the ledger holds all that the verdict needs
    return judge(settings or PromoteSettings(), target, ACCURACY.title, look, is_smaller)


def test_without_a_champion_a_challenger_at_the_bar_is_promoted():
    verdict = ask(answers(290))
    assert verdict.action == "promote" and verdict.reasons[0].passes and verdict.reasons[1:] == (NoChampion(),)


def test_a_score_above_the_bar_is_refused_if_its_interval_reaches_below():
    verdict = ask(answers(275))
    (reason,) = verdict.reasons
    assert verdict.action == "refuse" and isinstance(reason, ChallengerScore) and not reason.passes
    assert reason.target == 0.9 and reason.score.low < 0.9 < reason.score.value


def test_too_few_or_too_many_unscored_rows_are_refused():
    few = ask(answers(20, n=20))
    assert few.action == "refuse" and few.reasons == (ChallengerTooFewScored(20, PromoteSettings().min_scored),)
    many = ask(answers(300, unscored=50))
    share = PromoteSettings().max_unscored_share
    assert many.action == "refuse" and many.reasons == (ChallengerTooManyUnscored(50, 300, share),)
    assert ask([]).reasons == (ChallengerTooFewScored(0, PromoteSettings().min_scored),)


def test_a_row_without_an_answer_scores_0():
    """The rows without an answer are often the longest, and the served model answers them with an error."""
    verdict = ask(answers(289, unscored=14))  # right on 275 of the 286 answered rows, and of 300 rows
    (reason,) = verdict.reasons
    assert verdict.action == "refuse" and reason.score.value == 275 / 300 and reason.score.n == 300
    rival = ask(answers(300, unscored=15), answers(285))
    assert rival.reasons[-1].difference.value == 0 and rival.action == "keep"


def test_a_tie_keeps_the_champion_unless_the_base_is_smaller():
    tie, smaller = ask(answers(290), answers(290)), ask(answers(290), answers(290), is_smaller=True)
    assert (tie.action, tie.reasons[-1].outcome) == ("keep", "no_difference")
    assert (smaller.action, smaller.reasons[-1].outcome) == ("promote", "smaller_base")


def test_a_smaller_base_that_may_be_worse_than_the_margin_keeps_the_champion():
    worse, few = ask(answers(286), answers(291), True), ask(answers(100, 100), answers(100, 100), True)
    assert worse.action == few.action == "keep"
    assert worse.reasons[-1].outcome == few.reasons[-1].outcome == "maybe_worse"
    assert worse.reasons[-1].lower < few.reasons[-1].lower < -0.02 == -worse.reasons[-1].margin
    assert "at most 0.030 worse than the champion (`promote.margin` allows 0.02), so the champion stays" in (
        sentence_of(few.reasons[-1])
    )
    wide = ask(answers(286), answers(291), True, PromoteSettings(margin=0.05))
    assert (wide.action, wide.reasons[-1].outcome) == ("promote", "smaller_base")
    ten_groups = [replace(p, group=p.id[-1]) for p in answers(290)]
    blind = ask(ten_groups, ten_groups, True)
    assert blind.action == "keep" and blind.reasons[-1].lower is None
    assert "too few of these rows" in sentence_of(blind.reasons[-1])


def test_steps_to_smaller_bases_are_compared_with_the_best_version_ever_promoted():
    """Each step loses 1 of 1,000 answers against the last one, and 25 against the first."""
    best = Anchor(1, {p.id: float(p.answer == "a") for p in answers(995, 1000)})
    step = ask(answers(970, 1000), answers(971, 1000), True, anchor=best)
    assert (step.action, step.reasons[-1].outcome, step.reasons[-1].anchor) == ("keep", "maybe_worse", 1)
    assert "worse than version 1, the best that was ever promoted" in sentence_of(step.reasons[-1])
    assert ask(answers(970, 1000), answers(971, 1000), True).action == "promote"
    other_rows = Anchor(1, {f"other {i}": 1.0 for i in range(1000)})
    assert ask(answers(970, 1000), answers(971, 1000), True, anchor=other_rows).reasons[-1].lower is None


def test_without_predictions_of_the_champion_the_reason_says_why():
    why = ChampionFails(3, "its base is missing")
    verdict = judge(PromoteSettings(), 0.9, ACCURACY.title, measured(ACCURACY, 0.025, answers(290), None, why), False)
    assert verdict.action == "promote" and verdict.reasons[-1] == why


def test_a_champion_that_answers_none_of_the_rows_is_replaced():
    verdict = ask(answers(300), answers(300, unscored=300))
    assert (verdict.action, verdict.reasons[-1].outcome) == ("promote", "better")


def test_better_is_promoted_and_worse_is_not():
    better, worse = ask(answers(300), answers(285)), ask(answers(285), answers(300))
    assert (better.action, better.reasons[-1].outcome) == ("promote", "better")
    assert (worse.action, worse.reasons[-1].outcome) == ("keep", "worse") and worse.reasons[-1].difference.high < 0
    assert better.reasons[-1].p == worse.reasons[-1].p == 2**-15 / 2
    assert "clearly better (sign-flip test, p = 1.5e-05)." in sentence_of(better.reasons[-1])
    smaller = ask(answers(285), answers(300), is_smaller=True)
    assert (smaller.action, smaller.reasons[-1].outcome) == ("keep", "maybe_worse")


def test_a_champion_is_below_the_bar_only_where_the_rows_show_it():
    near = ask(answers(288), answers(284))  # 0.947, 0.915 to 0.967: its lower end is above the bar of 0.9
    below = ask(answers(288), answers(280))  # 0.933, 0.899 to 0.957: it may well be at the bar
    assert (near.action, near.reasons[-1].outcome) == ("keep", "no_difference")
    assert (below.action, below.reasons[-1].outcome) == ("promote", "better")
    own, change = Interval(0.95, 0.92, 0.97, 300, 0.95), Interval(0.02, -0.01, 0.05, 300, 0.95)
    outcomes: dict[float, ComparisonOutcome] = {0.899: "champion_below_bar", 0.91: "no_difference"}
    for high, outcome in outcomes.items():
        champion = Interval(0.88, 0.85, high, 300, 0.95)
        look = Measured(own, 0, 300, change, champion, better=0.1, worse=0.9, lower=-0.01)
        verdict = judge(PromoteSettings(), 0.9, ACCURACY.title, look, False)
        assert verdict.reasons[1:] == (ChampionCompared(change, outcome),)


def test_too_few_test_rows_are_refused_before_they_are_scored():
    settings = PromoteSettings(min_scored=30)
    groups = [f"g{i}" for i in range(30)]
    assert before_look(settings, 0.9, groups[:27], None) == Verdict("refuse", (TooFewTestRows(27, 30),))
    assert before_look(settings, 0.9, groups, None) is None


def test_validation_rows_decide_whether_the_test_rows_are_scored():
    def ask_dev(challenger, champion, is_smaller=False, target=0.5):
        return screen(PromoteSettings(), target, ACCURACY, challenger, champion, is_smaller)

    better, equal = answers(290), answers(280)
    assert ask_dev(better, equal) is None
    refused = ask_dev(equal, equal)
    assert refused == NotScreened(1.0, 0.10, 300) and refused.p > refused.required
    assert ask_dev(answers(279), equal).p > 0.10
    assert ask_dev(equal, equal, target=0.97) is None  # the champion may be below the bar
    assert ask_dev(equal, equal, is_smaller=True) is None
    worse = ask_dev(answers(250), equal, is_smaller=True)
    assert worse == NotScreened(worse.p, 0.10, 300, 0.02)
    silent = answers(300, unscored=300)
    assert ask_dev(equal, silent) is None  # whatever answers is better than what does not


def test_the_level_of_a_look_is_that_of_its_intervals_and_tests():
    strict, lax = (measured(ACCURACY, level, answers(285), answers(280)) for level in (0.001, 0.03))
    assert strict.score.confidence == pytest.approx(0.998) and lax.score.confidence == pytest.approx(0.94)
    assert strict.score.low < lax.score.low and strict.lower < lax.lower and strict.better == lax.better == 0.5**6
    verdicts = [judge(PromoteSettings(), 0.5, "accuracy", look, False).action for look in (strict, lax)]
    assert verdicts == ["keep", "promote"]


def test_too_few_test_groups_are_refused_before_the_rows_are_scored():
    groups = [f"g{i % 19}" for i in range(300)]
    assert before_look(PromoteSettings(), 0.9, groups, None) == Verdict("refuse", (TooFewTestGroups(19, 300, 20),))
    assert before_look(PromoteSettings(), 0.9, [*groups, "g19"], None) is None
    few = [f"g{i}" for i in range(12)]  # single rows: `min_scored` decides
    assert before_look(PromoteSettings(min_scored=10), 0.9, few, None) is None


def test_labels_that_leave_no_score_at_the_bar_are_refused_before_the_rows_are_scored():
    unseen = Unseen({"gamma": 34}, {}, 34, 100, 0.66)
    reason = UnseenTestAnswers(("gamma",), 34, 100, 0.66, 0.9)
    assert before_look(PromoteSettings(), 0.9, ALONE, unseen) == Verdict("refuse", (reason,))
    assert before_look(PromoteSettings(), 0.66, ALONE, unseen) is None
    assert before_look(PromoteSettings(), 0.9, ALONE, Unseen({}, {"new": 5}, 0, 100, 1.0)) is None


def test_a_refusal_after_the_look_names_the_labels_that_lower_the_ceiling():
    unseen = Unseen({"gamma": 15}, {}, 15, 300, 0.95)
    low, high = (measured(ACCURACY, 0.025, answers(right), None) for right in (275, 290))
    verdict = judge(PromoteSettings(), 0.9, ACCURACY.title, low, False, unseen)
    assert verdict.reasons[1:] == (UnseenTestAnswers(("gamma",), 15, 300, 0.95, 0.9),)
    assert judge(PromoteSettings(), 0.9, ACCURACY.title, high, False, unseen).action == "promote"
