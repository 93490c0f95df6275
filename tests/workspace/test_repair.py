"""What a killed DVC leaves is repaired: dvc.lock, and the list of readers and writers."""

import fcntl
import json
import os
import subprocess
import sys
import time

import psutil
import pytest

from rungwise.core.errors import WorkspaceBusy, WorkspaceError
from rungwise.workspace import repair as module
from rungwise.workspace.repair import KEPT, is_dvc, is_needed, repair

LOCK = "schema: '2.0'\nstages:\n  ingest:\n    cmd: x\n"
CUT = {"empty": "", "spaces": "  \n", "cut in a key": LOCK[:-8], "cut in a quote": "schema: '2.", "a list": "- x\n"}
CUT |= {
    "cut in a hash": LOCK + "    deps:\n    - path: a\n      md5: 3f",
    "no value": LOCK + "    outs:\n    - path:\n",
}
CUT |= {
    "cut before the settings": LOCK + "    params:\n",
    "cut before the settings of a file": LOCK + "    params:\n      params.yaml:\n",
    "a size that is not a number": LOCK + "    outs:\n    - path: a\n      size: x\n",
    "a hash that is a number": LOCK + "    outs:\n    - path: a\n      md5: 12\n",
    "an unknown key": LOCK + "more: 1\n",
    "another schema": LOCK.replace("2.0", "9.0"),
    "zeros": "\0" * 20,
    "deep": "schema: " + "[" * 10_000 + "\n",
}
CUT |= {"no list": LOCK + "    deps:\n", "no command": LOCK.replace(" x", "")}


@pytest.fixture
def root(tmp_path):
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    (tmp_path / ".dvc/tmp/lock").write_text("1\n")
    (tmp_path / "dvc.lock").write_text(LOCK)
    return tmp_path


def entries(root, *, pid, command="dvc repro", kind="write"):
    info = {"pid": pid, "cmd": command}
    lists: dict = {"write": {}, "read": {}}
    lists[kind][f"{root}/data/climb"] = info if kind == "write" else [info]
    (root / ".dvc/tmp/rwlock").write_text(json.dumps(lists))


def left(root):
    return json.loads((root / ".dvc/tmp/rwlock").read_text())


@pytest.mark.parametrize("damage", CUT)
def test_a_damaged_lock_file_is_restored_from_the_copy(root, damage, capsys):
    assert not repair(root) and (root / KEPT).read_text() == LOCK
    (root / "dvc.lock").write_text(CUT[damage])
    assert repair(root) and (root / "dvc.lock").read_text() == LOCK
    assert "the copy from before it is restored" in capsys.readouterr().err
    assert not repair(root)


def test_without_a_copy_a_damaged_lock_file_is_removed(root, capsys):
    (root / "dvc.lock").write_text("")
    assert repair(root) and not (root / "dvc.lock").exists()
    assert "results are found again" in capsys.readouterr().err
    assert not repair(root)


def test_the_copy_follows_a_lock_file_that_can_be_read(root):
    repair(root)
    (root / "dvc.lock").write_text(LOCK + "    deps: []\n")
    assert not repair(root) and (root / KEPT).read_text().endswith("deps: []\n")


@pytest.mark.parametrize("name", ["dvc.lock", "dvc.yaml"])
def test_the_marks_of_a_conflict_are_named_and_nothing_changes(root, name):
    text = f"{LOCK}<<<<<<< HEAD\n    md5: 1\n=======\n    md5: 2\n>>>>>>> other\n"
    (root / name).write_text(text)
    with pytest.raises(WorkspaceError, match=rf"(?s)conflict marks.*{name}, line 5.*<<<<<<< HEAD.*resolve") as raised:
        repair(root)
    assert ("delete the file: results are found again" in str(raised.value)) == (name == "dvc.lock")
    assert (root / name).read_text() == text


@pytest.mark.parametrize("copy", ["", LOCK[:-8], LOCK + "    params:\n"])
def test_a_damaged_copy_is_not_restored(root, copy, capsys):
    (root / KEPT).parent.mkdir()
    (root / KEPT).write_text(copy)
    (root / "dvc.lock").write_text("")
    assert repair(root) and not (root / "dvc.lock").exists() and not repair(root)
    assert "it is removed" in capsys.readouterr().err


@pytest.mark.parametrize("pid", [-1, 0, 1, 10**20])
def test_an_entry_of_a_process_that_is_not_dvc_is_removed(root, pid, monkeypatch):
    def refuse(_):
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "cwd", refuse)  # as for a process of another user
    entries(root, pid=pid, command="/old/bin/dvc repro")
    assert repair(root) and left(root) == {"write": {}, "read": {}}


@pytest.mark.parametrize("text", ['{"write": {"a": {"pid": 1e400, "cmd": "x"}}}', "[" * 100_000])
def test_a_list_that_no_dvc_writes_is_removed(root, text):
    (root / ".dvc/tmp/rwlock").write_text(text)
    assert is_needed(root) and repair(root) and not (root / ".dvc/tmp/rwlock").exists()


