"""Runs DVC: asks whether a stage is current, records a stage, reproduces stages, pushes and pulls.

DVC runs in a process of its own (`python -m dvc`). Commands: https://dvc.org/doc/command-reference
"""

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rungwise.core import errors
from rungwise.core.disk import disk_error_in
from rungwise.core.errors import Problem, RungwiseError, WorkspaceBusy, WorkspaceError
from rungwise.core.folders import read_json, write_json
from rungwise.workspace.lock import locked, working
from rungwise.workspace.quiet_dvc import LOG
from rungwise.workspace.repair import is_needed, repair

FAILURE = "RUNGWISE_STAGE_FAILURE"
"""The environment variable with the path where a stage leaves its error for the process that runs DVC."""
_STDERR = 2
"""File descriptor of standard error: what DVC shows is news of the work, not its result."""


def _environment() -> dict[str, str]:
    """Returns the environment in which the `python` of the stages' commands is this interpreter."""
    folder = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": folder + os.pathsep + os.environ.get("PATH", "")}


def _called(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=root, env=_environment(), capture_output=True, text=True, check=False)


def _dvc(root: Path, *arguments: str, repairs: bool = True) -> str:
    """Runs a command of DVC. If it fails, `repairs` takes the workspace's lock, and repairs what a kill left."""
    done = _called(root, *arguments)
    if done.returncode != 0 and repairs:
        with locked(root, f"dvc {arguments[0]}"):
            is_repaired = repair(root)
        done = _called(root, *arguments) if is_repaired else done
    if done.returncode != 0:
        raise disk_error_in(done.stderr, str(root)) or WorkspaceError(
            Problem(
                f"`dvc {arguments[0]}` failed",
                where=str(root),
                found=" / ".join(_messages(done.stderr)) or f"exit code {done.returncode}",
                do="run it yourself to see its whole output",
            )
        )
    return done.stdout


def _messages(text: str) -> list[str]:
    """Returns the last lines of what DVC wrote, without the one that names its support."""
    return [line for line in text.splitlines() if line.strip() and "dvc.org/support" not in line][-3:]


def init_repository(root: Path) -> None:
    """Makes `root` part of a git and a DVC repository: uses those around it, and creates those that are missing.

    Raises:
        WorkspaceError: git is not installed or failed, or DVC failed.
    """
    top = _git(root, "rev-parse", "--show-toplevel", check=False)
    if not top:
        _git(root, "init", "-q")
        top = str(root)
    inside = [p for p in (root, *root.resolve().parents) if p.resolve().is_relative_to(Path(top).resolve())]
    if not any((p / ".dvc").is_dir() for p in inside):
        below = Path(top).resolve() != root.resolve()
        _dvc(root, "init", *(["--subdir"] if below else []), repairs=False)
        # `dvc config` would do the same in a second for each setting
        with (root / ".dvc" / "config").open("a", encoding="utf-8") as config:
            config.write("[core]\n    analytics = false\n    check_update = false\n")


def _git(root: Path, *arguments: str, check: bool = True) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise WorkspaceError(Problem("git is not installed", wanted="git on the PATH", do="install git")) from None
    if done.returncode and check:
        raise WorkspaceError(Problem(f"`git {arguments[0]}` failed", where=str(root), found=done.stderr.strip()[-200:]))
    return done.stdout.strip() if done.returncode == 0 else ""


def is_current(root: Path, stage: str) -> bool:
    """Whether dvc.lock records this stage with its present inputs, settings and outputs."""
    return not json.loads(_dvc(root, "status", "--json", stage) or "{}")


def changes(root: Path) -> dict[str, list[Any]]:
    """Returns stage -> what differs from dvc.lock, as `dvc status --json` says it; unchanged stages are left out.

    An entry is `{"changed deps": {path: state}}` (of params.yaml: its sections and their states), `{"changed outs":
    {path: state}}`, or a text such as `changed command`. It takes no lock and repairs nothing.

    Raises:
        WorkspaceBusy: a run is working, and DVC's files change with it.
        WorkspaceError: DVC fails.
    """
    _check_idle(root)
    try:
        listed: dict[str, list[Any]] = json.loads(_dvc(root, "status", "--json", repairs=False) or "{}")
    except WorkspaceError as error:
        _check_idle(root)  # a run began meanwhile
        if not is_needed(root):
            raise
        do = "`rungwise run` repairs them"
        raise WorkspaceError(replace(error.problem, what="a killed run left damaged files of DVC", do=do)) from None
    return listed


def _check_idle(root: Path) -> None:
    if work := working(root):
        raise WorkspaceBusy(
            Problem(
                "a run is working in the workspace",
                where=str(root),
                found=work,
                wanted="no run at work: what changed is not known before it ends",
                do="wait until it ends",
            )
        )


def changed(root: Path) -> list[str]:
    """Returns the names of the stages whose inputs, settings or outputs differ from dvc.lock, sorted."""
    return sorted(changes(root))


def record(root: Path, stage: str) -> None:
    """Records a stage that ran in this process in dvc.lock, and puts its outputs into DVC's cache."""
    _dvc(root, "commit", "--force", stage)


