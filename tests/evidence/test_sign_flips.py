import random
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import binom, permutation_test

from rungwise.evidence import sign_flips
from rungwise.evidence.sign_flips import better_p


def alone(n):
    return [str(i) for i in range(n)]


@pytest.mark.parametrize(("better", "worse"), [(5, 1), (10, 3), (0, 4), (3, 3), (1, 0)])
def test_for_right_and_wrong_answers_of_single_rows_it_is_mcnemars_mid_p(better, worse):
    rows = [1.0] * better + [-1.0] * worse + [0.0] * 50
    wanted = binom.sf(better, better + worse, 0.5) + binom.pmf(better, better + worse, 0.5) / 2
    assert better_p(rows, alone(len(rows))) == pytest.approx(wanted, abs=1e-12)


def test_for_fractions_it_is_the_permutation_test_of_scipy():
    draw = np.random.default_rng(4)
    for shift in (-0.1, 0.0, 0.2):
        rows = np.clip(draw.normal(shift, 0.4, 14), -1, 1)
        exact = permutation_test((rows,), np.sum, permutation_type="samples", alternative="greater", n_resamples=np.inf)
        assert better_p(list(rows), alone(14)) == pytest.approx(exact.pvalue, abs=0.005)


def test_rows_of_one_group_change_their_signs_together():
    rows = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    assert better_p(rows, ["a", "a", "a", "a", "b", "c"]) == 0.25  # one group: half of the chance of a tie
    assert better_p(rows, alone(6)) == 2**-4 / 2
    assert better_p([1.0, -1.0], ["a", "a"]) == better_p([0.0], ["a"]) == better_p([], []) == 1.0


def test_many_groups_use_the_normal_distribution_and_agree_with_the_exact_one(monkeypatch):
    draw = random.Random(5)
    rows = [draw.gauss(0.01, 0.3) for _ in range(800)]
    exact = better_p(rows, alone(800))
    monkeypatch.setattr(sign_flips, "MOST_WORK", 0)
    normal = better_p(rows, alone(800))
    wanted = 1 - NormalDist().cdf(sum(rows) / sum(row * row for row in rows) ** 0.5)
    assert normal == pytest.approx(wanted, abs=1e-9) and normal == pytest.approx(exact, abs=0.002)


def test_equal_models_are_called_better_at_the_stated_rate():
    """2,000 pairs of equal models, right or wrong, 60 rows in groups of 1 to 4: the level of 2.5 % holds."""
    draw = np.random.default_rng(6)
    false = 0
    for _ in range(2000):
        sizes = draw.integers(1, 5, 25)
        groups = [str(g) for g, size in enumerate(sizes) for _ in range(size)]
        common = np.repeat(draw.normal(size=25), sizes)
        first, second = ((0.7 * common + draw.normal(size=len(groups)) < 0.8).astype(float) for _ in range(2))
        false += better_p(list(first - second), groups) <= 0.025
    assert false / 2000 < 0.035
