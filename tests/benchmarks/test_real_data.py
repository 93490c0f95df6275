"""The real data sets: their sides, and one climb; skipped where the data is absent."""

from collections import Counter

import pytest
from ruamel.yaml import YAML

from benchmarks.real_data.__main__ import NAMES, make_workspace
from rungwise.core.folders import read_json, read_lines
from rungwise.core.recipes import STAGES
from rungwise.pipeline.stages import run_stage

SIZES = {"bitext_support": (810, 8100), "snips": (700, 2800), "banking77": (3080, 13083)}
"""Rows of the official test set (files of their own), and of all files."""


def edited(root, change):
    path = root / "params.yaml"
    values = YAML(typ="safe").load(path)
    change(values)
    with path.open("w") as stream:
        YAML().dump(values, stream)


@pytest.mark.parametrize("name", NAMES)
def test_public_files_become_rows_and_the_official_test_set_stays_the_test_set(tmp_path, shared, name):
    root = tmp_path / name
    make_workspace(root, name, shared, quick=True)
    for verb in ("ingest", "validate", "split"):
        run_stage(root, verb)
    for folder in (root / "data/split").iterdir():
        if folder.is_dir():
            sides = {s: (folder / f"{s}.jsonl").read_text().count("\n") for s in ("train", "dev", "test", "rejections")}
            dropped = Counter(
                line["reason"] for line in read_lines(root / "data/ingest" / folder.name / "rejections.jsonl")
            )
            assert set(dropped) <= {"duplicate"}
            assert (sides["test"], sum(sides.values()) + dropped["duplicate"]) == SIZES[name]
            assert sides["dev"] > 250


@pytest.mark.slow  # a whole ladder is learned in tests/smoke and tests/package too; this one is public data
def test_snips_is_learned_by_the_smallest_rung(tmp_path, shared):
    root = tmp_path / "snips"
    make_workspace(root, "snips", shared, quick=False)

    def only_one_rung(values):
        values["ladder"] = [values["ladder"][0], values["ladder"][-1]]
        values["train"]["steps"] = 120

    edited(root, only_one_rung)
    for verb in STAGES:
        run_stage(root, verb)
    climb = read_json(root / "data/climb/intent/climb.json")
    assert climb["evidence"][1]["score"]["value"] > 0.9
    assert climb["comparison"]["rung"] == "classical" and climb["comparison"]["score"]["value"] >= 0.9
