"""A workspace's processes: their environment, their workspace folder, and ending together with the parent process.

A workspace is a folder with params.yaml, dvc.yaml and data/.
"""

import os
import threading
import time
from pathlib import Path
from typing import Final

from rungwise.workspace.lock import HOLDER, is_alive

NO_TELEMETRY: Final = {
    "DO_NOT_TRACK": "true",  # MLflow accepts only the word `true`
    "DVC_NO_ANALYTICS": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Variables that turn off the libraries' usage telemetry, and warnings of forked tokenizers."""


# GNU OpenMP's threads spin at every barrier. If the machine has other work, they wait for threads that don't get a
# core. Measured with a 260,000-parameter Llama on two cores. A training run alone took as long with this count as with
# the default (4.6 s and 4.5 s for 60 steps). Next to another run, the default took 68 s and 14 s for 40 steps in two
# trials, and this count 15 s for 60 steps in one trial. Times next to other work vary widely: this count probably
# helps, but the trials do not show it.
_SPIN = {"GOMP_SPINCOUNT": "5000"}

# Transformers logs what this package checks itself and says in its own words: rows over the context, missing weights.
_VERBOSITY = {"TRANSFORMERS_VERBOSITY": "error"}

# Prefect's temporary server took up to 17 seconds to start on two cores. By default Prefect gives up after 20.
_SERVER_START = {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120"}


def prepare_environment() -> None:
    """Sets environment variables that libraries read when they are loaded, unless the user has set them.

    It turns off the usage telemetry of every library and the warnings of transformers, and makes waiting threads
    release the processor. Without a writable home folder, as in some containers, Prefect keeps its records in the
    workspace.
    """
    for name, value in {**NO_TELEMETRY, **_SPIN, **_VERBOSITY, **_SERVER_START}.items():
        os.environ.setdefault(name, value)
    if not _has_home():
        os.environ.setdefault("PREFECT_HOME", str(workspace_root() / ".prefect"))


def _has_home() -> bool:
    try:
        return os.access(Path.home(), os.W_OK)
    except RuntimeError:  # the user has no entry in the password database
        return False


def workspace_root() -> Path:
    """Returns the workspace: RUNGWISE_WORKSPACE, by default the current folder."""
    return Path(os.environ.get("RUNGWISE_WORKSPACE") or ".").resolve()


def die_with_parent() -> None:
    """Ends this process within a second after its parent ends, or after the process that holds the lock for it.

    Without this, a killed `dvc repro` would leave its stage running, which could still write outputs; and a killed
    `rungwise run` would leave DVC and its stage running without the lock.
    """
    parent, holder = os.getppid(), int(os.environ.get(HOLDER) or 0)

    def watch() -> None:
        while os.getppid() == parent and (not holder or is_alive(holder)):
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
