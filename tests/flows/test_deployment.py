"""The schedule's deployment with real processes on loopback: server, work pool, worker, run, and run again."""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from rungwise.core.folders import tree_digests
from rungwise.core.recipes import STAGES
from tests.conftest import (
    LADDER,
    REPOSITORY,
    environment,
    tracked_files,
    watched,
    with_dvc,
    write_workspace,
)
from tests.docs.documents import commands

PAGE = REPOSITORY / "docs" / "howto" / "schedule.md"
SCHEDULE = [line for line in commands(PAGE) if "prefect" in line.lower()]


@pytest.fixture
def checkout(tmp_path):
    """The repository as a clean checkout would have it, from which docs/howto/schedule.md deploys."""
    root = tmp_path / "checkout"
    for name in tracked_files():
        if not name.startswith((".dvc/", "data/", "infra/demo/")) and name != "dvc.lock":
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, root / name, follow_symlinks=False)
    return root


@pytest.fixture
def own(tmp_path, base_folder):
    """A workspace outside the checkout, with a small task."""
    ladder = LADDER.replace("rank: 2, alpha: 4", "rank: 8, alpha: 16").replace("rank-2", "rank-8")
    root = write_workspace(tmp_path / "own", base_folder, rows=400, ladder=ladder, steps=100, target=0.8)
    return with_dvc(root)


@pytest.fixture
def prefect(tmp_path, checkout, own):
    """Types the page's commands up to the deployment's run; yields a function that types another one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    env = {**watched(tmp_path), "PREFECT_HOME": str(tmp_path / "prefect"), "COLUMNS": "200"}
    started: list[subprocess.Popen] = []

    def command(line: str) -> list[str]:
        name, *arguments = shlex.split(line)
        assert name == "prefect"
        return [sys.executable, "-m", "prefect", *arguments]

    def start(line: str, **more: str) -> None:
        with (tmp_path / f"{len(started)}.log").open("w") as log:
            process = subprocess.Popen(
                command(line), cwd=checkout, env={**env, **more}, stdout=log, stderr=log, start_new_session=True
            )
        started.append(process)

    def run(line: str) -> str:
        settings = {"cwd": checkout, "env": env, "capture_output": True, "text": True, "timeout": 240, "check": False}
        done = subprocess.run(command(line), **settings)
        logs = "".join((tmp_path / f"{i}.log").read_text()[-4000:] for i in range(len(started)))
        assert done.returncode == 0, done.stdout + done.stderr + logs
        return done.stdout

    try:
        for line in SCHEDULE:
            line = line.replace("4200", port)
            if line.startswith("export PREFECT_API_URL="):
                env["PREFECT_API_URL"] = line.partition("=")[2]
                wait_for(env["PREFECT_API_URL"] + "/health")
            elif line.startswith("RUNGWISE_WORKSPACE=~/mine "):
                start(line.partition(" ")[2].removesuffix(" &"), RUNGWISE_WORKSPACE=str(own))
            elif line.endswith(" &"):
                start(line.removesuffix(" &"))
            elif line != RUN:
                run(line)
        yield run
    finally:
        for process in reversed(started):
            os.killpg(process.pid, signal.SIGINT)
        for process in started:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


RUN = "prefect deployment run 'rungwise/nightly' --watch"


def wait_for(url: str) -> None:
    for _ in range(240):
        try:
            urllib.request.urlopen(url, timeout=2).close()
            break
        except OSError:
            time.sleep(0.5)


def state(root: Path) -> dict[str, str]:
    result = {f"{v}/{n}": d for v in STAGES for n, d in tree_digests(root / "data" / v).items()}
    return {
        **result,
        "ledger": (root / "data/promote/ledger.jsonl").read_text(),
        "lock": (root / "dvc.lock").read_text(),
    }


def test_the_commands_are_those_of_the_page():
    lines = SCHEDULE
    assert RUN in lines and sum(line.endswith(" &") for line in lines) == 2


@pytest.mark.slow
def test_the_nightly_deployment_does_the_work_once(prefect, own, tmp_path):
    assert "Completed" in prefect(RUN)
    before = state(own)
    assert json.loads((own / "data/climb/route/climb.json").read_text())["decision"]["passes"]
    status = subprocess.run(
        [sys.executable, "-m", "rungwise", "status", "--json"],
        cwd=own, env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(status.stdout)["tasks"]["route"]["champion"]["version"] == 1

    assert "Completed" in prefect(RUN)
    assert state(own) == before
    artifacts = prefect("prefect artifact ls --limit 100")
    assert "ladder-route" in artifacts and "train-route-rank-8" in artifacts
    # Neither the server nor the worker nor any library sent anything. The one lookup fetches Prefect's public list of
    # worker types when a work pool is made; it sends no data, and Prefect has a copy to use without it.
    log = tmp_path / "network.log"
    assert set(log.read_text().split() if log.exists() else []) <= {"raw.githubusercontent.com"}
