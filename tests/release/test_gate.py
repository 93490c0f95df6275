from rungwise.config import PromoteSettings
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


def test_the_first_that_stands_at_the_bar_is_promoted():
    assert ask(answers(290)).action == "promote"


def test_below_the_bar_is_refused_however_good_it_looked():
    verdict = ask(answers(275))
    assert verdict.action == "refuse" and "below the bar of 0.9" in verdict.reasons[0]


def test_too_few_or_too_many_unscored_rows_are_refused():
    assert ask(answers(20, n=20)).action == "refuse"
    assert "50 of 300 test rows could not be scored" in ask(answers(300, unscored=50)).reasons[0]
    assert ask([]).action == "refuse"


def test_a_tie_keeps_the_champion_unless_the_base_is_smaller():
    assert ask(answers(290), answers(290)).action == "keep"
    assert ask(answers(290), answers(290), is_smaller=True).action == "promote"


def test_a_champion_that_can_not_be_compared_with_is_named():
    found = judge(
        PromoteSettings(), 0.9, ACCURACY, 0.95, answers(290), None, False, "Champion 3 can't answer any more."
    )
    assert found.action == "promote" and found.reasons[-1] == "Champion 3 can't answer any more."


def test_clearly_better_is_promoted_and_clearly_worse_is_not():
    assert ask(answers(300), answers(285)).action == "promote"
    assert ask(answers(285), answers(300), is_smaller=True).action == "keep"


def test_a_champion_that_fell_below_the_bar_gives_way_to_an_equal():
    verdict = ask(answers(284), answers(280))
    assert verdict.action == "promote" and "the champion is below the bar" in verdict.reasons[-1]
