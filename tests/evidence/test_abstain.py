"""The threshold from which a model's own answers are used: the tests behind it, and what they promise."""

import warnings
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from rungwise.core.records import AnswerForm, Prediction
from rungwise.evidence.abstain import (
    STARTS,
    Chances,
    Sure,
    candidates,
    is_right,
    on_test,
    surest_first,
    threshold,
)
from rungwise.evidence.metrics import Metric

ACCURACY = Metric("accuracy", AnswerForm("label", ("a", "b")))


def sure(right, probabilities=None, groups=None, rows=None):
    n = len(right)
    falling = probabilities or [1 - i / (2 * n) for i in range(n)]
    return Sure(falling, right, groups or [str(i) for i in range(n)], rows or n)


def noisy(n, seed, steepness=3.0):
    """Answers of which the surest are nearly always right, the others less often."""
    draw = Random(seed)
    chances = sorted((1 - draw.random() ** steepness * 0.6 for _ in range(n)), reverse=True)
    return sure([draw.random() < one for one in chances], chances)


@given(st.integers(1, 400), st.floats(0.5, 0.99), st.integers(0, 400))
def test_the_p_value_is_that_of_the_exact_binomial_test(n, goal, wrong):
    wrong = min(wrong, n)
    answers = sure([True] * (n - wrong) + [False] * wrong)
    assert Chances(answers, goal)(n) == pytest.approx(binom.cdf(wrong, n, 1 - goal), abs=1e-9)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("goal", [0.85, 0.9, 0.95])
def test_the_threshold_is_that_of_mapie_s_fixed_sequence_with_as_many_starts(seed, goal):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mapie.risk_control.fwer_control import FWERFixedSequenceTesting
    answers = noisy(500, seed)
    level = 0.1 / STARTS
    ends = candidates(answers, int(np.ceil(np.log(level) / np.log(goal))))
    p_values = np.array([binom.cdf(n - sum(answers.right[:n]), n, 1 - goal) for n in ends])
    rejected = FWERFixedSequenceTesting(n_starts=STARTS).run(p_values, 0.1)
    wanted = ends[rejected.max()] if len(rejected) else 0
    assert threshold(answers, goal, 0.9).answered == wanted


def test_a_threshold_takes_all_rows_of_its_probability():
    answers = sure([True] * 200, [0.9] * 120 + [0.8] * 60 + [0.7] * 20)
    assert candidates(answers, 59) == [120, 180, 200]
    kept = threshold(answers, 0.95, 0.9)
    assert (kept.at, kept.answered, kept.rows) == (0.7, 200, 200)


def test_rows_without_an_answer_count_as_rows_that_are_not_answered():
    rows = [Prediction(str(i), str(i), "a", None if i < 50 else "a", 0.9, "x" if i < 50 else "") for i in range(200)]
    kept = threshold(surest_first(ACCURACY, rows), 0.95, 0.9)
    assert (kept.answered, kept.rows) == (150, 200)
    assert not is_right(ACCURACY, rows[0])


def test_a_wrong_label_among_the_surest_rows_does_not_end_the_search():
    right = [True] * 400
    right[3] = False
    answers = sure(right)
    least = candidates(answers, 59)[0]
    assert Chances(answers, 0.95)(least) > 0.05  # the first sequence ends at once
    assert threshold(answers, 0.95, 0.9).answered == 400


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (sure([]), "no row has an answer"),
        (sure([False] * 300), "all answers are wrong"),
        (sure([True] * 58), "fewer rows than could show it"),
        (sure([True] * 300, groups=[str(i // 16) for i in range(300)]), "19 groups"),
    ],
)
def test_without_enough_evidence_there_is_no_threshold(answers, why):
    none = threshold(answers, 0.95, 0.9)
    assert none.at is None and none.answered == 0 and none.least == 59, why


def test_equal_rows_of_a_group_count_once():
    single = sure([True] * 59)
    assert threshold(single, 0.95, 0.9).answered == 59
    grouped = sure([True] * 118, groups=[str(i // 4) for i in range(118)])
    assert threshold(grouped, 0.95, 0.9).at is None
    assert threshold(sure([True] * 240, groups=[str(i // 4) for i in range(240)]), 0.95, 0.9).answered == 240


@given(st.integers(0, 300), st.integers(0, 10_000))
def test_a_threshold_splits_the_rows_by_probability_and_is_shown(n, seed):
    answers = noisy(n, seed)
    kept = threshold(answers, 0.9, 0.9)
    above = [p for p in answers.probabilities if kept.at is not None and p >= kept.at]
    assert len(above) == kept.answered
    if above:
        assert sum(answers.right[: kept.answered]) / kept.answered > 0.9


def on_rows(n_right, n_wrong, below=0):
    rows = [*["a"] * n_right, *["b"] * n_wrong]
    answered = [Prediction(str(i), str(i), "a", one, 0.9) for i, one in enumerate(rows)]
    return [*answered, *(Prediction(f"low{i}", f"low{i}", "a", "b", 0.3) for i in range(below))]


def test_test_rows_agree_with_a_goal_or_refute_it():
    kept = threshold(surest_first(ACCURACY, on_rows(300, 5)), 0.95, 0.9)
    assert kept.at == 0.9
    agrees = on_test(kept, ACCURACY, on_rows(186, 12, below=40))
    assert agrees.holds and agrees.rows == 238 and agrees.score.n == 198
    refuted = on_test(kept, ACCURACY, on_rows(150, 40))
    assert not refuted.holds and refuted.score.high < 0.95
    unsure = on_test(kept, ACCURACY, on_rows(0, 0, below=30))
    assert unsure.holds and unsure.score is None
    assert on_test(threshold(sure([]), 0.95, 0.9), ACCURACY, on_rows(10, 0)) is None


def test_the_promise_is_kept_as_often_as_it_says():
    broken = found_any = 0
    for seed in range(300):
        answers = noisy(400, seed)
        kept = threshold(answers, 0.9, 0.9)
        if kept.at is not None:
            found_any += 1
            truth = np.mean([p for p in noisy(4000, seed + 10_000).probabilities if p >= kept.at])
            broken += truth < 0.9
    assert found_any > 250 and broken <= 0.1 * 300
