"""Proof that an attempt reloads exactly: logits of fixed probes, compared bit for bit in a new process.

The probes are neutral sentences in the task's own prompt, so that no text of a row is stored with a model.
`python -m rungwise.release.parity FOLDER` loads the attempt in FOLDER and prints the largest difference from the logits
recorded in the same folder.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from rungwise.attempts.store import open_attempt
from rungwise.core.errors import Problem, RegistryError, RungwiseError
from rungwise.workspace.process import prepare_environment, workspace_root

LOGITS = "parity.safetensors"
_PROBES = (
    "The quick brown fox jumps over the lazy dog.",
    "Please tell me what to do next, thank you!",
    "0123456789 éß漢",
)


def probe_logits(folder: Path, root: Path) -> dict[str, Any]:
    """Returns name -> array of what the attempt in `folder` computes for the probes, by its own `probe` function."""
    model = open_attempt(folder, root)
    return model.probe([dict.fromkeys(model.slots, probe) for probe in _PROBES])


def record(folder: Path, root: Path) -> None:
    """Writes the logits of the probes into the attempt's folder."""
    from safetensors.numpy import save_file

    save_file(probe_logits(folder, root), folder / LOGITS)


def largest_difference(folder: Path, root: Path) -> float:
    """Returns the largest absolute difference between recorded and recomputed logits; infinity if shapes differ."""
    from safetensors.numpy import load_file

    recorded, now = load_file(folder / LOGITS), probe_logits(folder, root)
    if set(recorded) != set(now) or any(recorded[n].shape != now[n].shape for n in now):
        return float("inf")
    return max(float(abs(recorded[n].astype("float64") - now[n].astype("float64")).max(initial=0)) for n in now)


def prove(folder: Path, root: Path) -> None:
    """Checks that the attempt of `folder`, reloaded in a new process, gives the recorded logits.

    Raises:
        RegistryError: the attempt can't be loaded there, or a logit differs.
    """
    command = [sys.executable, "-m", "rungwise.release.parity", str(folder)]
    environment = {**os.environ, "RUNGWISE_WORKSPACE": str(root)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    last_line = lines[-1] if lines else f"exit code {done.returncode}"
    if done.returncode != 0 or json.loads(last_line)["difference"] != 0.0:
        raise RegistryError(
            Problem(
                "a model does not reload exactly",
                where=str(folder),
                found=last_line,
                wanted="logits equal to the recorded ones, bit for bit, in a new process",
                do="don't promote it; compare library versions, base files and the machine",
            )
        )


def main() -> int:
    """Prints `{"difference": ...}` for the folder named by the first argument."""
    prepare_environment()
    try:
        difference = largest_difference(Path(sys.argv[1]), workspace_root())
    except RungwiseError as error:
        sys.stderr.write(error.problem.line + "\n")
        return 2
    sys.stdout.write(json.dumps({"difference": difference if difference < float("inf") else 1e30}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
