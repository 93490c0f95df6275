"""The schedule's deployment with real processes on loopback: server, work pool, worker, run, and run again."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from components.folders import tree_digests
from components.layout import STAGES
from tests.conftest import LADDER, PARAMS, REPOSITORY, environment, planted_rows, watched, with_dvc


@pytest.fixture
def checkout(tmp_path, base_folder):
    """The repository as a clean checkout would have it, with a small task in params.yaml."""
    root = tmp_path / "checkout"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=REPOSITORY, capture_output=True, check=False
    )
    names = [n for n in listed.stdout.decode().split("\0") if n and not n.startswith((".dvc/", "data/", "infra/demo/"))]
    for name in names:
        if (REPOSITORY / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, root / name)
    (root / "dvc.lock").unlink(missing_ok=True)
    shutil.copytree(base_folder, root / "bases" / "able")
    (root / "data/raw").mkdir(parents=True)
    rows = "".join(f"{text},{label}\n" for text, label in planted_rows(400))
    (root / "data/raw/tickets.csv").write_text("body,queue\n" + rows)
    ladder = LADDER.replace("rank: 2, alpha: 4", "rank: 8, alpha: 16").replace("rank-2", "rank-8")
    (root / "params.yaml").write_text(PARAMS.format(target=0.8, ladder=ladder.rstrip("\n"), steps=100))
    return with_dvc(root)


@pytest.fixture
def prefect(tmp_path, checkout):
    """Starts a server and a worker; yields a function that runs a prefect command against them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    env = {**watched(tmp_path), "PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_API_URL": url, "COLUMNS": "200"}
    started: list[subprocess.Popen] = []

    def start(name: str, *arguments: str) -> None:
        with (tmp_path / f"{name}.log").open("w") as log:
            command = [sys.executable, "-m", "prefect", *arguments]
            started.append(
                subprocess.Popen(command, cwd=checkout, env=env, stdout=log, stderr=log, start_new_session=True)
            )

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "prefect", *arguments]
        done = subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True, timeout=240, check=False)
        logs = "".join(
            (tmp_path / f"{n}.log").read_text()[-4000:]
            for n in ("server", "worker")
            if (tmp_path / f"{n}.log").exists()
        )
        assert done.returncode == 0, done.stdout + done.stderr + logs
        return done.stdout

    start("server", "server", "start", "--host", "127.0.0.1", "--port", str(port))
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(url + "/health", timeout=2).close()
                break
            except OSError:
                time.sleep(0.5)
        run("work-pool", "create", "--type", "process", "rungwise")
        run("--no-prompt", "deploy", "--prefect-file", "infra/prefect.yaml", "--all")
        start("worker", "worker", "start", "--pool", "rungwise", "--type", "process", "--name", "one")
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


def state(root: Path) -> dict[str, str]:
    found = {f"{v}/{n}": d for v in STAGES for n, d in tree_digests(root / "data" / v).items()}
    return {
        **found,
        "ledger": (root / "data/promote/ledger.jsonl").read_text(),
        "lock": (root / "dvc.lock").read_text(),
    }


def test_the_nightly_deployment_does_the_work_once(prefect, checkout, tmp_path):
    assert "Completed" in prefect("deployment", "run", "rungwise/nightly", "--watch")
    before = state(checkout)
    assert json.loads((checkout / "data/climb/route/climb.json").read_text())["decision"]["passes"]
    status = subprocess.run(
        [sys.executable, "-m", "components.cli", "status", "--json"],
        cwd=checkout, env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(status.stdout)["tasks"]["route"]["champion"]["version"] == 1

    assert "Completed" in prefect("deployment", "run", "rungwise/nightly", "--watch")
    assert state(checkout) == before
    artifacts = prefect("artifact", "ls", "--limit", "100")
    assert "ladder-route" in artifacts and "train-route-rank-8" in artifacts
    # Neither server nor worker nor any library told anybody anything. The one look-up there is fetches Prefect's
    # public list of worker types when a work pool is made; it sends nothing and has a copy to fall back on.
    log = tmp_path / "network.log"
    assert set(log.read_text().split() if log.exists() else []) <= {"raw.githubusercontent.com"}
