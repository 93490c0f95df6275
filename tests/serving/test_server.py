"""The registry on an MLflow server, reached by MLFLOW_TRACKING_URI."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from rungwise.core.recipes import STAGES
from rungwise.pipeline.stages import run_stage
from rungwise.release.champion import answer
from rungwise.release.promote import promote
from rungwise.release.register import register
from rungwise.release.registry import CHAMPION, Registry
from tests.conftest import environment, write_workspace


@pytest.fixture
def server(tmp_path, monkeypatch):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}"]
    command += ["--artifacts-destination", str(tmp_path / "kept"), "--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--workers", "1"],
            cwd=tmp_path,
            env=environment(),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    for _ in range(240):
        try:
            urllib.request.urlopen(url + "/health", timeout=2).close()
            break
        except OSError:
            time.sleep(0.5)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    yield tmp_path
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_register_promote_and_answer_through_a_server(server, tmp_path, base_folder):
    ladder = "  - {name: rank-8, base: bases/able, method: lora, rank: 8, alpha: 16}"
    root = write_workspace(tmp_path / "ws", base_folder, ladder=ladder, target=0.4)
    for verb in STAGES:
        run_stage(root, verb)
    assert register(root, "route").version == 1
    assert promote(root, "route").action == "promote"
    assert answer(root, "route", {}, "the parcel please").version == 1
    assert Registry(root).version("route", CHAMPION).tags["reload"] == "exact"
    assert not (root / "mlflow.db").exists() and list((server / "kept").rglob("spec.json"))
