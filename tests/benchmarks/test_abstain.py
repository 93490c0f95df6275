"""The benchmark of answers without people, on few repetitions."""

import numpy as np
import pytest

from benchmarks.abstain import Cell, answered, model, on_official_rows, shares
from benchmarks.worlds import ACCURACY
from rungwise.core.records import Prediction


@pytest.mark.parametrize("cell", [Cell(1000), Cell(1000, size=4), Cell(1000, noise=0.03)])
def test_simulated_answers_are_as_right_as_stated_and_the_surest_more_so(cell):
    _, right, likely = model(cell, np.random.default_rng(1), 200_000)
    assert right.mean() == pytest.approx(likely.mean(), abs=0.01)
    assert right.mean() == pytest.approx(0.87 * (1 - cell.noise), abs=0.02)
    sure = answered(cell, np.random.default_rng(2))
    assert sum(sure.right[:300]) / 300 > sum(sure.right) / 1000
    assert len(set(sure.groups)) == 1000 // cell.size


def test_a_tuned_threshold_breaks_its_promise_and_ours_does_not():
    one = shares(Cell(304), 0.9, 60)
    assert one["tuned"]["broken"] > 0.25 and one["rungwise"]["broken"] <= 0.1
    assert one["rungwise"]["answered"] > 0.7


def test_with_wrong_labels_the_second_start_finds_a_threshold():
    one = shares(Cell(304, noise=0.03), 0.9, 60)
    assert one["rungwise"]["none"] < one["one start"]["none"] - 0.1


def test_official_rows_are_answered_from_the_threshold_on():
    def rows(n, wrong, out=0):
        answers = [Prediction(str(i), str(i), "a", "b" if i < wrong else "a", 0.9) for i in range(n)]
        return [*answers, *(Prediction(f"o{i}", f"o{i}", "oos", "a", 0.95) for i in range(out))]

    one = on_official_rows(ACCURACY, rows(300, 3), rows(200, 10, out=10), 0.95)
    assert one["answered"] == 1.0 and one["right"][0] == pytest.approx(190 / 210, abs=1e-4)
    assert one["out of scope and answered as an intent"] == 1.0
