"""Steps and precision of a new workspace."""

import pytest

from rungwise.init.training import MIN_SPEEDUP, speedup, training

pytestmark = pytest.mark.usefixtures("repository")


@pytest.mark.parametrize(
    ("n_rows", "steps"), [(10, 100), (533, 100), (534, 101), (1050, 197), (2666, 500), (90_000, 500)]
)
def test_steps_are_three_epochs_within_bounds(n_rows, steps):
    guessed = training(n_rows, ["pocket-s"])
    assert guessed.steps == steps and f"about {steps * 16 / n_rows:.1f} epochs" in guessed.sentence


@pytest.mark.parametrize(
    ("measured", "precision"), [(3.4, "bf16"), (MIN_SPEEDUP, "bf16"), (1.1, "fp32"), (0.3, "fp32")]
)
def test_bf16_where_it_is_clearly_faster(measured, precision):
    guessed = training(1000, ["smollm2-135m"], lambda: measured)
    assert guessed.precision == precision
    assert f"Precision {precision}: matrix products in bf16 take {1 / measured:.0%} of the time" in guessed.sentence


def test_a_device_without_bf16_trains_in_fp32():
    guessed = training(1000, ["smollm2-135m"], lambda: 0.0)
    assert guessed.precision == "fp32" and guessed.sentence.endswith("Precision fp32: this machine has no bf16.")


def test_small_bases_are_not_measured(base_folder):
    def never():
        raise AssertionError

    guessed = training(1000, ["pocket-s", str(base_folder)], never)
    assert guessed.speedup is None and guessed.precision == "fp32" and "Precision" not in guessed.sentence


def test_this_machine_can_be_measured():
    assert 0.01 < speedup() < 100
