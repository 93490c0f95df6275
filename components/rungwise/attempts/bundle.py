"""An attempt as a folder that travels: packed in the workspace, run on any machine, unpacked again by its hashes.

A bundle holds the spec, the rows and the local base. `python -m rungwise.attempts BUNDLE` (or `rungwise attempt
BUNDLE`) needs torch, transformers, peft, accelerate and pandas alone, and may stand behind `torchrun` or `accelerate
launch`. Its result is the very folder that the workspace's store would hold.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rungwise.core import errors
from rungwise.core.errors import ModelError, Problem, TrainingError, WorkspaceError
from rungwise.core.folders import is_sealed, joined, read_json, read_lines, write_folder, write_json, write_lines
from rungwise.core.records import AttemptSpec, Example, Json, example_from_json, spec_from_json, to_json, to_lines
from rungwise.model.bases import base_folder

BUNDLE, ROWS, LOOKED_AT = "bundle.json", "rows.jsonl", "looked_at.jsonl"
CONTENT, RESULT = "content", "result"
"""The folders of a bundle: what was packed, sealed; and what its run puts there."""
_LAUNCHERS: Final = {"torchrun": "torch.distributed.run", "accelerate": "accelerate.commands.accelerate_cli"}
"""Launcher -> its module."""
ERROR: Final = "@error "
"""What a line of a launched run begins with that says why it ended: the error's class and its Problem."""
PROGRESS: Final = "@progress "
"""What a line of a launched run begins with that says how far it is."""


@dataclass(frozen=True)
class Bundle:
    """An attempt before it is run: what it is, and how it goes where that travels with it."""

    name: str
    """The attempt's digest."""
    spec: AttemptSpec
    rows: Sequence[Example]
    looked_at: Sequence[Example]
    """The development rows that the training looks at."""
    root: Path
    """The folder that the base's path starts at."""
    versions: Mapping[str, str]
    """Library -> version that decides the numbers."""
    how: Mapping[str, Json]


def pack(folder: Path, bundle: Bundle, *, with_base: bool) -> None:
    """Writes a bundle into `folder`; with `with_base` a local base goes with it.

    Raises:
        WorkspaceError: `folder` holds something else.
        ModelError: the base is not there, or its path leads out of the workspace.
    """
    if folder.exists() and not folder.is_dir():
        raise WorkspaceError(
            Problem("a bundle can't be written", where=str(folder), found="a file", wanted="a folder, or a new name")
        )
    if folder.exists() and any(folder.iterdir()) and not (folder / CONTENT / BUNDLE).is_file():
        raise WorkspaceError(
            Problem("a folder is not empty", where=str(folder), wanted="a new folder, or an older bundle to replace")
        )

    spec = bundle.spec
    known = {"name": bundle.name, "spec": to_json(spec), "versions": dict(bundle.versions), "how": dict(bundle.how)}

    def write(part: Path) -> None:
        write_json(part / BUNDLE, known)
        write_lines(part / ROWS, to_lines(bundle.rows))
        write_lines(part / LOOKED_AT, to_lines(bundle.looked_at))
        if with_base and spec.base and not spec.base.revision:
            shutil.copytree(base_folder(spec.base, bundle.root), part / _relative(spec))

    folder.mkdir(parents=True, exist_ok=True)
    write_folder(folder / CONTENT, write)


def _relative(spec: AttemptSpec) -> Path:
    assert spec.base is not None  # as the caller checked
    path = Path(spec.base.name)
    if path.is_absolute() or ".." in path.parts or path.parts[:1] == ("~",):
        raise ModelError(
            Problem(
                "a base can't travel",
                where=f"ladder: base {spec.base}",
                found="a path that leads out of the workspace",
                wanted="a path inside it, or a hub name with its commit",
                do="copy the base into the workspace and name it there",
            )
        )
    return path


def _content(folder: Path) -> Path:
    """Returns what was packed, whole; raises WorkspaceError where it is not."""
    content = folder / CONTENT
    if not is_sealed(content):
        raise WorkspaceError(
            Problem(
                "there is no whole bundle",
                where=str(folder),
                found="its files differ from its marker" if content.exists() else "nothing that was packed",
                wanted="a folder as `rungwise pack` writes it",
                do="`rungwise pack TASK RUNG BUNDLE` in the workspace writes it again",
            )
        )
    return content


