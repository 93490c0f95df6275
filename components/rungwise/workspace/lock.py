"""A workspace's lock: one run at a time.

It is an advisory lock on `.rungwise/lock`. The kernel releases it when the process ends, even if the process is killed.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rungwise.core.disk import disk_errors
from rungwise.core.errors import Problem, SettingsError, WorkspaceBusy

HOLDER = "RUNGWISE_LOCK_HOLDER"
"""The environment variable with the id of the process that holds the lock for the processes it starts."""


@contextmanager
def locked(root: Path, what: str) -> Iterator[None]:
    """Holds the workspace's lock while the context is open.

    Waits up to RUNGWISE_LOCK_SECONDS for it (default: 0). A process that the holder started needs no lock of its own.

    Args:
        root: the workspace.
        what: the work that the lock is held for; the error shows it to other processes.

    Raises:
        WorkspaceBusy: another process holds the lock.
        WorkspaceError: the disk failed while the context was open: it is full, or can't be written.
    """
    with disk_errors(), _held(root / ".rungwise" / "lock", what):
        yield


def working(root: Path) -> str:
    """Returns which process holds the workspace's lock and for what, without taking it; empty if none does."""
    holder = _holder(root / ".rungwise" / "lock")
    pid = holder.get("pid")
    return f"process {pid}: {holder.get('what')}" if isinstance(pid, int) and is_alive(pid) else ""


def is_alive(pid: int) -> bool:
    """Whether a process with this id runs; one that ended and whose exit code nobody has read yet does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[:1] != ["Z"]


@contextmanager
def _held(path: Path, what: str) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _take(handle, path, _wait_seconds()):
            yield  # the parent process holds the lock
            return
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps({"pid": os.getpid(), "what": what}).encode(), 0)
        outer = os.environ.get(HOLDER)
        os.environ[HOLDER] = str(os.getpid())
        try:
            yield
        finally:
            os.environ.pop(HOLDER, None)
            if outer is not None:
                os.environ[HOLDER] = outer
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def _wait_seconds() -> float:
    text = os.environ.get("RUNGWISE_LOCK_SECONDS") or "0"
    try:
        return float(text)
    except ValueError:
        raise SettingsError(
            Problem("RUNGWISE_LOCK_SECONDS is not a number", found=text[:40], wanted="seconds, such as 30")
        ) from None


def _take(handle: int, path: Path, seconds: float) -> bool:
    """Takes the lock and returns True; returns False if the parent process holds it."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            holder = _holder(path)
            work = holder.get("what", "starting")
            if holder.get("pid") and str(holder["pid"]) == os.environ.get(HOLDER):
                return False
            if time.monotonic() >= deadline:
                raise WorkspaceBusy(
                    Problem(
                        "the workspace is in use",
                        where=str(path.parent.parent),
                        found=f"process {holder.get('pid', 'unknown')} holds the lock ({work})",
                        wanted="one run at a time",
                        do="wait until it ends, or set RUNGWISE_LOCK_SECONDS to the seconds that this command may wait",
                    )
                ) from None
            time.sleep(min(0.2, max(0.0, deadline - time.monotonic())))


def _holder(path: Path) -> dict[str, object]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}
