"""A rung's curve: nested parts of the training rows, and what twice as many rows would bring."""

from collections import Counter
from dataclasses import replace

import pytest

from rungwise import config
from rungwise.climbing.curve import curve_of, part, with_steps
from rungwise.climbing.ladder import climb_ladder, last_climb
from rungwise.climbing.rungs import evaluate_rung, task_climb, train_rung
from rungwise.core.decisions import Curve, CurvePoint, climb_from_json
from rungwise.core.folders import read_json
from rungwise.core.records import Example, Interval, canonical_json, to_json
from rungwise.core.table import Table
from rungwise.evidence.doubling import FLAT, bounds, doubling
from rungwise.pipeline.stages import run_stage
from rungwise.release.pictures import pictures_of
from rungwise.report.read import explain, status
from rungwise.workspace.layout import settings_of
from tests.conftest import sided_rows, write_sided, write_workspace


def rows(n, size=1, labels="aaab"):
    return Table.of(
        Example(f"r{i}", {"body": str(i)}, labels[(i // size) % len(labels)], "s", i, f"g{i // size}") for i in range(n)
    )


@pytest.mark.parametrize("size", [1, 3])
def test_parts_are_nested_keep_groups_whole_and_the_shares_of_the_labels(size):
    train = rows(480, size)
    parts = [part(train, share, by_answer=True) for share in (1 / 8, 1 / 4, 1 / 2, 1)]
    for small, large in zip(parts, parts[1:], strict=False):
        assert set(small.id) < set(large.id)
    assert list(parts[-1].id) == list(train.id)
    for share, one in zip((1 / 8, 1 / 4, 1 / 2), parts, strict=False):
        assert len(one) == pytest.approx(share * 480, abs=2 * size)
        assert Counter(one.answer)["b"] == pytest.approx(len(one) / 4, abs=size)
        assert all(count == size for count in Counter(one.group).values())
        assert list(one.line) == sorted(one.line)


def test_every_label_stays_in_the_smallest_part():
    train = rows(400, labels=["a"] * 199 + ["rare"])
    assert set(part(train, 1 / 8, by_answer=True).answer) == {"a", "rare"}


def test_without_labels_the_parts_are_of_all_rows():
    assert len(part(rows(400), 1 / 4, by_answer=False)) == 100


@pytest.fixture(scope="module")
def climbed(tmp_path_factory):
    root = tmp_path_factory.mktemp("curve") / "ws"
    noisy = [row for side in ("train", "dev", "test") for row in sided_rows(160, side, wrong=0.2)]
    write_sided(root, noisy, target=0.97)
    for verb in ("ingest", "validate", "split", "augment", "climb"):
        run_stage(root, verb)
    return root


def test_a_climb_has_the_curve_of_the_rung_of_words_and_says_what_twice_the_rows_would_bring(climbed):
    explanation = explain(climbed)["route"]
    (amount,) = explanation.amounts
    assert (amount.rung, amount.rows) == ("classical", 160) and amount.half == pytest.approx(80, abs=4)
    assert status(climbed).tasks["route"].amounts == (amount,), "no rung passes, so that the status says it too"


def test_parts_are_attempts_that_the_store_keeps(climbed):
    one = task_climb(climbed, settings_of(climbed), "route")

    before = climb_ladder(one, "v", train_rung, evaluate_rung)
    (curve,) = before.climb.curves
    names = {f"train-{point.attempt}" for point in curve.points}
    assert names == {folder.name for folder in (climbed / "data/attempts").glob("train-*")}, "`data forget` finds them"
    assert [point.rows for point in curve.points] == pytest.approx([20, 40, 80, 160], abs=4)
    stored = len(list((climbed / "data/attempts").glob("train-*")))
    assert climb_ladder(one, "v", train_rung, evaluate_rung).climb == before.climb
    assert len(list((climbed / "data/attempts").glob("train-*"))) == stored
    assert climb_from_json(to_json(before.climb)) == before.climb
    assert '"curves"' not in canonical_json(to_json(replace(before.climb, curves=())))
    svg = pictures_of(before.climb, climbed / "data/climb/route/predictions")["data.svg"]
    assert "training rows" in svg and "bar 0.97" in svg and "160" in svg


def test_progress_and_tasks_name_the_part_of_the_rows(climbed):
    one = task_climb(climbed, settings_of(climbed), "route")
    parts = []

    def train(some, rung):
        parts.append(some.named(rung))
        return train_rung(some, rung)

    outcome = evaluate_rung(one, "classical", train_rung(one, "classical"))
    assert curve_of(one, outcome, train, evaluate_rung)
    assert parts == [f"route/classical on 1/{n}" for n in (8, 4, 2)] and one.named("classical") == "route/classical"


def test_a_rung_without_the_setting_and_too_few_rows_have_no_curve(climbed):
    one = task_climb(climbed, settings_of(climbed), "route")
    outcome = evaluate_rung(one, "classical", train_rung(one, "classical"))
    assert curve_of(one, outcome, train_rung, evaluate_rung)
    ladder = (one.settings.ladder[0].model_copy(update={"curve": False}),)
    without = replace(one, settings=one.settings.model_copy(update={"ladder": ladder}))
    assert curve_of(without, outcome, train_rung, evaluate_rung) is None
    few = replace(one, train=one.train.take(range(24)))
    assert curve_of(few, outcome, train_rung, evaluate_rung) is None, "half of 24 rows are too few"


def test_a_language_model_is_trained_on_parts_for_as_many_epochs(climbed):
    settings = settings_of(climbed)
    rung = config.RungSettings(name="small", base="pocket-s", method="lora", steps=101, curve=True)
    ladder = settings.model_copy(update={"ladder": (*settings.ladder, rung)})
    steps = [one.steps for one in with_steps(ladder, "small", 1 / 4).ladder]
    assert steps == [None, 25]
    with pytest.raises(ValueError, match="curve: method prompt learns from no rows"):
        config.RungSettings(name="p", base="pocket-s", method="prompt", curve=True)


def test_a_language_model_with_the_setting_has_a_curve(tmp_path, base_folder):
    ladder = "  - {name: rank-2, base: bases/able, method: lora, rank: 2, alpha: 4, curve: true}"
    root = write_workspace(tmp_path / "ws", base_folder, ladder=ladder, steps=8, target=0.999)
    for verb in ("ingest", "validate", "split", "augment", "climb"):
        run_stage(root, verb)
    (curve,) = last_climb(root, "route").curves
    n = curve.points[-1].rows
    assert [point.rows for point in curve.points] == pytest.approx([n / 4, n / 2, n], abs=4)
    specs = [read_json(root / f"data/attempts/train-{point.attempt}/spec.json") for point in curve.points]
    assert [spec["steps"] for spec in specs] == [2, 4, 8]


def curve(low, value, high, n=200):
    end = Interval(0.9, 0.85, 0.94, n, 0.95)
    return Curve("r", (CurvePoint(100, end, "a"), CurvePoint(200, end, "b")), Interval(value, low, high, n, 0.95))


def test_one_doubling_brings_between_half_and_all_of_the_last_one():
    gains = doubling(curve(0.02, 0.04, 0.06))
    assert (gains.outcome, gains.low, gains.high, gains.rows_needed) == ("gains", 0.01, 0.06, None)
    flat = doubling(curve(-0.01, 0.0, FLAT - 0.001))
    assert (flat.outcome, flat.low, flat.high) == ("flat", -0.01, FLAT - 0.001)
    unknown = doubling(curve(-0.02, 0.01, 0.04))
    assert (unknown.outcome, unknown.rows_needed) == ("unknown", 1800)
    assert bounds(-0.06, -0.02) == (-0.06, -0.01), "a loss does not become more certain"