def reproduce(root: Path, *arguments: str, verbose: bool = False) -> None:
    """Runs `dvc repro`. Its stages write to standard error; `verbose`: DVC does, too.

    Ctrl-C also reaches DVC and its stage. They get 20 seconds to end in order.

    Raises:
        RungwiseError: the error of the stage that failed.
        WorkspaceError: DVC failed, or a stage ended without an error of its own.
    """
    with tempfile.TemporaryDirectory(prefix="rungwise-") as folder:
        failure, log = Path(folder) / "failure.json", Path(folder) / "dvc.log"
        module = "dvc" if verbose else "rungwise.workspace.quiet_dvc"
        code = _waited(
            [sys.executable, "-P", "-m", module, "repro", *arguments],
            root,
            {**_environment(), FAILURE: str(failure), LOG: str(log)},
            _STDERR if verbose else subprocess.DEVNULL,
        )
        if code == 0:
            return
        repair(root)  # a full disk leaves what a kill leaves
        if failure.is_file():
            left = read_json(failure)
            raise getattr(errors, left["kind"])(Problem(**left["problem"]))
        text = log.read_text(encoding="utf-8") if log.is_file() else ""
        lines = _messages(text)
        raise disk_error_in(text, str(root)) or WorkspaceError(
            Problem(
                "the run failed" if lines else "the run failed (see above)",
                where=str(root),
                found=" / ".join(lines),
                do="fix the error and run again; completed work is kept. `rungwise run -v` shows what DVC says",
            )
        )


def leave_failure(error: RungwiseError) -> bool:
    """Leaves the error of a stage for the process that runs DVC, which raises it; returns whether there is one."""
    path = os.environ.get(FAILURE)
    if path:
        write_json(Path(path), {"kind": type(error).__name__, "problem": asdict(error.problem)})
    return bool(path)


def _waited(command: Sequence[str], root: Path, environment: Mapping[str, str], stdout: int) -> int:
    process = subprocess.Popen(command, cwd=root, env=environment, stdout=stdout)
    try:
        return process.wait()
    except KeyboardInterrupt:
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
        raise


@functools.lru_cache(maxsize=8)  # DVC takes a second to answer
def cache_folder(root: Path) -> Path:
    """Returns the folder of the objects in DVC's cache: an object's path is its md5, divided after two digits."""
    return Path(_dvc(root, "cache", "dir", repairs=False).strip()) / "files" / "md5"


def push(root: Path) -> str:
    """Sends the cached outputs of all commits and of the workspace to DVC's remote; returns DVC's output.

    Raises:
        WorkspaceError: there is no remote, or DVC fails.
    """
    _check_remote(root)
    return _dvc(root, "push", "--all-commits").strip()


def pull(root: Path) -> str:
    """Fetches the outputs in dvc.lock from DVC's remote into the cache and the workspace; returns DVC's output.

    Raises:
        WorkspaceError: there is no remote, or DVC fails.
    """
    _check_remote(root)
    return _dvc(root, "pull", "--force").strip()


def transfer(root: Path, act: str, outputs: Sequence[Mapping[str, str]]) -> str:
    """Sends or fetches outputs of earlier versions between DVC's cache and its remote; returns DVC's output.

    DVC has no command for a lock file that is neither the workspace's nor a commit's. Therefore the outputs are written
    as a pipeline into a temporary folder. Outputs that the remote does not have are skipped.

    Args:
        root: the workspace.
        act: `push` or `fetch`.
        outputs: path -> md5, for each version.
    """
    folder = Path(tempfile.mkdtemp(prefix=".versions-", dir=root))
    try:
        for number, one in enumerate(outputs):
            place = folder / str(number)
            place.mkdir()
            steps = {f"step-{i}": (path, md5) for i, (path, md5) in enumerate(sorted(one.items()))}
            graph = {name: {"cmd": "true", "outs": [path]} for name, (path, _) in steps.items()}
            lock = {
                name: {"cmd": "true", "outs": [{"path": path, "hash": "md5", "md5": md5}]}
                for name, (path, md5) in steps.items()
            }
            # JSON is valid YAML
            write_json(place / "dvc.yaml", {"stages": graph})
            write_json(place / "dvc.lock", {"schema": "2.0", "stages": lock})
        targets = [str(place.relative_to(root) / "dvc.yaml") for place in sorted(folder.iterdir())]
        try:
            return _dvc(root, act, *targets).strip()
        except WorkspaceError:
            if act == "fetch":
                return ""  # DVC fails if one file is missing; the caller checks which files arrived
            raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_remote(root: Path) -> None:
    done = _called(root, "remote", "default")
    if done.returncode or not done.stdout.strip() or done.stdout.startswith("No default"):
        raise WorkspaceError(
            Problem(
                "DVC has no remote to send rows to or fetch them from",
                where=str(root / ".dvc" / "config"),
                found="no default remote",
                wanted="a folder, or an address that DVC supports: ssh://, s3://, gs://",
                do="dvc remote add --default NAME ADDRESS",
            )
        )
