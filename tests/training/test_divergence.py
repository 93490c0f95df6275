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
