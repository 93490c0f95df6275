"""The environment of a workspace's processes, where the workspace is, and ending with one's parent.

A workspace is the folder with params.yaml, dvc.yaml and data/.
"""

import os
import threading
import time
from pathlib import Path

from rungwise.workspace.lock import HOLDER

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
