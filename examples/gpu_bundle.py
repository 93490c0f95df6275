"""A GPU box with a bundle: pack an attempt here, run it there, bring its result back.

    python examples/gpu_bundle.py FOLDER TASK RUNG BUNDLE

The box needs `pip install 'rungwise[train]'` and no workspace, no DVC and no network. This example runs the bundle on
this machine; in earnest copy the folder BUNDLE to the box, run the printed command there, and copy the folder back.
"""

import subprocess
import sys
from pathlib import Path

from rungwise import Workspace


def main(folder: str, task: str, rung: str, bundle: str) -> int:
    """Runs the example; returns its exit code."""
    workspace, carried = Workspace(folder), Path(bundle)
    attempt = workspace.pack(task, rung, carried)
    print(f"packed attempt {attempt[:12]}; on the box: python -m rungwise.attempts {carried}")
    done = subprocess.run([sys.executable, "-m", "rungwise.attempts", str(carried)], check=False)
    if done.returncode:
        return done.returncode
    name, places = workspace.unpack(carried)
    print(f"attempt {name[:12]} is stored for {', '.join(places)}; the next run finds it and does not train again")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:5]))
