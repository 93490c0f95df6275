"""Bundles: an attempt as a folder, packed in the workspace, run on any machine, and unpacked into the store.

A bundle holds the spec, the rows and the local base. `python -m rungwise.attempts BUNDLE` (or `rungwise attempt
BUNDLE`) needs only torch, transformers, peft, accelerate, pandas and pydantic, for method `embed` scikit-learn too, and
also runs under `torchrun` or `accelerate launch`. Its result is the same folder that training in the workspace would
put into the store. A bundle is not trusted: its name must be a hash, nothing in it may be a link, code of its base runs
only if a person names the hash of that code, and a result is taken only if it is that of an attempt which the workspace
itself would run.
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rungwise.attempts.result import check_result
from rungwise.core.errors import ModelError, Problem, WorkspaceError
from rungwise.core.folders import (
    check_plain,
    is_sealed,
    joined,
    read_json,
    read_lines,
    write_folder,
    write_json,
    write_lines,
)
from rungwise.core.methods import METHODS
from rungwise.core.records import AttemptSpec, Example, Json, example_from_json, spec_from_json, to_json, to_lines
from rungwise.model.bases import base_folder

BUNDLE, ROWS, EVAL_ROWS = "bundle.json", "rows.jsonl", "eval_rows.jsonl"
CONTENT, RESULT = "content", "result"
"""The folders of a bundle: the packed files, sealed; and the result of its run."""
_NAME: Final = re.compile("[0-9a-f]{64}")


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
    if path.is_absolute() or ".." in path.parts or spec.base.name.startswith("~"):
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
        WorkspaceError: it is missing, was changed, or holds a link.
    """
    content = folder / CONTENT
    if content.exists():
        check_plain(content)
    if not is_sealed(content):
        state = "its files differ from its marker" if content.exists() else "no packed files"
        raise _not_a_bundle(folder, state, "a folder written by `rungwise pack`")
    return content


def _not_a_bundle(where: Path, found: str, wanted: str) -> WorkspaceError:
    return WorkspaceError(
        Problem(
            "a folder is not a complete bundle",
            where=str(where),
            found=found,
            wanted=wanted,
            do="run `rungwise pack TASK RUNG BUNDLE` in the workspace again",
        )
    )


def _description(content: Path) -> Mapping[str, Json]:
    """Returns what a bundle says of itself, with a name that can't be a path.

    Raises:
        WorkspaceError: a key is missing, or the name is not a digest.
    """
    path, wanted = content / BUNDLE, {"name", "spec", "versions", "options"}
    try:
        saved = read_json(path)
    except (OSError, ValueError, RecursionError):
        saved = None
    if not isinstance(saved, dict) or wanted - set(saved):
        keys = joined(sorted(saved)) if isinstance(saved, dict) else type(saved).__name__
        raise _not_a_bundle(path, keys, "the keys " + joined(sorted(wanted)))
    if not isinstance(saved["name"], str) or not _NAME.fullmatch(saved["name"]):
        raise _not_a_bundle(path, f"name: {str(saved['name'])[:80]}", "name: 64 hexadecimal digits")
    return saved


def name_of(folder: Path) -> str:
    """Returns the name of the attempt in a bundle, 64 hexadecimal digits.

    Raises:
        WorkspaceError: it is not a bundle, or was changed.
    """
    return str(_description(_content(folder))["name"])


def read(folder: Path, root: Path | None = None) -> Bundle:
    """Returns the bundle in `folder`; `root`: the folder that its base's path is relative to, by default the bundle.

    Raises:
        WorkspaceError: it is not a bundle, or was changed.
        ModelError: the path of its base leads out of the bundle.
    """
    content = _content(folder)
    saved = _description(content)
    try:
        spec = spec_from_json(saved["spec"])
        rows, eval_rows = (tuple(example_from_json(row) for row in read_lines(content / n)) for n in (ROWS, EVAL_ROWS))
        versions = {str(name): str(number) for name, number in saved["versions"].items()}
        limits = {str(fault): float(share) for fault, share in saved["options"]["limits"].items()}
        options = {"checkpoint_steps": int(saved["options"]["checkpoint_steps"]), "limits": limits}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _not_a_bundle(
            content, f"{type(error).__name__}: {str(error)[:200]}", "values of the right types"
        ) from None
    if spec.method not in METHODS:
        raise _not_a_bundle(content / BUNDLE, f"method: {spec.method[:40]}", "a method of this version of Rungwise")
    if root is None and spec.base and not spec.base.revision:
        _relative(spec)  # raises the error
    return Bundle(saved["name"], spec, rows, eval_rows, root or content, versions, options)


def check_code(bundle: Bundle, allowed: str) -> None:
    """Checks that a bundle needs no code of its base but that of the hash `allowed`, which a person named.

    Raises:
        ModelError: it needs other code.
    """
    code = bundle.spec.base.code if bundle.spec.base else ""
    if code and code != allowed:
        raise ModelError(
            Problem(
                "a bundle needs code of its base, which is not run",
                where=f"base {bundle.spec.base}",
                found=f"sha256 {code}",
                wanted=f"this hash from you; you allowed {allowed}" if allowed else "this hash from you",
                do=f"review its Python files; `rungwise attempt BUNDLE --allow-code {code}` runs them on this machine",
            )
        )


def unpack(folder: Path, bundle: Bundle, store: Path) -> Path:
    """Copies the result of a bundle into the store after checking it; returns the attempt's folder there.

    Args:
        folder: the bundle with its result; nothing in it is trusted.
        bundle: the attempt as this workspace would run it: spec, rows, base and permission to run code are its.
        store: the store of attempts.

    Raises:
        WorkspaceError: the bundle was not run, or its result was changed, belongs to another attempt or is not one.
    """
    result = folder / RESULT / f"train-{bundle.name}"
    if result.is_dir():
        check_plain(folder / RESULT)
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
                wanted=f"train-{bundle.name} with its marker",
                do="run `rungwise attempt BUNDLE` and copy the whole folder back",
            )
        )
    check_result(result, bundle.spec, bundle.root)
    target = store / f"train-{bundle.name}"
    if not is_sealed(target):
        write_folder(target, lambda part: _copied(result, part))
    return target


def _copied(source: Path, part: Path) -> None:
    for path in sorted(source.iterdir()):
        if path.is_file() and path.name != "SEAL.json":
            shutil.copy2(path, part / path.name)
