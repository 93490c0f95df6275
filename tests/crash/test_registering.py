"""Registering is killed; the next one leaves what an undisturbed one leaves."""

import json
import subprocess
import sys

import pytest

from rungwise.core.recipes import STAGES
from rungwise.pipeline.stages import run_stage
from tests.conftest import REPOSITORY, environment, write_workspace

EXPECTED = {
    "again": [0, 0],
    "runs": [["", "FINISHED", "active"], ["words", "FINISHED", "active"]],  # of the climb, of its attempt
    "metrics": [1, 1],
    "models": ["READY"],
    "versions": [[1, "exact"]],
    "aliases": {"challenger": 1},
    "folders": 3,
    "left": [],
}


@pytest.fixture(scope="module")
def climbed(tmp_path_factory, base_folder):
    ladder = "  - {name: words, method: classical}\n"
    root = write_workspace(tmp_path_factory.mktemp("register") / "ws", base_folder, ladder=ladder, target=0.3)
    for verb in STAGES:
        run_stage(root, verb)
    return root


def tries(root, *arguments):
    command = [sys.executable, "-W", "ignore", "-m", "tests.crash.registering", str(root), *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["3"], id="a few"),
        pytest.param(["60"], id="many", marks=pytest.mark.slow),
        pytest.param(["20", "--new"], id="without a database", marks=pytest.mark.slow),
    ],
)
def test_registering_after_a_kill_leaves_what_one_registering_leaves(climbed, arguments):
    whole, *killed = tries(climbed, *arguments)
    assert whole["status"] == 0 and whole["events"] > 50, whole
    assert len(killed) == int(arguments[0])
    # tries differ by a few events, so that the last point may lie after the end
    assert all(one["status"] == -9 or one["events"] < one["point"] for one in killed), killed
    assert sum(one["status"] == -9 for one in killed) >= len(killed) - 1
    for one in (whole, *killed):
        assert {name: one.get(name) for name in EXPECTED} == EXPECTED, one
