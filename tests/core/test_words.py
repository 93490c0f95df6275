"""Each reason has a code, JSON that gives it back, and a sentence with its figures."""

from typing import get_args

import pytest

from rungwise.core.climb_reasons import (
    BarAtFloor,
    BelowBar,
    BestRefused,
    BeyondClassical,
    Doubling,
    DoubtfulLabels,
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
    WeakSlice,
    WithoutModel,
)
from rungwise.core.decisions import Climb, Decision, Floor, Reason, Text, climb_from_json, reason_from_json
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
    NoChampion,
    NothingRegistered,
    NotScreened,
    OtherData,
    OtherSplit,
    SpentLook,
    Threshold,
    ThresholdOnTest,
    TooFewTestGroups,
    TooFewTestRows,
    UnseenTestAnswers,
)
from rungwise.core.interval_words import change_text
from rungwise.core.records import Evidence, Interval, canonical_json, to_json
from rungwise.core.words import reason_json, sentence_of, sentences_of

SCORE = Interval(0.93, 0.88625, 0.9578, 200, 0.95)
BETTER, WORSE, EVEN = (Interval(v, v - 0.05, v + 0.05, 200, 0.95) for v in (0.1, -0.1, 0.01))

SENTENCES = [
    (
        IncumbentCompared("small", "big at host", EVEN, 0.05, "as_good", 0.02, 1.0, "USD"),
        "small is as good as what you use today (big at host) at 2.0% of the cost (0.020 USD for 1,000 answers in place "
        "of 1.00 USD). small minus it, paired on 200 rows: +0.010 (-0.040 to +0.060); the lower end is above -0.05 "
        "(`incumbent.margin`).",
    ),
    (
        IncumbentCompared("small", "big at host", None, 0.03, "nothing_in_common"),
        "small can't be compared with what you use today (big at host): no row was scored by both.",
    ),
    (NoScore("small", "none of 200 rows could be scored"), "small: no score: none of 200 rows could be scored."),
    (
        NoScore("small", "was not trained: 197 of 345 training rows are longer than 256 tokens", "over_context"),
        "small: no score: was not trained: 197 of 345 training rows are longer than 256 tokens. Rows are longer than its "
        "base reads: choose a base that reads more, or leave out the longest rows (`validate.max_words`).",
    ),
    (
        TooFewScored("small", 0, 200, 30, "not_trained"),
        "small: only 0 of 200 rows could be scored; `decide.min_scored` requires 30, so it is not judged. It could not be "
        "trained.",
    ),
    (
        TooFewScored("small", 20, 200, 30),
        "small: only 20 of 200 rows could be scored; `decide.min_scored` requires 30, so it is not judged.",
    ),
    (
        TooManyUnscored("small", 40, 200, 0.05),
        "small: 40 of 200 rows could not be scored; `decide.max_unscored_share` allows 5%, so it is not judged.",
    ),
    (
        RungScore("small", "accuracy", SCORE, 0, 0, 0.9, False),
        "small: accuracy 0.930, 95% interval 0.886 to 0.958 on 200 validation rows; "
        "the lower end is below the bar of 0.9, so it does not pass.",
    ),
    (
        RungScore("small", "accuracy", SCORE, 0, 0, 0.9, True, 0.9151),
        "small: accuracy 0.930, 95% interval 0.886 to 0.958 on 200 validation rows; "
        "with a confidence of 80% it is at least 0.915, at or above the bar of 0.9, so it passes.",
    ),
    (
        RungScore("small", "accuracy", SCORE, 0, 0, 0.92, False, 0.9151),
        "small: accuracy 0.930, 95% interval 0.886 to 0.958 on 200 validation rows; "
        "with a confidence of 80% it is at least 0.915, below the bar of 0.92, so it does not pass.",
    ),
    (RefusedOnTest("small"), "small was refused on the test rows, so it does not end the climb."),
    (
        BestRefused("small"),
        "No rung is left. small passes on the validation rows, and the test rows refused it.",
    ),
    (
        RungScore("small", "chrF", SCORE, 4, 3, 0.8, True),
        "small: chrF 0.930, 95% interval 0.886 to 0.958 on 200 validation rows (4 without an answer, which score 0) "
        "(3 answers cut off before their end); the lower end is at or above the bar of 0.8, so it passes.",
    ),
    (
        RungScore("small", "accuracy", SCORE, 0, 0, 0.8, False),
        "small: accuracy 0.930, 95% interval 0.886 to 0.958 on 200 validation rows; "
        "the lower end is at or above the bar of 0.8, but it does not pass.",
    ),
    (
        NotAboveFloor("small", "most frequent answer", SCORE, EVEN),
        "small is not clearly better than the floor (most frequent answer, 0.930): paired on 200 rows: +0.010 (-0.040 "
        "to +0.060).",
    ),
    (
        NotAboveFloor("small", "copy of the input", SCORE, None),
        "small is not clearly better than the floor (copy of the input, 0.930): no row was scored by both.",
    ),
    (
        BarAtFloor("small", "most frequent answer"),
        "No rung is left. small reaches the bar, but it is not clearly better than the floor (most frequent answer): "
        "raise the bar, or use a metric that the floor does not satisfy.",
    ),
    (
        RungCompared("large", "small", BETTER, "large", False),
        "large minus small, paired on 200 rows: +0.100 (+0.050 to +0.150): clearly better. large is the best so far.",
    ),
    (
        RungCompared("large", "small", WORSE, "small", False),
        "large minus small, paired on 200 rows: -0.100 (-0.150 to -0.050): clearly worse. small is the best so far.",
    ),
    (
        RungCompared("large", "small", EVEN, "small", True),
        "large minus small, paired on 200 rows: +0.010 (-0.040 to +0.060): no clear gain. small passes and is cheaper.",
    ),
    (
        RungCompared("large", "small", None, "small", False),
        "large minus small: no row was scored by both. small is the best so far.",
    ),
    (
        BeyondClassical("small"),
        "`decide.beyond_classical`: small is tried to show what a language model would add.",
    ),
    (NotTried(("large",)), "large is not tried: a cheaper rung passes."),
    (NotTried(("large", "huge")), "large, huge are not tried: a cheaper rung passes."),
    (TryNext("large"), "No rung passes yet, so large is tried next."),
    (
        NothingJudged("over_context"),
        "No rung could be judged, because rows are longer than the bases read: put a base that reads more on the ladder, "
        "or leave out the longest rows (`validate.max_words`).",
    ),
    (
        LabelCeiling("small", 0.25, 0.66, 60, 8, 200),
        "No rung is left. small, the best so far, is 0.250 below the bar, and the labels allow no more than 0.660: of 200 "
        "validation rows 60 have a label that no training row has and 8 have a text that occurs more often with another "
        "label. Correct the labels, or collect training rows with these labels.",
    ),
    (
        LabelCeiling("small", 0.25, 0.66, 60, 0, 200, "list"),
        "No rung is left. small, the best so far, is 0.250 below the bar, and the items allow no more than 0.660: of 200 "
        "validation rows 60 have an item that no training row has. Correct the items, or collect training rows with "
        "these items.",
    ),
    (
        LabelCeiling("small", 0.25, 0.66, 60, 8, 200, "json"),
        "No rung is left. small, the best so far, is 0.250 below the bar, and the labels and items allow no more than "
        "0.660: of 200 validation rows 60 have a label or an item that no training row has and 8 have a text that occurs "
        "more often with another label. Correct the labels and items, or collect training rows with these labels and "
        "items.",
    ),
    (
        BelowBar("plain", 0.15, ("rows", "model")),
        "No rung is left. plain, the best so far, is 0.150 below the bar: try more training rows or a rung with a language "
        "model.",
    ),
    (
        BelowBar("plain", 0.15, ("longer_base", "rows")),
        "No rung is left. plain, the best so far, is 0.150 below the bar. Other rungs were not judged, because rows are "
        "longer than their bases read: choose bases that read more. Otherwise try more training rows.",
    ),
    (
        BelowBar("plain", 0.15, ("texts", "rows", "model")),
        "No rung is left. plain, the best so far, is 0.150 below the bar, and not clearly better than the floor: check "
        "that the texts say what decides the answer. Then try more training rows or a rung with a language model.",
    ),
    (
        DoubtfulLabels(59, 500),
        "59 of 500 labels may be wrong: a model trained on the other rows contradicts them. Check them before you train "
        "more: `rungwise data docs` lists them.",
    ),
    (NothingJudged(), "No rung could be judged: find out why rows are not scored before training anything else."),
    (
        TooFewRows("small", SCORE, 1385),
        "No rung is left. small scores above the bar, but 200 rows can't show it: about 1,385 validation rows would in "
        "four of five cases, if the score stays.",
    ),
    *(
        (
            TooFewRows("small", SCORE, needed),
            "No rung is left. small scores above the bar, but 200 rows can't show it: it is so close to the bar that a "
            "better rung or more training rows are the next thing to try.",
        )
        for needed in (None, 2001)
    ),
    (
        BelowBar("small", 0.15),
        "No rung is left. small, the best so far, is 0.150 below the bar: try more training rows, more steps or a larger "
        "base.",
    ),
    (
        WithoutModel("plain", SCORE, None, None, True),
        "You do not need a language model for this: plain (no language model) reaches 0.930 (0.886 to 0.958).",
    ),
    (
        WithoutModel("plain", SCORE, "small", BETTER, False),
        "Without a language model: plain (no language model) reaches 0.930 (0.886 to 0.958); small minus it, paired on "
        "200 rows: +0.100 (+0.050 to +0.150).",
    ),
    (
        TooFewTestRows(27, 30),
        "There are only 27 test rows, and `promote.min_scored` requires 30: nothing was scored.",
    ),
    (TooFewTestRows(1, 30), "There is only 1 test row, and `promote.min_scored` requires 30: nothing was scored."),
    (
        TooFewTestGroups(1, 300, 20),
        "The 300 test rows are of only 1 group, and a gate needs 20: rows of one group say the same. Nothing was "
        "scored.",
    ),
    (
        UnseenTestAnswers(("gamma",), 34, 100, 0.66, 0.9),
        "34% of the test rows (34 of 100) can't be answered fully by any rung, because no training row has 'gamma': the "
        "ceiling is 0.66, below the bar of 0.9. So nothing was scored.",
    ),
    (
        UnseenTestAnswers(("kind: x", "y"), 5, 100, 0.96, 0.9),
        "5% of the test rows (5 of 100) can't be answered fully by any rung, because no training row has 'kind: x', 'y': "
        "the ceiling is 0.96.",
    ),
    (ChallengerTooFewScored(20, 30), "Only 20 test rows could be scored; 30 are required."),
    (ChallengerTooManyUnscored(50, 300, 0.05), "50 of 300 test rows could not be scored; at most 5% are allowed."),
    (
        ChallengerScore("accuracy", SCORE, 0.9, False),
        "Accuracy 0.930 (0.886 to 0.958) on 200 test rows: the lower end is below the bar of 0.9.",
    ),
    (
        ChallengerScore("set F1", SCORE, 0.8, True),
        "Set F1 0.930 (0.886 to 0.958) on 200 test rows: the lower end is at or above the bar of 0.8.",
    ),
    (
        ChampionCompared(EVEN, "no_difference"),
        "Challenger minus champion, paired on 200 rows: +0.010 (-0.040 to +0.060): no clear difference, so the champion "
        "stays (200 rows would show a difference of 0.071 in four of five cases).",
    ),
    (
        ChampionCompared(EVEN, "smaller_base"),
        "Challenger minus champion, paired on 200 rows: +0.010 (-0.040 to +0.060): no clear difference, and its base is "
        "smaller.",
    ),
    (
        ChampionCompared(EVEN, "champion_below_bar"),
        "Challenger minus champion, paired on 200 rows: +0.010 (-0.040 to +0.060): no clear difference, but the champion "
        "is below the bar.",
    ),
    (
        ChampionCompared(EVEN, "smaller_base", margin=0.05, lower=-0.03, anchor=2),
        "Challenger minus champion, paired on 200 rows: +0.010 (-0.040 to +0.060): its base is smaller, and it is at most "
        "0.030 worse than version 2, the best that was ever promoted (`promote.margin` allows 0.05).",
    ),
    (
        ChampionCompared(EVEN, "maybe_worse", margin=0.02, lower=-0.03),
        "Challenger minus champion, paired on 200 rows: +0.010 (-0.040 to +0.060): its base is smaller, but these rows "
        "show only that it is at most 0.030 worse than the champion (`promote.margin` allows 0.02), so the champion stays.",
    ),
    (
        ChampionCompared(EVEN, "maybe_worse", margin=0.02),
        "Challenger minus champion, paired on 200 rows: +0.010 (-0.040 to +0.060): its base is smaller, but too few of "
        "these rows were scored to compare it with the champion.",
    ),
    (
        ChampionCompared(BETTER, "better", 0.0031),
        "Challenger minus champion, paired on 200 rows: +0.100 (+0.050 to +0.150): clearly better (sign-flip test, "
        "p = 0.0031).",
    ),
    (
        ChampionCompared(BETTER, "better"),
        "Challenger minus champion, paired on 200 rows: +0.100 (+0.050 to +0.150): clearly better.",
    ),
    (
        ChampionCompared(WORSE, "worse"),
        "Challenger minus champion, paired on 200 rows: -0.100 (-0.150 to -0.050): clearly worse.",
    ),
    (
        ChampionCompared(None, "nothing_in_common"),
        "No test row was scored by both the challenger and the champion.",
    ),
    (
        SpentLook(3, 0.0034, 250),
        "It is look 3 at these test rows, so it is decided at 0.34% (one-sided): 250 new test rows would form a new "
        "cohort with a first look of its own.",
    ),
    (
        NotScreened(0.34, 0.1, 300),
        "On 300 validation rows it is not better than the champion (sign-flip test, p = 0.34; at most 0.1 is required). So "
        "the test rows are not scored: each look at them spends what they can show.",
    ),
    (
        NotScreened(0.34, 0.1, 300, 0.02),
        "On 300 validation rows it is not better than the champion (sign-flip test, p = 0.34; at most 0.1 is required), "
        "nor shown to be at most 0.02 worse with its smaller base. So the test rows are not scored: each look at them "
        "spends what they can show.",
    ),
    (NoChampion(), "There is no champion to compare with."),
    (OtherSplit(3), "Champion 3 was trained under another split: no fair comparison on these rows."),
    (ChampionFails(3, "a base is missing"), "Champion 3 can't answer any more (a base is missing)."),
    (AlreadyChampion(3), "Version 3 is the champion already."),
    (
        WeakSlice("label", "repair", WORSE, 800, 0.85),
        "Rows with the label 'repair': -0.100 (-0.150 to -0.050), clearly below the bar of 0.85. They are 25% of 800 "
        "validation rows: collect more of them first.",
    ),
    (
        WeakSlice("length", "longest third", WORSE, 600, 0.85),
        "The longest third of the texts: -0.100 (-0.150 to -0.050), clearly below the bar of 0.85. They are 33% of 600 "
        "validation rows: collect more of them first.",
    ),
    (
        Doubling("classical", 2400, 1200, EVEN, "gains", 0.012, 0.045),
        "classical: twice as many training rows would bring between 1.2 and 4.5 points (from 1,200 rows to 2,400 it "
        "gained +0.010 (-0.040 to +0.060), on 200 validation rows).",
    ),
    (
        Doubling("classical", 2400, 1200, EVEN, "flat", -0.002, 0.012),
        "classical: twice as many training rows would bring at most 1.2 points (from 1,200 rows to 2,400 it gained "
        "+0.010 (-0.040 to +0.060), on 200 validation rows).",
    ),
    (
        Doubling("classical", 2400, 1200, EVEN, "unknown", -0.04, 0.06, 5000),
        "classical: these validation rows can't tell what twice as many training rows would bring: about 5,000 rows "
        "would (from 1,200 rows to 2,400 it gained +0.010 (-0.040 to +0.060), on 200 validation rows).",
    ),
    (
        Threshold(0.81321, 0.95, 0.9, 240, 320, 59, "classical"),
        "classical itself can answer 75.0% of 320 validation rows, with a probability of at least 0.8132: at least 95% of such "
        "answers are right (confidence 90%). The other rows are for people.",
    ),
    (
        Threshold(None, 0.95, 0.9, 0, 320, 59),
        "All rows are for people: 320 validation rows show no probability from which at least 95% of such answers are "
        "right (confidence 90%).",
    ),
    (
        Threshold(None, 0.95, 0.9, 0, 40, 59),
        "All rows are for people: 40 validation rows show no probability from which at least 95% of such answers are "
        "right (confidence 90%). It takes 59 rows to show that, all of them right.",
    ),
    (
        ThresholdOnTest(SCORE, 0.95, 250, True),
        "Of 250 test rows it answers 80.0% itself, 93.0% of these rightly (88.6% to 95.8%): in agreement with the goal "
        "of 95%.",
    ),
    (
        ThresholdOnTest(SCORE, 0.97, 250, False),
        "Of 250 test rows it answers 80.0% itself, 93.0% of these rightly (88.6% to 95.8%), below the goal of 97%: so "
        "all rows are for people.",
    ),
    (
        ThresholdOnTest(None, 0.97, 250, True),
        "It is not sure enough of any of 250 test rows: all of them are for people.",
    ),
    (
        OtherData(3, "abc", "def"),
        "Version 3 was trained on data abc, and the workspace holds def: `rungwise status` says whether a rung passes on "
        "those, or whether `rungwise run` has to climb again.",
    ),
    (
        AfterRefusal("small", "below_bar", None, None),
        "It is not good enough on rows that did not choose it: try more training rows or a better rung. `rungwise run` "
        "gives the same answer until the rows, the ladder or the bar change.",
    ),
    (
        AfterRefusal("small", "unlike_validation", None, "large"),
        "The climb continues: `rungwise run` tries large next.",
    ),
    (
        AfterRefusal("small", "unlike_validation", None, None),
        "The test rows score clearly lower than the validation rows: compare the two sides, and check the labels of the "
        "test rows (`rungwise data docs`). `rungwise run` gives the same answer until the rows, the ladder or the bar "
        "change.",
    ),
    (
        AfterRefusal("small", "too_few_rows", 385, None),
        "The score is above the bar, but these test rows can't show it: about 385 test rows would in four of "
        "five cases, if the score stays. "
        "`rungwise run` gives the same answer until the rows, the ladder or the bar change.",
    ),
    (
        AfterRefusal("small", "too_few_rows", None, None),
        "The score is above the bar, but these test rows can't show it: it is so close to the bar that a better rung or "
        "more training rows are the next thing to try. `rungwise run` gives the same answer until the rows, the ladder or "
        "the bar change.",
    ),
    (
        AfterRefusal("small", "not_scored", None, None),
        "Find out why test rows are not scored, such as rows that are longer than the base reads. `rungwise run` gives "
        "the same answer until the rows, the ladder or the bar change.",
    ),
    (
        AfterRefusal("small", "few_test_rows", None, None),
        "Collect more rows, raise `split.test`, or lower `promote.min_scored`. `rungwise run` gives the same answer until "
        "the rows or the setting change.",
    ),
    (
        AfterRefusal("small", "few_test_groups", None, None),
        "Collect rows of other groups, raise `split.test`, or correct `split.group` if rows of one group are "
        "independent. `rungwise run` gives the same answer until the rows or the setting change.",
    ),
    (
        AfterRefusal("small", "unseen_answers", None, None),
        "Add training rows with these answers, or correct the test rows. `rungwise run` gives the same answer until the "
        "rows, the ladder or the bar change.",
    ),
    (AskedBefore("2026-11-23T22:06:23+00:00"), "(test rows scored on 2026-11-23T22:06:23+00:00)"),
    (
        ClimbedAlone(("reply/small",)),
        "Its attempts are kept, and nothing is registered: `rungwise run` would also train reply/small, and then registers "
        "each task's rung that passes.",
    ),
    (NothingRegistered(), "No rung passes, so nothing is registered for promotion."),
    (Text("an older version's sentence"), "an older version's sentence"),
]


