from rungwise.config import PromoteSettings
from rungwise.core.decisions import (
    ChallengerScore,
    ChallengerTooFewScored,
    ChallengerTooManyUnscored,
    ChampionCompared,
    ChampionFails,
    NoChampion,
)
from rungwise.core.records import AnswerForm, Prediction
from rungwise.evidence.metrics import Metric
from rungwise.release.gate import judge

ACCURACY = Metric("accuracy", AnswerForm("label", ("a", "b")))


def answers(right: int, n: int = 300, unscored: int = 0) -> list[Prediction]:
    return [
        Prediction(f"r{i}", f"g{i}", "a", None if i < unscored else "a" if i < right else "b", 0.9) for i in range(n)
    ]


def ask(challenger, champion=None, is_smaller=False):
    return judge(PromoteSettings(), 0.9, ACCURACY, 0.95, challenger, champion, is_smaller)


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
    verdict = judge(PromoteSettings(), 0.9, ACCURACY, 0.95, answers(290), None, False, why)
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
