from dataclasses import replace

import pytest

from rungwise.training.learning_rate import FULL_RATE, peak_learning_rate, share_of_peak
from tests.training.runs import spec_for


def test_the_rule_gives_lora_ten_times_the_rate_of_full_fine_tuning(lm):
    def rate(**more):
        return peak_learning_rate(lm, replace(spec_for(lm), learning_rate=None, **more))

    lm.model.config.hidden_size = 4000
    assert rate() == pytest.approx(10 * rate(method="full")) == pytest.approx(10 * FULL_RATE * 0.5**0.781)
    lm.model.config.hidden_size = 32
    assert rate(method="full") == pytest.approx(FULL_RATE * (2000 / 32) ** 0.781) and rate() == 3e-3
    assert peak_learning_rate(lm, spec_for(lm, learning_rate=0.5)) == 0.5


def test_the_rate_warms_up_then_decays_along_a_cosine(lm):
    spec = spec_for(lm, steps=100, warmup_share=0.1)
    assert [share_of_peak(spec, s) for s in (0, 9, 10)] == [0.1, 1.0, 1.0]
    assert share_of_peak(spec, 55) == pytest.approx(0.5) and share_of_peak(spec, 99) < 0.01
    assert share_of_peak(replace(spec, schedule="constant"), 99) == 1.0
