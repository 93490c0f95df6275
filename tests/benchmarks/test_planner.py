"""The planner's benchmark: its figures from made-up errors, and its smallest combination measured."""

import json
import subprocess
import sys

import pytest

from benchmarks import planner
from benchmarks.report import Figure
from rungwise.planning.memory import need_of
from tests.conftest import REPOSITORY, environment


def test_the_combinations_cover_every_kind_of_job():
    jobs = [planner.combination(i, "cpu") for i in range(len(planner.COMBINATIONS))]
    assert len(jobs) >= 12 and {job.method for _, job in jobs} == {"lora", "full", "prompt"}
    assert all(need_of(shape, job).total > 0 for shape, job in jobs)
    assert {job.precision for _, job in jobs} == {"fp32", "bf16"} and any(job.is_checkpointed for _, job in jobs)
    assert {job.method for _, job in jobs if job.shared_tokens} == {"lora", "prompt"}


def test_the_figures_state_their_goals_and_whether_they_are_met():
    rows = [{"error": 0.125, "rule_error": -0.9}, {"error": -0.125}]
    figures = planner.figures(rows, "cpu")
    assert figures["mean_absolute_error"] == Figure(12.5, goal=15.0, met=True, unit="%")
    assert figures["most_underestimated"].value == -12.5 and figures["most_underestimated"].met is False
    assert figures["mean_absolute_error_lora"].peer == 90.0
    assert planner.figures(rows, "cuda")["mean_absolute_error"].met is False


@pytest.mark.slow
def test_the_smallest_combination_is_measured_in_a_process_of_its_own():
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.planner", "--one", "0"]
    env = environment(MALLOC_MMAP_THRESHOLD_="131072")
    done = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout.splitlines()[-1])
    shape, job = planner.combination(0, answer["device"])
    assert 0.75 < (need_of(shape, job).total - need_of(shape, job).framework) / answer["bytes"] < 1.35
