"""A launcher of several processes, such as torchrun, on a bundle: its progress and its error come back as lines."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from rungwise.attempts.bundle import RESULT
from rungwise.core import errors
from rungwise.core.errors import Problem, TrainingError

_LAUNCHERS: Final = {"torchrun": "torch.distributed.run", "accelerate": "accelerate.commands.accelerate_cli"}
"""Launcher -> its module."""
ERROR: Final = "@error "
"""Prefix of a line in which a launched process reports its error: the class and the Problem, as JSON."""
PROGRESS: Final = "@progress "
"""Prefix of a line in which a launched process reports its progress, as JSON."""


def launched(
    command: Sequence[str],
    bundle: Path,
    root: Path,
    say: Callable[[str], None],
    show: Callable[[int, int, str], None],
    *,
    allow_code: str = "",
) -> None:
    """Runs a bundle under a launcher, such as `torchrun --standalone --nproc_per_node 2`.

    `allow_code`: the hash of the base's code that params.yaml allows; empty: none.

    Raises:
        RungwiseError: what a process reported, or a TrainingError if the launcher can't be started or a process fails.
    """
    arguments = [*command, "-m", "rungwise.attempts.__main__", str(bundle), "--root", str(root), "--for-a-parent"]
    arguments += ["--allow-code", allow_code] if allow_code else []
    if command[0] in _LAUNCHERS:  # the one of this environment, not the first on the path
        arguments[:1] = [sys.executable, "-m", _LAUNCHERS[command[0]]]
    last: list[str] = []
    failed: tuple[str, dict[str, Any]] | None = None
    try:
        process = subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
    except OSError as error:
        raise TrainingError(
            Problem(
                "the training processes can't be started",
                where="params.yaml: train.launch",
                found=f"{command[0]}: {error.strerror}",
                wanted="a command on the path, such as [torchrun, --standalone, --nproc_per_node, '2']",
            )
        ) from None
    with process:
        assert process.stdout is not None  # because of stdout=PIPE
        try:
            for line in process.stdout:
                if line.startswith(PROGRESS):
                    done, total, what = json.loads(line[len(PROGRESS) :])
                    show(done, total, what)
                elif line.startswith(ERROR):
                    failed = failed or json.loads(line[len(ERROR) :])
                elif text := line.strip():
                    last = [*last[-20:], text]
        except BaseException:
            process.terminate()
            raise
    if failed:
        raise getattr(errors, failed[0], TrainingError)(Problem(**failed[1]))
    if process.returncode:
        raise TrainingError(
            Problem(
                "training on several processes failed",
                where="params.yaml: train.launch",
                found=" | ".join(last[-3:])[:400],
                wanted="exit code 0",
                do="remove `train.launch` to see the error in one process",
            )
        )
    if not any((bundle / RESULT).glob("train-*")):
        raise TrainingError(
            Problem(
                "a launcher ended without training",
                where="params.yaml: train.launch",
                found=" ".join(command)[:200],
                wanted="a command that runs the arguments after it, like torchrun",
            )
        )
    for text in last:
        if text.startswith("note: "):
            say(text.removeprefix("note: "))
