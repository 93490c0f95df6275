"""The interface that all benchmarks share; those that need public data are skipped where it is absent."""

import argparse
import json
import subprocess
import sys

import pytest

from benchmarks import report
from benchmarks.__main__ import listed
from tests.conftest import REPOSITORY, environment

NEED_NO_DATA = ("abstain", "gates", "gpu", "intervals", "planner")
SLOW = ("audit", "data", "gpu", "methods", "planner", "real_data", "training")
"""Ten seconds to a minute each; their parts have fast tests of their own."""
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in listed()]
FIELDS = {"value", "goal", "met", "unit", "peer"}


def run(*arguments):
    command = [sys.executable, "-W", "ignore", "-m", *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, env=environment(), capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", NAMES)
def test_a_quick_run_prints_its_result_as_the_last_line(name, request):
    source = [] if name in NEED_NO_DATA else ["--source", request.getfixturevalue("shared")]
    done = run(f"benchmarks.{name}", "--quick", *source)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert set(result) == {"benchmark", "machine", "figures"} and result["benchmark"] == name
    assert result["figures"] and all(set(figure) == FIELDS for figure in result["figures"].values())


def test_the_list_names_every_benchmark_with_one_line():
    lines = run("benchmarks").stdout.splitlines()
    assert [line.split()[0] for line in lines] == sorted(listed())
    assert all(len(line.split()) > 4 and line.endswith(".") for line in lines)


@pytest.mark.parametrize("path", sorted(report.RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_recorded_results_have_the_same_form_and_their_raw_measurements(path):
    result = json.loads(path.read_text(encoding="utf-8"))
    assert list(result) == ["benchmark", "machine", "figures", "detail"] and result["detail"]
    assert path.stem.split("-")[0] == result["benchmark"] in listed()
    assert result["figures"] and all(set(figure) == FIELDS for figure in result["figures"].values())


def test_a_goal_says_whether_it_is_met():
    assert report.at_least(2.0, 1.5).met and not report.at_least(1.0, 1.5).met
    assert report.at_most(1.0, 1.5).met and not report.at_most(2.0, 1.5).met
    assert report.at_least(2.0, None).met is None


def test_results_are_stored_on_request_and_quick_ones_under_another_name(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    for quick, write in ((False, False), (True, True), (False, True)):
        options = argparse.Namespace(quick=quick, write=write)
        report.publish("x", {"speed": report.Figure(1.0)}, {"raw": [1]}, options, machine="m", suffix="h100")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x-h100-quick.json", "x-h100.json"]
    stored = json.loads((tmp_path / "x-h100.json").read_text())
    assert stored.pop("detail") == {"raw": [1]}
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [stored] * 3


def test_a_machines_name_becomes_part_of_a_file_name():
    assert report.slug("NVIDIA H100 80GB HBM3") == "nvidia-h100-80gb-hbm3"
