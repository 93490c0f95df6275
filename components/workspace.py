"""A workspace's lock, the environment of its processes, and what they show of long work.

A workspace is the folder with params.yaml, dvc.yaml and data/. One run at a time holds its lock (an advisory
lock on `.rungwise/lock`, which the kernel releases when the holder dies, however it dies).
"""

import fcntl
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.errors import SettingsError, WorkspaceBusy, problem

HOLDER = "RUNGWISE_LOCK_HOLDER"
"""Environment variable: the process that holds the lock on behalf of the processes it starts."""
_QUIET = {
    "DO_NOT_TRACK": "true",  # MLflow takes the word `true` only
    "DVC_NO_ANALYTICS": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "TOKENIZERS_PARALLELISM": "false",
}


# GNU OpenMP's threads spin at every barrier, and beside other work wait for threads that are kept from running. With
# a 260,000-parameter Llama on two cores a training alone took as long with this count as with the default (4.6 s and
# 4.5 s for 60 steps). Beside another the default took 68 s and 14 s for 40 steps in two trials; this count 15 s for 60
# steps in one. The times beside other work scatter widely: that this count helps is likely, not shown.
_SPIN = {"GOMP_SPINCOUNT": "5000"}

# Prefect's temporary server was seen to take up to 17 seconds to start on two cores; it is given up on after 20.
_PATIENT = {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120"}


def prepare_environment() -> None:
    """Sets what libraries read when they are loaded, for this process and its children, unless the user set it.

    Usage telemetry of every library is off, and waiting threads leave the processor to others. Where there is no home
    to write into, as in some containers, Prefect keeps its records in the workspace.
    """
    for name, value in {**_QUIET, **_SPIN, **_PATIENT}.items():
        os.environ.setdefault(name, value)
    if not _has_home():
        os.environ.setdefault("PREFECT_HOME", str(workspace_root() / ".prefect"))


def _has_home() -> bool:
    try:
        return os.access(Path.home(), os.W_OK)
    except RuntimeError:  # a user without an entry
        return False


def workspace_root() -> Path:
    """Returns the workspace: RUNGWISE_WORKSPACE, otherwise the current folder."""
    return Path(os.environ.get("RUNGWISE_WORKSPACE") or ".").resolve()


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
            problem("RUNGWISE_LOCK_SECONDS is no number", found=text[:40], wanted="seconds, such as 30")
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
                    problem(
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


def die_with_parent() -> None:
    """Ends this process within a second of its parent's end, or of the end of whoever holds the lock for it.

    A killed `dvc repro` leaves its stage running, which could still write outputs that nobody waits for; a killed
    `rungwise run` leaves DVC and its stage running without the lock.
    """
    parent, holder = os.getppid(), int(os.environ.get(HOLDER) or 0)

    def watch() -> None:
        while os.getppid() == parent and (not holder or _is_alive(holder)):
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:  # one that has ended and whom nobody has asked for its exit code yet is dead too
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[:1] != ["Z"]


class LineProgress:
    """Progress of long work on standard error: a bar on a terminal, now and then a plain line elsewhere."""

    def __init__(self, label: str, seconds_between: float = 5.0) -> None:
        self._label, self._between = label, seconds_between
        self._last = time.monotonic()
        self._bar: object = None

    def __call__(self, done: int, total: int, what: str) -> None:
        """Shows that `done` of `total` are done; `what` names them."""
        if sys.stderr.isatty():
            self._show_bar(done, total, what)
        elif done == total or time.monotonic() - self._last >= self._between:
            self._last = time.monotonic()
            sys.stderr.write(f"{self._label}: {done}/{total} {what}\n")
            sys.stderr.flush()

    def _show_bar(self, done: int, total: int, what: str) -> None:
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(total=total, desc=self._label, leave=False)
        bar = self._bar
        assert isinstance(bar, tqdm)
        bar.set_postfix_str(what, refresh=False)
        bar.update(done - bar.n)
        if done == total:
            bar.close()
            self._bar = None


def say(text: str) -> None:
    """Writes one line of news to standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
