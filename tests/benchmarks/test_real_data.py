"""The real data sets: their sides, and one climb; skipped where the data is absent."""

from collections import Counter

import pytest

from benchmarks.real_data.__main__ import NAMES, figures, make_workspace, measure, out_of_scope, table
from rungwise.core.folders import read_lines
from rungwise.core.records import Prediction
from rungwise.pipeline.stages import run_stage

SIZES = {
    "trec": (500, 5_952),
    "banking77": (3_080, 13_083),
    "clinc150": (5_500, 21_600),
    "snips": (700, 2_800),
    "bitext_support": (810, 8_100),
    "e2e_nlg": (630, 5_302),
    "gsm8k": (1_319, 8_792),
}
"""Rows of the official test set (a file of its own), and of all files, as their authors counted them. Of clinc150's
3,100 validation rows 1,000 are used."""


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n == "clinc150" else n for n in NAMES])
def test_public_files_become_rows_and_the_official_test_set_stays_the_test_set(tmp_path, shared, name):
    root = tmp_path / name
    make_workspace(root, name, shared, quick=True)
    for verb in ("ingest", "validate", "split"):
        run_stage(root, verb)
    (folder,) = (one for one in (root / "data/split").iterdir() if one.is_dir())
    sides = {s: (folder / f"{s}.jsonl").read_text().count("\n") for s in ("train", "dev", "test", "rejections")}
    dropped = Counter(line["reason"] for line in read_lines(root / "data/ingest" / folder.name / "rejections.jsonl"))
    assert set(dropped) <= {"duplicate"}
    assert sides["dev"] > 250
    if name in SIZES:
        assert (sides["test"], sum(sides.values()) + dropped["duplicate"]) == SIZES[name]


def test_a_rung_that_was_scored_on_a_sample_shows_its_number_of_rows():
    score = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 90}
    whole = {"test": {**score, "n": 2_000}, "unscored": {}}
    row = {
        "metric": "accuracy", "bar": 0.9, "rows": {"test": 2_000}, "champion": None, "run_seconds": 1.0,
        "rungs": {"classical": whole, "prompt": {"test": score, "unscored": {"over_context": 10}}},
    }  # fmt: skip
    assert table({"a": row}).splitlines()[-1] == (
        "| a | accuracy, 0.9 | 2,000 | 0.500 (0.400 to 0.600) | 0.500 (0.400 to 0.600, n=100) | none | 1 s |"
    )
    assert table({"a": {**row, "card": "one H200"}}).endswith("| none | 1 s, one H200 |")


def test_rows_out_of_scope_are_counted_apart():
    answers = [("oos", "oos"), ("oos", "pay"), ("oos", None), ("pay", "oos"), ("pay", "pay")]
    rows = [Prediction(str(i), str(i), expected, answer) for i, (expected, answer) in enumerate(answers)]
    assert out_of_scope(rows) == {"out_of_scope_recall": 1 / 3, "out_of_scope_precision": 1 / 2}
    assert out_of_scope(rows[3:]) == {}


@pytest.mark.slow  # a whole ladder is learned in tests/smoke and tests/package too; this one is public data
def test_a_set_is_measured_on_its_official_test_rows(tmp_path, shared):
    root = tmp_path / "snips"
    make_workspace(root, "snips", shared, quick=True)
    row = measure(root)
    assert row["rows"]["test"] == 700 and set(row["rungs"]) == {"classical", "pocket-s"}
    assert measure(root)["run_seconds"] == row["run_seconds"], "a second call repeats nothing"
    assert row["champion"] == "classical" and row["rungs"]["classical"]["test"]["value"] > 0.95
    assert figures({"snips": row})["snips: classical"].met and "| snips | accuracy, 0.95 | 700 |" in table(
        {"snips": row}
    )
