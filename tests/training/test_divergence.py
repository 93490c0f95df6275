import math
import random

import pytest

from rungwise.core.errors import TrainingError
from rungwise.training.divergence import check_losses
from tests.training.runs import spec_for


@pytest.mark.parametrize("losses", [[], [9.0], [1.0, 9.0, 9.0], [2.0] * 8, [1.0, 3.0, 1.0, 1.9], [5.0, 4.0, 3.0, 2.0]])
def test_losses_that_do_not_rise_by_much_are_accepted(lm, losses):
    check_losses(spec_for(lm), losses, 1e-3)


def test_losses_that_rise_are_refused_with_the_rate(lm):
    with pytest.raises(TrainingError, match=r"(?s)8 steps.*1.00 in the first quarter.*3.00 in the last.*0.001"):
        check_losses(spec_for(lm), [1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 3.0, 3.0], 1e-3)


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        ([1 + 0.0095 * i for i in range(100)], "1.11 in the first quarter of the steps, 1.83 in the last"),
        ([0.1 + 0.009 * i for i in range(100)], "0.21 in the first quarter of the steps, 0.88 in the last"),
        ([1.0, 5.0, 9.0], "1.00 in the first step, 9.00 in the last step"),
        ([5 - 0.04 * i for i in range(95)] + [9.0] * 5, "4.52 in the first quarter of the steps, 9.00 in the last 5"),
        ([2.0] * 99 + [1e6], "2.00 in the first quarter"),
    ],
)
def test_a_loss_that_rises_is_refused_whatever_its_scale_and_length(lm, losses, words):
    with pytest.raises(TrainingError, match=words):
        check_losses(spec_for(lm), losses, 1e-3)


@pytest.mark.parametrize("steps", [4, 8, 20, 60, 300])
@pytest.mark.parametrize("level", [0.01, 0.1, 0.5, 1.5])
def test_noise_from_batch_to_batch_is_not_a_rise(lm, steps, level):
    draw, refusals = random.Random(7), 0
    for _ in range(200):
        # a base that knows the task: no trend, or a slightly higher end
        losses = [level * (1 + 0.1 * i / steps) * math.exp(draw.gauss(0, 0.3)) for i in range(steps)]
        try:
            check_losses(spec_for(lm), losses, 1e-3)
        except TrainingError:
            refusals += 1
    assert refusals <= 2


def test_one_unusual_batch_at_the_end_is_not_a_rise(lm):
    for steps in (20, 50, 100):
        check_losses(spec_for(lm), [0.3] * (steps - 1) + [3.0], 1e-3)
