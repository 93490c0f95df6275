from dataclasses import replace

from rungwise.climbing.climb import climb
from rungwise.climbing.decide import Outcome, compare, decide
from rungwise.config import DecideSettings
from rungwise.core.climb_reasons import (
    BarAtFloor,
    BelowBar,
    BestRefused,
    BeyondClassical,
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
)
from rungwise.core.decisions import Floor
from rungwise.core.records import AnswerForm, Evidence, Prediction
from rungwise.evidence.ceiling import Ceiling
from rungwise.evidence.floors import FloorAnswers
from rungwise.evidence.metrics import Metric, estimate

ACCURACY = Metric("accuracy", AnswerForm("label", ("a", "b")))


def outcome(rung: str, right: int, n: int = 200, unscored: int = 0, shift: int = 0, method: str = "lora") -> Outcome:
    """An outcome with `right` right answers; `shift` moves them by so many rows."""
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
    just_above = ask([outcome("small", 182)], ["large"])
    assert (just_above.action, just_above.passes) == ("climb", False)
    (standing, _) = just_above.reasons
    assert standing.score.value == 0.91 and standing.lower < 0.9
    screened = ask([outcome("small", 186)], ["large"])  # validation rows are a screen at 80 %
    assert screened.passes and screened.reasons[0].lower >= 0.9 > screened.reasons[0].score.low
    clearly = ask([outcome("small", 196)], ["large"])
    assert (clearly.action, clearly.rung, clearly.passes) == ("stop", "small", True)
    assert [type(reason) for reason in clearly.reasons] == [RungScore, NotTried]
    assert clearly.reasons[-1] == NotTried(("large",))


def named(rung: str, attempt: str, right: int, method: str = "lora") -> Outcome:
    """An outcome of an attempt with a digest of its own."""
    one = outcome(rung, right, method=method)
    return Outcome(replace(one.evidence, attempt=attempt), one.predictions)


def refusing(attempts: set[str], outcomes, remaining=(), **settings):
    return decide(DecideSettings(**settings), 0.9, ACCURACY, outcomes, remaining, refused=attempts)


def test_the_climb_continues_after_the_test_rows_refused_a_rung():
    small, large = named("small", "a1", 190), named("large", "b2", 191)
    first = refusing({"a1"}, [small], ["large"])
    assert (first.action, first.passes) == ("climb", False)
    assert [type(reason) for reason in first.reasons] == [RungScore, RefusedOnTest, TryNext]
    second = refusing({"a1"}, [small, large])
    assert (second.action, second.rung, second.passes) == ("stop", "large", True)
    assert refusing({"z9"}, [small], ["large"]).passes  # another attempt was refused


def test_a_ladder_whose_rungs_the_test_rows_refused_ends_without_a_rung_that_passes():
    small, large = named("small", "a1", 190), named("large", "b2", 191)
    last = refusing({"a1", "b2"}, [small, large])
    assert (last.action, last.rung, last.passes) == ("exhausted", "small", False)
    assert last.reasons[-1] == BestRefused("small")
    below = refusing({"a1"}, [small, named("large", "b2", 120)])
    assert below.rung == "small" and below.reasons[-1] == BestRefused("small")
    better = refusing({"a1"}, [named("small", "a1", 186), named("large", "b2", 200)])
    assert (better.rung, better.passes) == ("large", True)


def test_a_refused_rung_with_a_language_model_does_not_count_as_a_comparison():
    plain, model = named("plain", "a1", 190, "classical"), named("small", "b2", 190)
    settings = {"beyond_classical": True}
    assert refusing(set(), [plain, model], ["large"], **settings).action == "stop"
    assert refusing({"b2"}, [plain, model], ["large"], **settings).action == "climb"


def test_a_rung_below_the_bar_is_followed_by_the_next():
    decision = ask([outcome("small", 150)], ["large"])
    assert decision.action == "climb" and decision.reasons[-1] == TryNext("large")


def test_a_worse_rung_never_replaces_the_best_so_far():
    decision = ask([outcome("small", 150), outcome("large", 100)])
    assert (decision.action, decision.rung, decision.passes) == ("exhausted", "small", False)
    _, _, compared, last = decision.reasons
    assert isinstance(compared, RungCompared) and (compared.rung, compared.other, compared.best) == (
        "large",
        "small",
        "small",
    )
    assert compared.difference.high < 0 and not compared.passes and isinstance(last, BelowBar)


def test_a_rung_that_is_better_by_chance_does_not_replace_a_cheaper_one():
    decision = ask([outcome("small", 150), outcome("large", 152, shift=20)])
    compared = decision.reasons[2]
    assert decision.rung == compared.best == "small" and compared.difference.low < 0 < compared.difference.value


