from rungwise.climbing.climb import climb
from rungwise.climbing.decide import Outcome, compare, decide
from rungwise.config import DecideSettings
from rungwise.core.records import AnswerForm, Evidence, Prediction
from rungwise.evidence.metrics import Metric, estimate

ACCURACY = Metric("accuracy", AnswerForm("label", ("a", "b")))


def outcome(rung: str, right: int, n: int = 200, unscored: int = 0, shift: int = 0, method: str = "lora") -> Outcome:
    """An outcome with `right` right answers, `shift` rows later than another's."""
    is_right = [(i - shift) % n < right for i in range(n)]
    predictions = tuple(
        Prediction(
            f"r{i}",
            f"g{i}",
            "a",
            None if i < unscored else "a" if is_right[i] else "b",
            0.9,
            "over_context" if i < unscored else "",
        )
        for i in range(n)
    )
    score = estimate(ACCURACY, predictions, 0.95)
    note = "" if score else "none of them could be scored"
    evidence = Evidence(
        rung,
        method,
        "base",
        "0" * 64,
        "1" * 64,
        score,
        n,
        {"over_context": unscored} if unscored else {},
        100,
        {},
        1000,
        100,
        10,
        note,
    )
    return Outcome(evidence, predictions)


def ask(outcomes, remaining=(), target=0.9, **settings):
    return decide(DecideSettings(**settings), target, ACCURACY, outcomes, remaining)


def test_the_lower_end_decides_not_the_score():
    just_above = ask([outcome("small", 186)], ["large"])
    assert (just_above.action, just_above.passes) == ("climb", False)
    clearly = ask([outcome("small", 196)], ["large"])
    assert (clearly.action, clearly.rung, clearly.passes) == ("stop", "small", True)
    assert "large is not tried: a cheaper rung passes." in clearly.reasons


def test_a_rung_below_the_bar_is_followed_by_the_next():
    decision = ask([outcome("small", 150)], ["large"])
    assert decision.action == "climb" and decision.reasons[-1] == "No rung passes yet, so large is tried next."


def test_a_worse_rung_never_replaces_the_kept_one():
    decision = ask([outcome("small", 150), outcome("large", 100)])
    assert (decision.action, decision.rung, decision.passes) == ("exhausted", "small", False)
    assert any("clearly worse" in reason for reason in decision.reasons)


def test_a_rung_that_is_better_by_chance_does_not_replace_a_cheaper_one():
    decision = ask([outcome("small", 150), outcome("large", 152, shift=20)])
    assert decision.rung == "small" and any("no clear gain" in reason for reason in decision.reasons)


def test_a_clearly_better_rung_is_kept_even_below_the_bar():
    decision = ask([outcome("small", 100), outcome("large", 150)])
    assert (decision.action, decision.rung, decision.passes) == ("exhausted", "large", False)
    assert "0.150 short of the bar" in decision.reasons[-1]


def test_rows_that_could_not_be_scored_are_not_wrong_but_too_many_are_no_evidence():
    few = ask([outcome("small", 200, unscored=180)], ["large"])
    assert few.action == "climb" and few.rung is None and "only 20 of 200 rows could be scored" in few.reasons[0]
    many = ask([outcome("small", 200, unscored=40)], ["large"])
    assert many.rung is None and "40 of 200 rows could not be scored" in many.reasons[0]
    some = ask([outcome("small", 200, unscored=4)], ["large"])
    assert some.passes and "(4 not scored)" in some.reasons[0]
    none = ask([outcome("small", 200, unscored=200)])
    assert none.rung is None and "No rung could be judged" in none.reasons[-1]


def test_when_rows_are_too_few_to_show_the_bar_it_says_how_many_would():
    decision = ask([outcome("small", 186)])
    assert decision.action == "exhausted"
    assert "scores above the bar, but 200 rows can't show it: about 385 development rows" in decision.reasons[-1]
    close = ask([outcome("small", 181)])
    assert "so close to the bar that a better rung or more training rows are next" in close.reasons[-1]


def test_the_climb_stops_where_the_policy_says_so():
    tried = []

    def attempt(rung):
        tried.append(rung)
        return {"a": outcome("a", 100), "b": outcome("b", 199), "c": outcome("c", 200)}[rung]

    result, outcomes = climb("route", "accuracy", 0.9, ["a", "b", "c"], attempt, lambda seen, left: ask(seen, left))
    assert tried == ["a", "b"] and len(outcomes) == 2
    assert result.decision.rung == "b" and [d.action for d in result.steps] == ["climb", "stop"]


def test_a_classical_rung_that_passes_ends_the_climb_and_says_that_no_language_model_is_needed():
    outcomes = [outcome("plain", 196, method="tfidf")]
    decision = ask(outcomes, ["small"])
    assert (decision.action, decision.rung, decision.passes) == ("stop", "plain", True)
    assert compare(ACCURACY, outcomes, decision).startswith("You do not need a language model for this: plain (no")


def test_beyond_classical_shows_what_a_language_model_would_add_and_keeps_the_classical_rung():
    outcomes = [outcome("plain", 196, method="tfidf")]
    assert ask(outcomes, ["prompt", "small"], beyond_classical=True).action == "climb"
    outcomes.append(outcome("prompt", 60, method="prompt"))
    again = ask(outcomes, ["small"], beyond_classical=True)
    assert (again.action, again.rung, again.passes) == ("climb", "plain", True)
    outcomes.append(outcome("small", 199, shift=1))
    decision = ask(outcomes, ["large"], beyond_classical=True)
    assert (decision.action, decision.rung, decision.passes) == ("stop", "plain", True)
    assert "plain passes and is cheaper" in decision.reasons[-2]
    text = compare(ACCURACY, outcomes, decision)
    assert "You do not need" in text and "small minus it, paired on 200 rows: +0.015" in text


def test_a_classical_rung_below_the_bar_stands_beside_the_verdict():
    outcomes = [outcome("plain", 150, method="tfidf"), outcome("small", 198)]
    decision = ask(outcomes)
    assert decision.rung == "small" and decision.passes
    assert compare(ACCURACY, outcomes, decision).startswith("Without a language model: plain (no language model)")
    assert compare(ACCURACY, outcomes[1:], decision) == ""


def test_cut_answers_are_named():
    from dataclasses import replace

    one = outcome("small", 150)
    assert "3 answers cut off" in ask([Outcome(replace(one.evidence, cut=3), one.predictions)]).reasons[0]