@pytest.mark.parametrize(("reason", "sentence"), SENTENCES, ids=lambda value: getattr(value, "code", ""))
def test_a_reason_has_a_sentence_and_json_that_gives_it_back(reason, sentence):
    assert sentence_of(reason) == sentence
    row = reason_json(reason)
    assert row.pop("sentence") == sentence and row["code"] == reason.code
    assert reason_from_json(row) == reason and canonical_json(row)


def test_every_kind_of_reason_is_tested_and_has_its_own_code():
    kinds = get_args(Reason)
    assert {type(reason) for reason, _ in SENTENCES} == set(kinds)
    assert len({kind.code for kind in kinds}) == len(kinds)
    assert sentences_of((NoChampion(), TryNext("a"))) == (
        "There is no champion to compare with. No rung passes yet, so a is tried next."
    )


def test_a_climb_of_an_older_version_is_read():
    decision = Decision("exhausted", "small", False, (Text("No rung is left."),))
    old = {
        "task": "route",
        "metric": "accuracy",
        "target": 0.9,
        "evidence": [],
        "decision": {**to_json(decision), "reasons": ["No rung is left."]},
        "steps": [],
        "comparison": "",
    }
    assert climb_from_json(old) == Climb("route", "accuracy", 0.9, (), decision, ())
    assert climb_from_json({**old, "comparison": "You do not need one."}).comparison == Text("You do not need one.")
    floor = Floor("most frequent answer", SCORE)
    assert climb_from_json({**old, "floor": to_json(floor)}).floor == floor
    plain = Evidence("plain", "tfidf", "", "", "abc", None, 0, {}, 0, {}, 0, 0, 0)
    assert climb_from_json({**old, "evidence": [to_json(plain)]}).evidence[0].method == "classical"


def test_a_difference_just_above_zero_does_not_read_as_zero():
    shown = change_text(Interval(0.106, 0.0003, 0.21, 80, 0.95))
    assert shown == "+0.106 (+0.0003 to +0.210)"
    assert change_text(Interval(0.0, -0.00002, 1e-12, 80, 0.95)) == "+0.000 (-0.00002 to +0.000)"