def test_a_clearly_better_rung_becomes_the_best_so_far_even_below_the_bar():
    decision = ask([outcome("small", 100), outcome("large", 150)])
    assert (decision.action, decision.rung, decision.passes) == ("exhausted", "large", False)
    assert decision.reasons[2].best == "large" and decision.reasons[2].difference.low > 0
    assert decision.reasons[-1].rung == "large" and abs(decision.reasons[-1].missing - 0.15) < 1e-9


def test_rows_without_an_answer_score_0_and_a_rung_with_too_many_is_not_judged():
    few = ask([outcome("small", 200, unscored=180)], ["large"])
    assert few.action == "climb" and few.rung is None
    assert few.reasons[0] == TooFewScored("small", 20, 200, DecideSettings().min_scored, "over_context")
    many = ask([outcome("small", 200, unscored=40)], ["large"])
    assert many.rung is None
    assert many.reasons[0] == TooManyUnscored("small", 40, 200, DecideSettings().max_unscored_share, "over_context")
    some = ask([outcome("small", 200, unscored=4)], ["large"])
    assert some.passes and some.reasons[0].unscored == 4 and some.reasons[0].score.value == 196 / 200
    assert not ask([outcome("small", 200, unscored=10)], ["large"], target=0.95).passes
    none = ask([outcome("small", 200, unscored=200)])
    assert none.rung is None and none.reasons[-1] == NothingJudged("over_context")


def not_trained(rung: str, too_long: int) -> Outcome:
    """An outcome without answers; `too_long`: training rows that are longer than the base reads."""
    one = outcome(rung, 0, unscored=200)
    rejected = {"over_context": too_long} if too_long else {}
    return Outcome(replace(one.evidence, unscored={"not_trained": 200}, train_rejected=rejected), one.predictions)


def test_the_advice_follows_the_cause():
    assert ask([not_trained("small", 197)]).reasons[0] == NoScore(
        "small", "none of them could be scored", "over_context"
    )
    assert ask([not_trained("small", 197)]).reasons[-1] == NothingJudged("over_context")
    assert ask([not_trained("small", 0)]).reasons[-1] == NothingJudged("not_trained")
    assert ask([not_trained("small", 197), not_trained("large", 0)]).reasons[-1] == NothingJudged()

    def helps(*outcomes, floor=None):
        last = decide(DecideSettings(), 0.9, ACCURACY, outcomes, [], floor).reasons[-1]
        assert isinstance(last, BelowBar)
        return last.helps

    plain, prompt, tuned = (
        outcome("plain", 150, method="classical"),
        outcome("p", 150, method="prompt"),
        outcome("t", 150),
    )
    assert helps(plain) == ("rows", "model")
    assert helps(plain, prompt) == ("rows", "training", "base")
    assert helps(plain, prompt, tuned) == ("rows", "steps", "base")
    assert helps(plain, not_trained("small", 197)) == ("longer_base", "rows", "steps", "base")
    assert helps(plain, floor=floor_with(150)) == ("texts", "rows", "model")


def test_if_the_labels_allow_no_more_the_reason_says_so():
    ceiling = Ceiling(0.66, 60, 8, 200)
    decision = decide(DecideSettings(), 0.9, ACCURACY, [outcome("small", 130)], [], None, ceiling)
    last = decision.reasons[-1]
    assert isinstance(last, LabelCeiling) and (last.ceiling, last.unknown, last.contradicting) == (0.66, 60, 8)
    high = decide(DecideSettings(), 0.9, ACCURACY, [outcome("small", 130)], [], None, replace(ceiling, score=0.95))
    assert isinstance(high.reasons[-1], BelowBar)


def test_if_the_rows_are_too_few_to_show_the_bar_the_reason_says_how_many_would():
    decision = ask([outcome("small", 183)])
    assert decision.action == "exhausted"
    last = decision.reasons[-1]
    assert isinstance(last, TooFewRows) and last.score.value == 0.915 and last.rows_needed == 1055
    close = ask([outcome("small", 181)]).reasons[-1]
    assert isinstance(close, TooFewRows) and close.rows_needed > 10 * 200


def test_the_climb_ends_when_the_policy_ends_it():
    tried = []

    def attempt(rung):
        tried.append(rung)
        return {"a": outcome("a", 100), "b": outcome("b", 199), "c": outcome("c", 200)}[rung]

    result, outcomes = climb("route", "accuracy", 0.9, ["a", "b", "c"], attempt, lambda seen, left: ask(seen, left))
    assert tried == ["a", "b"] and len(outcomes) == 2
    assert result.decision.rung == "b" and [d.action for d in result.steps] == ["climb", "stop"]


def test_a_classical_rung_that_passes_ends_the_climb_and_no_language_model_is_needed():
    outcomes = [outcome("plain", 196, method="classical")]
    decision = ask(outcomes, ["small"])
    assert (decision.action, decision.rung, decision.passes) == ("stop", "plain", True)
    actual = compare(ACCURACY, outcomes, decision)
    assert (actual.rung, actual.is_enough, actual.model, actual.difference) == ("plain", True, None, None)


