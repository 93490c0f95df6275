"""The benchmark of the promotion gate on few rows and few repetitions."""

import numpy as np
import pytest

from benchmarks.climbs import LADDERS, climbs
from benchmarks.gates import RULES, nights, points_lost, share
from benchmarks.worlds import World


@pytest.mark.parametrize("size", [1, 8])
def test_a_world_has_models_of_the_stated_truth_and_groups(size):
    world = World(1000, size, np.random.default_rng(1))
    answers = [world.answers(world.rows(), 0.9).mean() for _ in range(100)]
    assert np.mean(answers) == pytest.approx(0.9, abs=0.01) and len(set(world.groups)) == 1000 // size
    assert np.std(answers) == pytest.approx((0.09 / 1000) ** 0.5 * (1 if size == 1 else 1.8), rel=0.4)


def test_a_model_2_points_worse_is_promoted_by_the_old_rule_and_not_by_ours():
    rates = {
        name: share(rule, World(304, 1, np.random.default_rng(2)), -0.02, True, 60) for name, rule in RULES.items()
    }
    assert rates["rungwise"] < 0.12 and rates["no clear difference"] > 0.6
    lost = {name: points_lost(rule, World(104, 1, np.random.default_rng(3)), 12) for name, rule in RULES.items()}
    assert lost["rungwise"] < 2 and lost["no clear difference"] > 5


def test_equal_challengers_of_twenty_nights_are_promoted_by_a_look_each_night_and_seldom_by_ours():
    shares = nights(World(104, 1, np.random.default_rng(4)), 0.08, 30)
    ours, theirs = shares["equal, promoted"]
    assert ours <= 0.1 < theirs and shares["better, promoted"][0] > 0.2


def test_a_climb_that_continues_after_a_refusal_promotes_a_good_rung_more_often():
    ours, theirs = climbs(304, 1, LADDERS["good last"], 60)
    assert ours.good > theirs.good and ours.bad <= 0.05 and 3 < ours.trained <= 4
    level, _ = climbs(304, 4, LADDERS["all at the bar"], 40)
    assert level.good == 0 and level.bad <= 0.1 and level.trained > 4
