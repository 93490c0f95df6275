"""A disk that is full or can't be written is one clear error, and nothing half-written stays."""

import errno
import os
import resource
import shutil
import subprocess
import sys

import pytest

from rungwise.core.errors import WorkspaceError
from rungwise.core.recipes import RECIPES
from rungwise.workspace.lock import locked
from tests.conftest import environment, error_of, with_dvc, write_workspace

LADDER = "  - {name: words, method: classical}\n"
RUN = [sys.executable, "-m", "rungwise", "run"]


def half_written(root):
    return [str(path) for path in root.rglob("*") if path.name.endswith((".part", ".old"))]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_work_under_the_lock_ends_with_one_clear_error(tmp_path, number):
    with pytest.raises(WorkspaceError, match="the disk is"), locked(tmp_path, "a test"):
        raise OSError(number, os.strerror(number), "x")
    with locked(tmp_path, "after it"):
        pass


def test_a_lock_that_can_not_be_written_is_one_clear_error(tmp_path, monkeypatch):
    def refuse(path, *_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("rungwise.workspace.lock.os.open", refuse)
    with pytest.raises(WorkspaceError, match=r"a permission is missing(.|\n)*/lock"), locked(tmp_path, "run"):
        pass


def test_a_stage_that_can_not_write_leaves_nothing(workspace):
    """The limit of a file's size fails like a full disk, and needs no rights."""
    command = [sys.executable, "-m", "rungwise.pipeline.stages", "ingest", "--recipe", str(RECIPES["ingest"])]
    code = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000)); os.execv(sys.argv[1], sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, *command], cwd=workspace, env=environment(), capture_output=True, text=True
    )
    message = error_of(done)
    assert "a file would be larger than the system allows" in message and "ulimit -f" in message
    assert not half_written(workspace) and not (workspace / "data/ingest").exists()
    assert resource.getrlimit(resource.RLIMIT_FSIZE)


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a disk of some bytes; a test without the right to mount is skipped."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = []

    def mount(size, *options):
        command = ["mount", "-t", "tmpfs", "-o", ",".join((f"size={size}", *options)), "tmpfs", str(place)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no right to mount a disk")
        mounted.append(place)
        return place

    yield mount
    for one in mounted:
        subprocess.run(["umount", "-l", str(one)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("free_kb", [40, 150, 400, 900, 1500, 2200, 2600])
def test_a_run_on_a_full_disk_continues_when_there_is_space(tmp_path, base_folder, small_disk, free_kb):
    root = with_dvc(write_workspace(small_disk("30m") / "ws", base_folder, ladder=LADDER, target=0.3))
    ballast = root.parent / "ballast"
    with pytest.raises(OSError, match="No space"), ballast.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096)) or 1 / 0
    os.truncate(ballast, ballast.stat().st_size - 1024 * free_kb)
    done = subprocess.run(RUN, cwd=root, env=environment(), capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "the disk is full" in done.stderr or "No space left on device" in done.stderr
    assert not half_written(root / "data")
    ballast.unlink()
    again = subprocess.run(RUN, cwd=root, env=environment(), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr


@pytest.mark.slow
def test_a_read_only_workspace_is_one_clear_error(tmp_path, base_folder, small_disk, rungwise):
    root = with_dvc(write_workspace(small_disk("30m") / "ws", base_folder, ladder=LADDER, target=0.3))
    assert rungwise(root, "run").returncode == 0
    subprocess.run(["mount", "-o", "remount,ro", str(root.parent)], check=True)
    for command in (["run"], ["promote", "route"], ["data", "log"], ["collect"]):
        assert "the disk is read-only" in error_of(rungwise(root, *command))
    shutil.copytree(root, tmp_path / "copy")
    assert rungwise(tmp_path / "copy", "status").returncode == 0
