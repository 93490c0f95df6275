from rungwise.config import PromoteSettings
from rungwise.core.decisions import (
    ChallengerScore,
    ChallengerTooFewScored,
    ChallengerTooManyUnscored,
    ChampionCompared,
    ChampionFails,
    NoChampion,
    TooFewTestRows,
    UnseenTestAnswers,
)
from rungwise.core.records import AnswerForm, Prediction, from_json, to_json
from rungwise.evidence.ceiling import Unseen
from rungwise.evidence.metrics import Metric
from rungwise.release.gate import Measured, Verdict, before_look, judge, measured

ACCURACY = Metric("accuracy", AnswerForm("label", ("a", "b")))


def answers(right: int, n: int = 300, unscored: int = 0) -> list[Prediction]:
    return [
        Prediction(f"r{i}", f"g{i}", "a", None if i < unscored else "a" if i < right else "b", 0.9) for i in range(n)
    ]


def ask(challenger, champion=None, is_smaller=False):
    look = measured(ACCURACY, 0.95, challenger, champion)
    assert from_json(Measured, to_json(look)) == look  # the ledger holds all that the verdict needs
    return judge(PromoteSettings(), 0.9, ACCURACY.title, look, is_smaller)


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


def test_a_tie_keeps_the_champion_unless_the_base_is_smaller():
    tie, smaller = ask(answers(290), answers(290)), ask(answers(290), answers(290), is_smaller=True)
    assert (tie.action, tie.reasons[-1].outcome) == ("keep", "no_difference")
    assert (smaller.action, smaller.reasons[-1].outcome) == ("promote", "smaller_base")


def test_without_predictions_of_the_champion_the_reason_says_why():
    why = ChampionFails(3, "its base is missing")
    verdict = judge(PromoteSettings(), 0.9, ACCURACY.title, measured(ACCURACY, 0.95, answers(290), None, why), False)
    assert verdict.action == "promote" and verdict.reasons[-1] == why


def test_a_champion_that_answers_none_of_the_rows_is_replaced():
    verdict = ask(answers(300), answers(300, unscored=300))
    assert (verdict.action, verdict.reasons[-1]) == ("promote", ChampionCompared(None, "nothing_in_common"))


def test_clearly_better_is_promoted_and_clearly_worse_is_not():
    better, worse = ask(answers(300), answers(285)), ask(answers(285), answers(300), is_smaller=True)
    assert (better.action, better.reasons[-1].outcome) == ("promote", "better")
    assert (worse.action, worse.reasons[-1].outcome) == ("keep", "worse") and worse.reasons[-1].difference.high < 0


def test_a_champion_below_the_bar_is_replaced_by_an_equal_challenger():
    verdict = ask(answers(284), answers(280))
    assert (verdict.action, verdict.reasons[-1].outcome) == ("promote", "champion_below_bar")


def test_too_few_test_rows_are_refused_before_they_are_scored():
    settings = PromoteSettings(min_scored=30)
    assert before_look(settings, 0.9, 27, None) == Verdict("refuse", (TooFewTestRows(27, 30),))
    assert before_look(settings, 0.9, 30, None) is None


def test_labels_that_leave_no_score_at_the_bar_are_refused_before_the_rows_are_scored():
    unseen = Unseen({"gamma": 34}, {}, 34, 100, 0.66)
    reason = UnseenTestAnswers(("gamma",), 34, 100, 0.66, 0.9)
    assert before_look(PromoteSettings(), 0.9, 100, unseen) == Verdict("refuse", (reason,))
    assert before_look(PromoteSettings(), 0.66, 100, unseen) is None
    assert before_look(PromoteSettings(), 0.9, 100, Unseen({}, {"new": 5}, 0, 100, 1.0)) is None


def test_a_refusal_after_the_look_names_the_labels_that_lower_the_ceiling():
    unseen = Unseen({"gamma": 15}, {}, 15, 300, 0.95)
    low, high = (measured(ACCURACY, 0.95, answers(right), None) for right in (275, 290))
    verdict = judge(PromoteSettings(), 0.9, ACCURACY.title, low, False, unseen)
    assert verdict.reasons[1:] == (UnseenTestAnswers(("gamma",), 15, 300, 0.95, 0.9),)
    assert judge(PromoteSettings(), 0.9, ACCURACY.title, high, False, unseen).action == "promote"
