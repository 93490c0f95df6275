"""Proof that an attempt reloads exactly: logits of fixed probes, compared bit for bit in a new process.

The probes are neutral sentences in the task's own prompt, so that no text of a row is stored with a model.
`python -m rungwise.release.parity` reads folders from standard input, loads the attempt in each, and prints the largest
difference from the logits recorded in the same folder.
"""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

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


class Prover:
    """Proves models one after the other in one new process, which starts with the first and ends with the context.

    Example:
        >>> with Prover(root) as prove:
        ...     prove(folder)
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._process: subprocess.Popen[str] | None = None
        self._messages: IO[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process and self._messages:
            self._process.communicate()
            self._messages.close()

    def __call__(self, folder: Path) -> None:
        """Checks that the attempt of `folder`, loaded in the process, gives the recorded logits.

        Raises:
            RegistryError: the attempt can't be loaded there, or a logit differs.
        """
        distance = self._asked(folder)
        if distance != 0.0:
            raise RegistryError(
                Problem(
                    "a model does not reload exactly",
                    where=str(folder),
                    found=distance if isinstance(distance, str) else f"a difference of {distance:g}",
                    wanted="logits equal to the recorded ones, bit for bit, in a new process",
                    do="don't promote it; compare library versions, base files and the machine",
                )
            )

    def _asked(self, folder: Path) -> float | str:
        """Returns the largest difference, or why there is none."""
        if self._process is None:
            self._messages = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
            command = [sys.executable, "-m", "rungwise.release.parity"]
            environment = {**os.environ, "RUNGWISE_WORKSPACE": str(self._root)}
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(
                command, env=environment, stdin=pipe, stdout=pipe, stderr=self._messages, text=True, encoding="utf-8"
            )
        process, messages = self._process, self._messages
        assert process.stdin and process.stdout and messages
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(str(folder)) + "\n")
            process.stdin.flush()
        if line := process.stdout.readline():
            answer: float | str = json.loads(line)
            return answer
        code = process.wait()
        messages.seek(0)
        lines = messages.read().strip().splitlines()
        self.__exit__()
        self._process = None  # the next proof starts another
        return lines[-1] if lines else f"exit code {code}"


def prove(folder: Path, root: Path) -> None:
    """Proves one model in a new process; see `Prover`."""
    with Prover(root) as one:
        one(folder)


def main() -> int:
    """Answers each line of standard input, a folder in JSON, by a line with its difference, or with what failed."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is not an answer
    prepare_environment()
    for line in sys.stdin:
        try:
            difference = largest_difference(Path(json.loads(line)), workspace_root())
            answer: float | str = difference if difference < float("inf") else 1e30
        except RungwiseError as error:
            answer = error.problem.line
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
