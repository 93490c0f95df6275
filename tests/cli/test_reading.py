"""Commands that only read work while a run does, and end whatever is in data/raw."""

import fcntl
import json
import os
import subprocess
import sys

import pytest

from rungwise import Workspace
from rungwise.cli import main as cli
from rungwise.core.folders import read_lines
from rungwise.core.texts import number_of
from tests.conftest import environment, sided_rows, with_dvc, write_sided
from tests.workspace.test_workspace import hold


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A workspace after a run, whose settings were changed since."""
    rows = [row for side in ("train", "dev", "test") for row in sided_rows(80, side)]
    root = with_dvc(write_sided(tmp_path_factory.mktemp("reading") / "ws", rows))
    Workspace(root).run()
    params = root / "params.yaml"
    params.write_text(params.read_text().replace("min_rows: 20", "min_rows: 21"))
    return root


@pytest.fixture
def command(ran, monkeypatch, capsys):
    monkeypatch.chdir(ran)

    def run(*arguments, code=0):
        assert cli.main(list(arguments)) == code, capsys.readouterr().err
        return "".join(capsys.readouterr())

    return run


def test_reading_commands_take_no_lock_and_status_says_that_a_run_is_working(ran, command):
    assert "DVC would run: validate" in command("status")
    row = next(read_lines(ran / "data/split/route/train.jsonl"))["id"]
    (ran / ".dvc/tmp").mkdir(exist_ok=True)
    with hold(ran, 60) as holder, (ran / ".dvc/tmp/lock").open("w") as dvc_lock:
        fcntl.flock(dvc_lock, fcntl.LOCK_EX)  # as a stage's DVC does
        shown = command("status")
        assert f"A run is working (process {holder.pid}: a long run)" in shown and "DVC would run" not in shown
        assert "route: classical is good enough" in shown
        printed = json.loads(command("status", "--json"))
        assert (printed["changed"], printed["working"]) == ([], f"process {holder.pid}: a long run")
        for arguments in (["data", "show", row], ["data", "log"], ["data", "docs"], ["data", "forget", row]):
            command(*arguments)
        assert "Result: classical passes." in command("explain")
        assert "a run is working in the workspace" in command("run", "--dry-run", code=2)
        assert "the workspace is in use" in command("data", "forget", row, "--purge", code=2)
        holder.kill()
    assert "DVC would run: validate" in command("status")


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_or_a_device_among_the_rows_is_named_and_never_read(ran, command, kind):
    path = ran / "data/raw/more.csv"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    try:
        shown = command("status")
        assert "route: classical is good enough" in shown and "DVC would run" not in shown
        assert "What changed since this climb is not known: a source's file is not a file" in shown
        assert "more.csv is a pipe, a socket or a device" in command("run", "--dry-run", code=2)
    finally:
        path.unlink()


def test_status_says_what_it_does_not_know_where_dvc_fails(ran, command):
    lock = ran / "dvc.lock"
    kept = lock.read_text()
    try:
        lock.write_text("")
        shown = command("status")
        assert "route: classical is good enough" in shown and not lock.read_text(), "reading repairs nothing"
        assert "a killed run left damaged files of DVC" in shown and "`rungwise run` repairs them" in shown
    finally:
        lock.write_text(kept)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("https://example.com/rows.csv", ("not on this machine", "https://example.com/rows.csv", "download it first")),
        ("", ("--rows is empty",)),
        ("pipe", ("not a file", "a pipe, a socket or a device")),
        ("/dev/zero", ("not a file", "a pipe, a socket or a device")),
    ],
)
def test_rows_that_init_can_not_read_are_named_as_they_were_typed(tmp_path, monkeypatch, capsys, rows, words):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    assert cli.main(["init", "ws", "--rows", rows]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words) and "does not exist" not in said, said
    assert not (tmp_path / "ws").exists()


def test_a_ladder_on_which_nothing_travels_says_so(ran, command):
    assert "this ladder has none" in command("pack", "route", "classical", "bundle", code=2)


@pytest.mark.parametrize(("n", "text"), [(1, "1 label"), (2, "2 labels"), (1000, "1,000 labels")])
def test_a_number_and_its_noun_agree(n, text):
    assert number_of(n, "label") == text


@pytest.mark.parametrize("arguments", [("status",), ("explain",), ("data", "log"), ("run", "--dry-run")])
def test_reading_commands_load_no_heavy_library(ran, arguments):
    code = (
        "import sys; from rungwise.cli.main import main; main(sys.argv[1:]);"
        "print({'torch', 'transformers', 'mlflow', 'dvc', 'pandas', 'prefect', 'sklearn'} & set(sys.modules))"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    done = subprocess.run(command, cwd=ran, env=environment(), capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "set()", done.stdout + done.stderr
