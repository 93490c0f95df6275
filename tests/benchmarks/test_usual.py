"""Parts of the comparison with the usual way; TRL where it is installed."""

import pytest

from benchmarks import usual


def test_our_way_is_measured_from_the_base_to_the_answers(shared):
    one = usual.once("rungwise", shared, "fp32", is_quick=True)
    assert one["n"] == usual.QUICK_TEST and 0 <= one["right"] <= one["n"]
    assert len(one["losses"]) == usual.QUICK_STEPS
    assert 0 < one["train_seconds"] < one["all_seconds"]
    assert one["answer_seconds"] == pytest.approx(one["all_seconds"] - one["train_seconds"])


def test_the_usual_way_answers_the_same_rows(shared):
    pytest.importorskip("trl", reason="TRL is in the extra `bench`")
    ours = usual.once("rungwise", shared, "fp32", is_quick=True)
    theirs = usual.once("trl plain", shared, "fp32", is_quick=True)
    assert theirs["n"] == ours["n"] and theirs["losses"][0] == pytest.approx(ours["losses"][0], abs=0.5)


def test_figures_are_ratios_to_the_better_of_the_two():
    def one(train, answer, right):
        return {"train_seconds": train, "all_seconds": train + answer, "right": right, "n": 500}

    runs = {"rungwise": one(10.0, 2.0, 480), "trl plain": one(40.0, 20.0, 478), "trl packed": one(30.0, 20.0, 470)}
    made = usual.figures({"runs": runs})
    assert made["share of the usual time"].value == 0.24 and made["share of the usual time"].met
    assert made["training: times as fast"].value == 3.0 and made["training: times as fast"].met
    assert usual.figures({"runs": {"rungwise": runs["rungwise"]}}).keys() == {
        "rungwise: test accuracy", "rungwise: processor time",
    }  # fmt: skip