def test_beyond_classical_compares_with_a_language_model_and_keeps_the_classical_rung():
    outcomes = [outcome("plain", 196, method="classical")]
    first = ask(outcomes, ["prompt", "small"], beyond_classical=True)
    assert first.action == "climb" and first.reasons[-1] == BeyondClassical("prompt")
    outcomes.append(outcome("prompt", 60, method="prompt"))
    again = ask(outcomes, ["small"], beyond_classical=True)
    assert (again.action, again.rung, again.passes) == ("climb", "plain", True)
    outcomes.append(outcome("small", 199, shift=1))
    decision = ask(outcomes, ["large"], beyond_classical=True)
    assert (decision.action, decision.rung, decision.passes) == ("stop", "plain", True)
    assert decision.reasons[-2].best == "plain" and decision.reasons[-2].passes
    actual = compare(ACCURACY, outcomes, decision)
    assert actual.is_enough and actual.model == "small" and actual.difference.n == 200
    assert abs(actual.difference.value - 0.015) < 1e-9


def test_a_classical_rung_below_the_bar_is_compared_with_the_rung_that_passes():
    outcomes = [outcome("plain", 150, method="classical"), outcome("small", 198)]
    decision = ask(outcomes)
    assert decision.rung == "small" and decision.passes
    actual = compare(ACCURACY, outcomes, decision)
    assert (actual.rung, actual.model, actual.is_enough) == ("plain", "small", False)
    assert compare(ACCURACY, outcomes[1:], decision) is None


def test_answers_that_were_cut_off_are_counted():
    one = outcome("small", 150)
    assert ask([Outcome(replace(one.evidence, cut=3), one.predictions)]).reasons[0].cut == 3


def floor_with(right: int) -> FloorAnswers:
    one = outcome("floor", right)
    assert one.evidence.score
    return FloorAnswers(Floor("most frequent answer", one.evidence.score), one.predictions)


def test_a_rung_that_does_not_clearly_beat_the_floor_never_passes():
    """The bar is so low that the most frequent answer reaches it."""
    outcomes = [outcome("small", 190)]
    settings, floor = DecideSettings(), floor_with(188)
    first = decide(settings, 0.9, ACCURACY, outcomes, ["large"], floor)
    assert (first.action, first.rung, first.passes) == ("climb", "small", False)
    score, reason, _ = first.reasons
    assert isinstance(score, RungScore) and score.score.low >= score.target and not score.passes
    assert isinstance(reason, NotAboveFloor) and reason.difference
    assert reason.difference.low <= 0 < reason.difference.value
    last = decide(settings, 0.9, ACCURACY, outcomes, [], floor)
    assert not last.passes and last.reasons[-1] == BarAtFloor("small", "most frequent answer")
    better = decide(settings, 0.9, ACCURACY, [*outcomes, outcome("large", 200)], [], floor)
    assert better.passes and better.rung == "large"


def test_a_rung_clearly_above_the_floor_passes_and_one_below_the_bar_is_not_compared_with_it():
    settings = DecideSettings()
    decision = decide(settings, 0.9, ACCURACY, [outcome("small", 196)], [], floor_with(100))
    assert decision.passes and [type(reason) for reason in decision.reasons] == [RungScore]
    below = decide(settings, 0.9, ACCURACY, [outcome("small", 150)], [], floor_with(150))
    assert [type(reason) for reason in below.reasons] == [RungScore, BelowBar]


def test_a_frozen_encoder_is_compared_like_a_classical_rung():
    from rungwise.core.words import sentence_of

    outcomes = [outcome("plain", 150, method="classical"), outcome("embed", 196, method="embed")]
    decision = ask(outcomes, ["small"])
    assert (decision.action, decision.rung) == ("stop", "embed")
    enough = compare(ACCURACY, outcomes, decision)
    assert (enough.rung, enough.is_enough, enough.is_encoder, enough.model) == ("embed", True, True, None)
    assert sentence_of(enough).startswith("A frozen encoder is enough, no language model needs training: embed (a froz")
    beyond = ask(outcomes, ["small"], beyond_classical=True)
    assert (beyond.action, beyond.reasons[-1]) == ("climb", BeyondClassical("small"))


def test_of_several_rungs_without_a_language_model_the_best_is_compared():
    outcomes = [
        outcome("plain", 120, method="classical"),
        outcome("embed", 150, method="embed"),
        outcome("small", 196),
    ]
    best = compare(ACCURACY, outcomes, ask(outcomes))
    assert (best.rung, best.model, best.is_enough) == ("embed", "small", False)
    first = [outcome("plain", 196, method="classical"), outcome("embed", 199, method="embed")]
    assert compare(ACCURACY, first, ask(first)).rung == "plain"  # it passes, whatever scores higher
