"""Bundles: an attempt as a folder, packed in the workspace, run on any machine, and unpacked into the store.

A bundle holds the spec, the rows and the local base. `python -m rungwise.attempts BUNDLE` (or `rungwise attempt
BUNDLE`) needs only torch, transformers, peft, accelerate, pandas and pydantic, for method `embed` scikit-learn too, and
also runs under `torchrun` or `accelerate launch`. Its result is the same folder that training in the workspace would
put into the store; hashes check every step.
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

BUNDLE, ROWS, EVAL_ROWS = "bundle.json", "rows.jsonl", "eval_rows.jsonl"
CONTENT, RESULT = "content", "result"
"""The folders of a bundle: the packed files, sealed; and the result of its run."""
_LAUNCHERS: Final = {"torchrun": "torch.distributed.run", "accelerate": "accelerate.commands.accelerate_cli"}
"""Launcher -> its module."""
ERROR: Final = "@error "
"""Prefix of a line in which a launched process reports its error: the class and the Problem, as JSON."""
PROGRESS: Final = "@progress "
"""Prefix of a line in which a launched process reports its progress, as JSON."""


@dataclass(frozen=True)
class Bundle:
    """An attempt to be run, with its portable options."""

    name: str
    """The attempt's digest."""
    spec: AttemptSpec
    rows: Sequence[Example]
    eval_rows: Sequence[Example]
    """The validation rows of the evaluations during training."""
    root: Path
    """The folder that the base's path is relative to."""
    versions: Mapping[str, str]
    """Library -> version, of those that decide the trained weights."""
    options: Mapping[str, Json]
    """See `run.RunOptions.portable`."""


def pack(folder: Path, bundle: Bundle, *, with_base: bool) -> None:
    """Writes a bundle into `folder`; `with_base`: together with a local base.

    Raises:
        WorkspaceError: `folder` holds something else.
        ModelError: the base does not exist, or its path leads out of the workspace.
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
    description = {
        "name": bundle.name,
        "spec": to_json(spec),
        "versions": dict(bundle.versions),
        "options": dict(bundle.options),
    }

    def write(part: Path) -> None:
        write_json(part / BUNDLE, description)
        write_lines(part / ROWS, to_lines(bundle.rows))
        write_lines(part / EVAL_ROWS, to_lines(bundle.eval_rows))
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
                "a bundle can't include this base",
                where=f"ladder: base {spec.base}",
                found="a path that leads out of the workspace",
                wanted="a path inside it, or a hub name with its commit",
                do="copy the base into the workspace and name it there",
            )
        )
    return path


def _content(folder: Path) -> Path:
    """Returns the folder of the packed files.

    Raises:
        WorkspaceError: it is missing or was changed.
    """
    content = folder / CONTENT
    if not is_sealed(content):
        raise WorkspaceError(
            Problem(
                "a folder is not a complete bundle",
                where=str(folder),
                found="its files differ from its marker" if content.exists() else "no packed files",
                wanted="a folder written by `rungwise pack`",
                do="run `rungwise pack TASK RUNG BUNDLE` in the workspace again",
            )
        )
    return content


def read(folder: Path, root: Path | None = None) -> Bundle:
    """Returns the bundle in `folder`; `root`: the folder that its base's path is relative to, by default the bundle.

    Raises:
        WorkspaceError: it is not a bundle, or was changed.
    """
    content = _content(folder)
    saved = read_json(content / BUNDLE)
    wanted = {"name", "spec", "versions", "options"}
    if not isinstance(saved, dict) or wanted - set(saved):
        raise WorkspaceError(
            Problem(
                "a folder is not a complete bundle",
                where=str(content / BUNDLE),
                found=joined(sorted(saved)) if isinstance(saved, dict) else type(saved).__name__,
                wanted="the keys " + joined(sorted(wanted)),
                do="run `rungwise pack TASK RUNG BUNDLE` in the workspace again",
            )
        )
    rows, eval_rows = (tuple(example_from_json(line) for line in read_lines(content / n)) for n in (ROWS, EVAL_ROWS))
    spec = spec_from_json(saved["spec"])
    return Bundle(saved["name"], spec, rows, eval_rows, root or content, saved["versions"], saved["options"])


def unpack(folder: Path, store: Path) -> Path:
    """Copies the result of a bundle into the store after checking its hashes; returns the attempt's folder there.

    Raises:
        WorkspaceError: the bundle was not run, or its result was changed or belongs to another attempt.
    """
    name = str(read_json(_content(folder) / BUNDLE)["name"])
    result = folder / RESULT / f"train-{name}"
    if not is_sealed(result):
        results = [p.name for p in (folder / RESULT).glob("train-*")]
        if result.is_dir():
            raise WorkspaceError(
                Problem(
                    "the result of a bundle was changed or is incomplete",
                    where=str(result),
                    found="its files differ from its marker, SEAL.json",
                    wanted="the files as `rungwise attempt` wrote them",
                    do="copy the whole folder back again, or run `rungwise attempt BUNDLE` in a fresh copy of it",
                )
            )
        raise WorkspaceError(
            Problem(
                "a bundle has no complete result",
                where=str(folder),
                found=joined(results),
                wanted=f"train-{name} with its marker",
                do="run `rungwise attempt BUNDLE` and copy the whole folder back",
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
    """Runs a bundle under a launcher, such as `torchrun --standalone --nproc_per_node 2`.

    Raises:
        RungwiseError: what a process reported, or a TrainingError if the launcher can't be started or a process fails.
    """
    arguments = [*command, "-m", "rungwise.attempts.__main__", str(bundle), "--root", str(root), "--for-a-parent"]
    if command[0] in _LAUNCHERS:  # the one of this environment, not the first on the path
        arguments[:1] = [sys.executable, "-m", _LAUNCHERS[command[0]]]
    last: list[str] = []
    failed: tuple[str, dict[str, str]] | None = None
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
