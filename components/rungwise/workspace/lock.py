"""A workspace's lock: one run at a time.

An advisory lock on `.rungwise/lock`, which the kernel releases when the holder ends, however it ends.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rungwise.core.errors import Problem, SettingsError, WorkspaceBusy

HOLDER = "RUNGWISE_LOCK_HOLDER"
"""Environment variable: the process that holds the lock on behalf of the processes it starts."""


@contextmanager
def locked(root: Path, what: str) -> Iterator[None]:
    """Holds the workspace's lock; `what` says what for to whoever finds it taken.

    Waits up to RUNGWISE_LOCK_SECONDS (0 if unset). A process started by the holder goes on under its lock.

    Raises:
        WorkspaceBusy: another process holds the lock.
    """
    path = root / ".rungwise" / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _take(handle, path, _patience()):
            yield  # the parent's lock covers this process
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


def _patience() -> float:
    text = os.environ.get("RUNGWISE_LOCK_SECONDS") or "0"
    try:
        return float(text)
    except ValueError:
        raise SettingsError(
            Problem("RUNGWISE_LOCK_SECONDS is no number", found=text[:40], wanted="seconds, such as 30")
        ) from None


def _take(handle: int, path: Path, seconds: float) -> bool:
    """Takes the lock and returns True; returns False where the parent holds it."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            holder = _holder(path)
            if holder.get("pid") and str(holder["pid"]) == os.environ.get(HOLDER):
                return False
            if time.monotonic() >= deadline:
                raise WorkspaceBusy(
                    Problem(
                        "the workspace is in use",
                        where=str(path.parent.parent),
                        found=f"process {holder.get('pid', 'unknown')} holds it ({holder.get('what', 'starting')})",
                        wanted="one run at a time",
                        do="wait for it, or set RUNGWISE_LOCK_SECONDS to the seconds that this command may wait",
                    )
                ) from None
            time.sleep(min(0.2, max(0.0, deadline - time.monotonic())))


def _holder(path: Path) -> dict[str, object]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}