@pytest.mark.parametrize("text", ["", '{"write": {"a', "[]", '{"write": {"a": {"pid": 1}}}', '{"read": {"a": [3]}}'])
def test_a_damaged_list_is_removed(root, text):
    (root / ".dvc/tmp/rwlock").write_text(text)
    assert repair(root) and not (root / ".dvc/tmp/rwlock").exists()


@pytest.mark.parametrize("kind", ["read", "write"])
def test_an_entry_whose_process_id_another_process_has_is_removed(root, kind):
    with subprocess.Popen([sys.executable, "-c", "input()"], cwd=root, stdin=subprocess.PIPE) as other:
        entries(root, pid=other.pid, kind=kind)
        assert repair(root) and left(root) == {"write": {}, "read": {}}
        other.communicate(b"\n")


@pytest.mark.parametrize("kind", ["read", "write"])
def test_an_entry_of_a_process_that_ended_is_removed(root, kind):
    ended = subprocess.Popen(["true"])
    ended.wait()
    entries(root, pid=ended.pid, kind=kind)
    assert repair(root) and left(root) == {"write": {}, "read": {}}


def dvc_at_work(folder):
    """A process with the command line of `dvc repro`, which ends with its input."""
    script = folder / "bin" / "dvc"
    script.parent.mkdir()
    script.write_text("print(flush=True)\ninput()\n")
    command = [sys.executable, str(script), "repro"]
    process = subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout and process.stdout.readline()  # a process has no command line in its first moment
    return process


def test_a_run_waits_for_dvc_and_a_stage_does_not(root, monkeypatch):
    with dvc_at_work(root) as other:
        entries(root, pid=other.pid, command=f"{root}/bin/dvc repro")
        before = left(root)
        assert not repair(root, waits=False) and left(root) == before
        monkeypatch.setattr(module, "_WAIT_SECONDS", 0.5)
        with pytest.raises(WorkspaceBusy, match=rf"DVC is at work(.|\n)*process {other.pid}: .*dvc repro"):
            repair(root)
        assert left(root) == before
        monkeypatch.setattr(time, "sleep", lambda _: other.communicate(b"\n"))
        monkeypatch.setattr(module, "_WAIT_SECONDS", 60)
        assert repair(root) and left(root) == {"write": {}, "read": {}}


def test_dvc_in_another_folder_does_not_count(root, tmp_path_factory):
    with dvc_at_work(tmp_path_factory.mktemp("other")) as other:
        entries(root, pid=other.pid, command="/somewhere/bin/dvc repro")
        assert repair(root) and left(root) == {"write": {}, "read": {}}
        other.communicate(b"\n")


def test_the_process_that_runs_the_stage_keeps_its_entries(root, monkeypatch):
    monkeypatch.chdir(root)
    entries(root, pid=os.getppid(), command="dvc repro")
    monkeypatch.setattr(module, "_is_at_work", lambda *_: True)
    before = left(root)
    assert not repair(root) and left(root) == before


def test_a_run_waits_for_the_lock_of_dvc(root, monkeypatch):
    monkeypatch.setattr(module, "_WAIT_SECONDS", 0.5)
    (root / "dvc.lock").write_text("")
    with (root / ".dvc/tmp/lock").open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert not repair(root, waits=False)
        with pytest.raises(WorkspaceBusy, match="holds DVC's lock"):
            repair(root)
        assert (root / "dvc.lock").read_text() == ""
    assert repair(root)


def test_a_repair_is_needed_only_where_something_is_left(root):
    repair(root)
    assert not is_needed(root)
    (root / ".dvc/tmp/rwlock").write_text('{"write": {}, "read": {}}')
    assert not is_needed(root)
    entries(root, pid=1)
    assert is_needed(root)
    (root / ".dvc/tmp/rwlock").write_text("")
    assert is_needed(root)
    (root / ".dvc/tmp/rwlock").unlink()
    (root / "dvc.lock").write_text("")
    assert is_needed(root)


def test_a_process_that_runs_dvc_is_known(root):
    assert not is_dvc(os.getpid()) and not is_dvc(2**22 + 1)
    with dvc_at_work(root) as other:
        assert is_dvc(other.pid)
        other.communicate(b"\n")


def test_a_folder_without_dvc_is_left_alone(tmp_path):
    assert not repair(tmp_path) and not list(tmp_path.iterdir())


def test_a_process_is_at_work_whether_it_was_started_as_a_command_or_as_a_module(tmp_path):
    program = tmp_path / "quiet_dvc.py"
    program.write_text("import time, sys\nprint(' '.join(sys.argv), flush=True)\ntime.sleep(60)\n")
    for command in ([str(program)], ["-m", "quiet_dvc"]):
        started = [sys.executable, *command, "repro", "climb"]
        process = subprocess.Popen(started, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        try:
            recorded = process.stdout.readline().strip()  # as DVC records it: " ".join(sys.argv)
            assert module._is_at_work(process.pid, recorded, tmp_path)
            assert not module._is_at_work(process.pid, recorded.replace("climb", "ingest"), tmp_path)
            assert not module._is_at_work(process.pid, recorded, tmp_path / "other")
        finally:
            process.kill()
            process.communicate()
