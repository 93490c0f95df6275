import math
import random

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from rungwise.evidence import intervals as statistics


@pytest.mark.parametrize(("right", "n"), [(0, 10), (10, 10), (1, 1), (81, 263), (148, 148), (760, 810)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_equals_scipy(right, n, confidence):
    expected = binomtest(right, n).proportion_ci(confidence, method="wilson")
    assert statistics.wilson(right / n, n, confidence) == pytest.approx(tuple(expected), abs=1e-9)


def test_wilson_equals_the_published_example():
    # Newcombe, 1998 (doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E), table I: 81 of 263
    assert statistics.wilson(81 / 263, 263, 0.95) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_duplicates_of_one_question_do_not_count_as_many():
    correct = [True, False] * 50
    alone = statistics.mean_interval(correct, [str(i) for i in range(100)], 0.95)
    tenfold = statistics.mean_interval(
        [c for c in correct[:10] for _ in range(10)], [str(i // 10) for i in range(100)], 0.95
    )
    assert tenfold.value == alone.value and tenfold.n == alone.n
    assert tenfold.high - tenfold.low > 2 * (alone.high - alone.low)
    assert statistics.effective_n([1.0] * 40, [str(i // 10) for i in range(40)]) == 4


def test_values_that_cancel_out_within_groups_do_not_divide_by_zero():
    assert statistics.effective_n([1.0, 0.0, 1.0, 0.0], list("aabb")) == 2  # of two equal rows each
    actual = statistics.paired_difference([True, False], [False, True], ["a", "a"], 0.95)
    assert actual.low < 0 < actual.high


def test_one_row_has_a_wide_interval_and_none_has_no_interval():
    only = statistics.mean_interval([True], ["a"], 0.95)
    assert only.low < 0.21 and only.high == 1.0
    assert statistics.mean_interval([], [], 0.95) is None
    assert statistics.paired_difference([], [], [], 0.95) is None


def test_a_paired_difference_has_its_nominal_coverage():
    draw, hits, trials = random.Random(3), 0, 600
    for _ in range(trials):
        # cells of the two-by-two table: both right, first only, second only, both wrong
        cells = draw.choices(["11", "10", "01", "00"], weights=[0.7, 0.15, 0.05, 0.1], k=150)
        actual = statistics.paired_difference(
            [c[0] == "1" for c in cells], [c[1] == "1" for c in cells], [str(i) for i in range(150)], 0.95
        )
        hits += actual.low <= 0.10 <= actual.high
    assert hits / trials == pytest.approx(0.95, abs=0.025)


def test_a_paired_difference_of_equal_answers_is_not_certain():
    actual = statistics.paired_difference([True] * 20, [True] * 20, [str(i) for i in range(20)], 0.95)
    assert actual.value == 0 and actual.low < 0 < actual.high


def test_a_paired_difference_equals_agresti_and_min():
    # half an observation in each cell: n + 4 * 0.5, then Wald: 12 against 4 discordant of 100
    actual = statistics.paired_difference(
        [True] * 12 + [False] * 4 + [True] * 84,
        [False] * 12 + [True] * 4 + [True] * 84,
        [str(i) for i in range(100)],
        0.95,
    )
    b, c, n = 12.5, 4.5, 102
    half = 1.959964 * math.sqrt(b + c - (b - c) ** 2 / n) / n
    assert (actual.low, actual.high) == pytest.approx(((b - c) / n - half, (b - c) / n + half), abs=1e-6)


@pytest.mark.parametrize(("right", "bar"), [(279, 0.9), (292, 0.95), (240, 0.75)])
def test_the_rows_needed_show_the_bar_in_four_of_five_samples(right, bar):
    score = statistics.mean_interval([1.0] * right + [0.0] * (300 - right), [str(i) for i in range(300)], 0.95)
    n = statistics.rows_needed(score, bar)
    passing = next(k for k in range(n + 1) if statistics.wilson(k / n, n, 0.95)[0] >= bar)
    assert 0.77 < binom.sf(passing - 1, n, right / 300) < 0.85
    half = statistics.rows_needed(score, bar, 0.5)
    assert statistics.wilson(score.value, half, 0.95)[0] >= bar > statistics.wilson(score.value, half - 1, 0.95)[0]
    assert n > 1.6 * half and statistics.rows_needed(score, score.value) is None


def test_the_rows_needed_grow_with_the_design_effect_and_shrink_for_fractions():
    values = [1.0] * 279 + [0.0] * 21
    alone, groups = [str(i) for i in range(300)], [str(i // 3) for i in range(300)]
    single, grouped = (statistics.mean_interval(values, one, 0.95) for one in (alone, groups))
    ratio = statistics.rows_needed(grouped, 0.9) / statistics.rows_needed(single, 0.9)
    few_groups = (statistics.student(0.975, 99) / statistics.quantile(0.95)) ** 2
    effect = 300 / statistics.effective_n(values, groups) * few_groups
    assert ratio == pytest.approx(effect, rel=0.01) and ratio > 2
    fractions = statistics.mean_interval([0.96, 0.90] * 150, alone, 0.95)
    assert statistics.rows_needed(fractions, 0.9) < statistics.rows_needed(single, 0.9) / 10


def test_share_needed_is_the_smallest_share_that_reaches_the_bar():
    share = statistics.share_needed(150, 0.9, 0.95)
    assert statistics.wilson(share, 150, 0.95)[0] >= 0.9 > statistics.wilson(share - 1 / 150, 150, 0.95)[0]
    assert statistics.share_needed(10, 0.99, 0.95) is None


def test_the_interval_of_a_mean_of_fractions_has_its_nominal_coverage():
    draw, hits, trials, n = random.Random(5), 0, 600, 120
    for _ in range(trials):  # a beta distribution's mean is a / (a + b) = 0.75
        values = [draw.betavariate(3, 1) for _ in range(n)]
        actual = statistics.mean_interval(values, [str(i) for i in range(n)], 0.95)
        hits += actual.low <= 0.75 <= actual.high
    assert hits / trials == pytest.approx(0.95, abs=0.025)


def test_fractions_vary_less_than_zeros_and_ones_and_count_at_least_as_groups():
    alone = [str(i) for i in range(100)]
    fractions = statistics.mean_interval([0.4, 0.6] * 50, alone, 0.95)
    rights = statistics.mean_interval([0.0, 1.0] * 50, alone, 0.95)
    assert fractions.value == rights.value == 0.5
    assert fractions.high - fractions.low < 0.3 * (rights.high - rights.low)
    equal = statistics.mean_interval([0.5] * 100, [str(i // 10) for i in range(100)], 0.95)
    assert equal.high - equal.low > 0.2  # ten groups that all say one half: the scatter can't be seen


def test_a_paired_difference_of_fractions_has_its_nominal_coverage():
    draw, hits, trials, n = random.Random(6), 0, 500, 120
    for _ in range(trials):
        first = [draw.betavariate(3, 1) for _ in range(n)]
        second = [min(1.0, max(0.0, value - draw.uniform(-0.3, 0.5) / 2)) for value in first]
        actual = statistics.paired_difference(first, second, [str(i) for i in range(n)], 0.95)
        hits += actual.low <= 0.0475 <= actual.high  # the mean of a million such differences, to three digits
    assert hits / trials >= 0.93


def test_macro_f1_equals_scikit_learn_and_its_interval_depends_on_groups():
    from sklearn.metrics import f1_score

    draw = random.Random(1)
    pairs = [(e, e if draw.random() < 0.8 else draw.choice("abc")) for e in draw.choices("abc", [7, 2, 1], k=200)]
    actual = statistics.macro_f1_interval(pairs, [str(i) for i in range(200)], 0.95)
    assert actual.value == pytest.approx(f1_score(*zip(*pairs, strict=True), average="macro"))
    assert actual.low < actual.value < actual.high and actual.n == 200
    fewer = statistics.macro_f1_interval(pairs, [str(i // 20) for i in range(200)], 0.95)
    assert fewer.value == actual.value and (fewer.low, fewer.high) != (actual.low, actual.high)


def test_the_lower_end_of_a_paired_difference_holds_at_its_rate():
    """1,000 pairs of which one is 2 points worse, 300 rows in groups of 1 to 5: shown to be within 2 points in 5 %."""
    draw = np.random.default_rng(7)
    false = 0
    for _ in range(1000):
        sizes = draw.integers(1, 6, 100)
        groups = [str(g) for g, size in enumerate(sizes) for _ in range(size)]
        rows = np.repeat(draw.normal(size=100), sizes)
        changes = [0.6 * rows + 0.8 * draw.normal(size=len(rows)) for _ in range(2)]
        first, second = (changes[0] < 1.2816).astype(float), (changes[1] < 1.1750).astype(float)  # 0.90 and 0.88
        false += statistics.paired_lower(list(second - first), groups, 0.95) > -0.02
    assert false / 1000 < 0.065


def test_rows_without_any_difference_show_a_bound_that_shrinks_with_their_number():
    ends = [statistics.paired_lower([0.0] * n, [str(i) for i in range(n)], 0.95) for n in (30, 100, 300, 1000)]
    assert ends == sorted(ends) and ends[1] < -0.02 < ends[2] and ends[3] > -0.003
    assert statistics.paired_lower([0.0] * 100, [str(i % 19) for i in range(100)], 0.95) is None
    assert statistics.paired_lower([-1.0] * 25, [str(i) for i in range(25)], 0.95) == -1.0


def _above_the_truth(draw_rows, truth, groups, trials=400):
    """How often the lower end of the 95% interval lies above the truth, which 2.5% promises."""
    ends = [statistics.mean_interval(draw_rows(), groups, 0.95).low for _ in range(trials)]
    return sum(low > truth for low in ends) / trials


@pytest.mark.parametrize(("n", "size"), [(32, 1), (104, 1), (304, 4), (304, 8)])
def test_the_lower_end_holds_where_low_scores_are_rare(n, size):
    draw = random.Random(3)  # 2% of the rows score 0, five times as many in a fifth of the groups; others 0.97 to 1

    def rows():
        hard = [draw.random() < 0.2 for _ in range(n // size)]
        return [0.0 if hard[i // size] and draw.random() < 0.1 else draw.uniform(0.97, 1) for i in range(n)]

    assert _above_the_truth(rows, 0.98 * 0.985, [str(i // size) for i in range(n)]) <= 0.04


def test_the_lower_end_holds_with_few_groups_that_contribute():
    draw, groups = random.Random(4), [str(i // 8) for i in range(304)]

    def rows():
        wrong = [draw.random() < 0.03 for _ in range(38)]
        return [float(not (wrong[i // 8] and draw.random() < 0.7)) for i in range(304)]

    assert _above_the_truth(rows, 1 - 0.03 * 0.7, groups) <= 0.04


def test_with_few_groups_the_interval_is_wider_than_with_many():
    values = [1.0] * 270 + [0.0] * 30
    draw = random.Random(0)
    draw.shuffle(values)
    width = {}
    for size in (1, 10):
        one = statistics.mean_interval(values, [str(i // size) for i in range(300)], 0.95)
        width[size] = one.high - one.low
    assert width[10] > width[1] * statistics.student(0.975, 29) / 1.96 * 0.99


@pytest.mark.parametrize("seed", range(20))
def test_the_effective_rows_of_zeros_and_ones_are_the_same_in_arrays(seed):
    draw = random.Random(seed)
    n = draw.randrange(1, 200)
    groups = [draw.randrange(draw.choice([1, 5, 40, 10_000])) for _ in range(n)]
    share = draw.choice([0.0, 0.5, 0.95, 1.0])
    right = [float(draw.random() < share) for _ in range(n)]
    expected = statistics.effective_n(right, [str(group) for group in groups])
    assert statistics.effective_n_right(np.array(right), np.array(groups)) == pytest.approx(expected, rel=1e-9)