def read(folder: Path, root: Path | None = None) -> Bundle:
    """Returns the bundle in `folder`; `root`: where its base's path starts, None: in the bundle.

    Raises:
        WorkspaceError: it is no bundle, or was changed.
    """
    content = _content(folder)
    found = read_json(content / BUNDLE)
    wanted = {"name", "spec", "versions", "how"}
    if not isinstance(found, dict) or wanted - set(found):
        raise WorkspaceError(
            Problem(
                "there is no whole bundle",
                where=str(content / BUNDLE),
                found=joined(sorted(found)) if isinstance(found, dict) else type(found).__name__,
                wanted="the keys " + joined(sorted(wanted)),
                do="`rungwise pack TASK RUNG BUNDLE` in the workspace writes it again",
            )
        )
    rows, looked_at = (tuple(example_from_json(line) for line in read_lines(content / n)) for n in (ROWS, LOOKED_AT))
    spec = spec_from_json(found["spec"])
    return Bundle(found["name"], spec, rows, looked_at, root or content, found["versions"], found["how"])


def unpack(folder: Path, store: Path) -> Path:
    """Moves the result of a bundle into the store, by its hashes; returns the attempt's folder there.

    Raises:
        WorkspaceError: it was not run, was changed, or is the result of another attempt.
    """
    name = str(read_json(_content(folder) / BUNDLE)["name"])
    result = folder / RESULT / f"train-{name}"
    if not is_sealed(result):
        there = [p.name for p in (folder / RESULT).glob("train-*")]
        if result.is_dir():
            raise WorkspaceError(
                Problem(
                    "the result of a bundle was changed or is not whole",
                    where=str(result),
                    found="its files differ from its marker, SEAL.json",
                    wanted="the files as `rungwise attempt` wrote them",
                    do="bring the whole folder back once more, or `rungwise attempt BUNDLE` in a fresh copy of it",
                )
            )
        raise WorkspaceError(
            Problem(
                "a bundle has no whole result",
                where=str(folder),
                found=joined(there),
                wanted=f"train-{name} with its marker",
                do="`rungwise attempt BUNDLE` runs it; bring the whole folder back",
            )
        )
    target = store / f"train-{name}"
    if not is_sealed(target):
        write_folder(target, lambda part: _copied(result, part))
    return target


def _copied(source: Path, part: Path) -> None:
    for path in sorted(source.iterdir()):
        if path.is_file() and path.name != "SEAL.json":
            shutil.copy2(path, part / path.name)


def launched(
    command: Sequence[str], bundle: Path, root: Path, say: Callable[[str], None], show: Callable[[int, int, str], None]
) -> None:
    """Runs a bundle behind a launcher, such as `torchrun --standalone --nproc_per_node 2`.

    Raises:
        TrainingError: the launcher is not there, or a process failed.
    """
    whole = [*command, "-m", "rungwise.attempts.__main__", str(bundle), "--root", str(root), "--for-a-parent"]
    if command[0] in _LAUNCHERS:  # of this environment, whatever the path says
        whole[:1] = [sys.executable, "-m", _LAUNCHERS[command[0]]]
    last: list[str] = []
    failed: tuple[str, dict[str, str]] | None = None
    try:
        process = subprocess.Popen(whole, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    except OSError as error:
        raise TrainingError(
            Problem(
                "the processes of a training can't be started",
                where="params.yaml: train.launch",
                found=f"{command[0]}: {error.strerror}",
                wanted="a command that is on the path, such as [torchrun, --standalone, --nproc_per_node, '2']",
            )
        ) from None
    with process:
        assert process.stdout is not None  # as asked for
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
    if failed:  # as the process said it itself
        raise getattr(errors, failed[0], TrainingError)(Problem(**failed[1]))
    if process.returncode:
        raise TrainingError(
            Problem(
                "a training on several processes failed",
                where="params.yaml: train.launch",
                found=" | ".join(last[-3:])[:400],
                wanted="exit code 0",
                do="leave `train.launch` out to see it in one process",
            )
        )
    if not any((bundle / RESULT).glob("train-*")):
        raise TrainingError(
            Problem(
                "a launcher ended without a training",
                where="params.yaml: train.launch",
                found=" ".join(command)[:200],
                wanted="a command that runs what stands behind it, as torchrun does",
            )
        )
    for text in last:
        if text.startswith("note: "):
            say(text.removeprefix("note: "))
