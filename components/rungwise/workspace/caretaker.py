"""Waits for the end of a `dvc repro` that runs alone, and repairs what a kill of it leaves.

DVC reads dvc.lock before it runs the first stage, so that a later `dvc repro` could not repair it. A stage of a DVC
that no command of ours started leaves this process behind; it ends with that DVC.
"""

import fcntl
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from rungwise.core.errors import RungwiseError
from rungwise.workspace.lock import HOLDER, is_alive, locked
from rungwise.workspace.process import workspace_root
from rungwise.workspace.repair import is_dvc, is_needed, repair


def leave_caretaker(root: Path) -> None:
    """Starts the process for the DVC that runs this stage, unless a command holds the workspace's lock for it."""
    if HOLDER in os.environ or not is_dvc(os.getppid()):
        return
    subprocess.Popen(
        [sys.executable, "-P", "-m", "rungwise.workspace.caretaker", str(os.getppid())],
        env={**os.environ, "RUNGWISE_WORKSPACE": str(root)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a signal to DVC's group does not reach it
    )


def main() -> int:
    """Waits for the end of the process whose id is the argument, and repairs."""
    pid, root = int(sys.argv[1]), workspace_root()
    mark = root / ".rungwise" / f"caretaker-{pid}"
    mark.parent.mkdir(exist_ok=True)
    handle = os.open(mark, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0  # an earlier stage's waits for this DVC
    while is_alive(pid):
        time.sleep(0.05)
    if is_needed(root):  # otherwise the lock stays free for the next command
        with suppress(RungwiseError), locked(root, "repair after dvc repro"):
            repair(root, waits=False)
    mark.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
