import os
import signal
import subprocess
import sys
import time

import pytest

from rungwise.core.errors import SettingsError, WorkspaceBusy
from rungwise.core.progress import LineProgress, Pace
from rungwise.workspace.lock import locked
from rungwise.workspace.process import prepare_environment
from tests.conftest import REPOSITORY, environment

HOLD = """
import sys, time
from pathlib import Path
from rungwise.core.progress import LineProgress, Pace
from rungwise.workspace.lock import locked
with locked(Path(sys.argv[1]), "a long run"):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def hold(root, seconds):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root), str(seconds)], stdout=subprocess.PIPE, text=True, env=environment()
    )
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_second_run_is_refused_with_the_holders_process_id(tmp_path):
    with hold(tmp_path, 30) as holder:
        with pytest.raises(WorkspaceBusy, match=rf"process {holder.pid} .*a long run"), locked(tmp_path, "second"):
            pass
        holder.send_signal(signal.SIGKILL)
    with locked(tmp_path, "after a kill"):
        pass


def test_a_second_run_waits_if_it_is_allowed_to(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNGWISE_LOCK_SECONDS", "20")
    with hold(tmp_path, 1), locked(tmp_path, "second"):
        pass


def test_a_child_runs_under_its_parents_lock(tmp_path):
    code = HOLD.replace('print("held", flush=True)', 'print("child held", flush=True)')
    with locked(tmp_path, "parent"):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path), "0"], capture_output=True, text=True, env={**os.environ}
        )
    assert done.stdout == "child held\n", done.stderr


def test_a_process_ends_with_its_parent(tmp_path):
    child = "from rungwise.workspace.process import die_with_parent; import os, time; die_with_parent(); "
    child += "print(os.getpid(), flush=True); time.sleep(60)"
    parent = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', sys.argv[1]]); time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", parent, child], stdout=subprocess.PIPE, text=True, env=environment()
    )
    pid = int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()
    for _ in range(100):
        if not is_running(pid):
            return
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the child outlived its parent by ten seconds")


def test_a_process_ends_with_the_holder_of_its_lock():
    holder = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    code = "from rungwise.workspace.process import die_with_parent; import time; die_with_parent(); time.sleep(60)"
    env = environment(RUNGWISE_LOCK_HOLDER=str(holder.pid), PYTHONPATH=str(REPOSITORY / "components"))
    stage = subprocess.Popen([sys.executable, "-c", code], env=env)
    time.sleep(1.5)
    assert stage.poll() is None
    holder.kill()
    holder.wait()
    assert stage.wait(10) == 1


def test_a_wait_that_is_not_a_number_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNGWISE_LOCK_SECONDS", "30s")
    with pytest.raises(SettingsError, match="30s"), locked(tmp_path, "run"):
        pass


def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere(monkeypatch, capsys):
    show = LineProgress("train route/small", seconds_between=60)
    for step in range(1, 4):
        show(step, 3, "steps")
    assert capsys.readouterr().err == "train route/small: 3/3 steps\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for step in range(1, 4):
        show(step, 3, "steps")
    said = capsys.readouterr().err
    assert "train route/small:  33%|" in said and "1/3, ? left, steps" in said
    monkeypatch.setenv("COLUMNS", "48")  # the time left is not what a narrow terminal cuts off
    show = LineProgress("train route/small")
    for step in range(1, 3):
        show(step, 3, "steps, loss 5.637, learning rate 0.001")
    assert " left" in capsys.readouterr().err.split("\r")[-1]


def test_a_bar_is_shown_on_a_terminal_that_says_no_width(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((0, 0)))
    monkeypatch.delenv("COLUMNS", raising=False)
    LineProgress("train")(1, 3, "steps")
    assert "train:  33%|" in capsys.readouterr().err


def test_transformers_warns_only_if_the_user_says_so(monkeypatch):
    monkeypatch.delenv("TRANSFORMERS_VERBOSITY", raising=False)
    prepare_environment()
    assert os.environ["TRANSFORMERS_VERBOSITY"] == "error"
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "info")
    prepare_environment()
    assert os.environ["TRANSFORMERS_VERBOSITY"] == "info"


def test_long_work_has_about_twenty_lines_and_at_least_one_a_minute(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("rungwise.core.progress.time.monotonic", lambda: now[0])
    pace, lines = Pace(), []
    for step in range(1, 1001):
        now[0] += 1.0
        if pace.is_due(step, 1000):
            lines.append(step)
    assert lines == list(range(50, 1001, 50))
    now[0] += 59.0
    assert not pace.is_due(1001, 100_000)
    now[0] += 1.0
    assert pace.is_due(1002, 100_000)


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("is_there", [True, False])
def test_without_a_home_prefect_keeps_its_records_in_the_workspace(tmp_path, monkeypatch, is_there):
    from rungwise.workspace.process import prepare_environment

    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / ("home" if is_there else "none")))
    monkeypatch.setenv("RUNGWISE_WORKSPACE", str(tmp_path / "ws"))
    monkeypatch.setenv("PREFECT_HOME", "")  # so that what is set below does not outlive the test
    del os.environ["PREFECT_HOME"]
    prepare_environment()
    assert os.environ.get("PREFECT_HOME") == (None if is_there else str(tmp_path / "ws/.prefect"))
