"""Repairs what a killed DVC leaves: it writes dvc.lock and its list of readers and writers (`rwlock`) in place.

A kill in such a write leaves an empty or cut file, at which every later command of DVC fails. An entry of a killed
process blocks later runs as soon as another process has its id. The caller holds the workspace's lock, and DVC's own
lock is taken here, so that no command of DVC is writing. Format of rwlock:
https://github.com/treeverse/dvc/blob/main/dvc/rwlock.py
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any, Final

from rungwise.core.errors import Problem, WorkspaceBusy
from rungwise.core.folders import check_conflicts, joined, replace_bytes
from rungwise.core.progress import say

KEPT: Final = ".rungwise/dvc.lock"
"""A copy of the last dvc.lock that could be read."""
_DAMAGE: Final = "dvc.lock is damaged, as a killed run or a full disk leaves it"
_WAIT_SECONDS: Final = 20.0
"""How long a run waits for a process of DVC: one that outlived a killed run ends a second after its stage."""


def repair(root: Path, *, waits: bool = True) -> bool:
    """Restores a damaged dvc.lock, and removes the entries of dead processes from DVC's list of readers and writers.

    Without a copy a damaged dvc.lock is removed: its stages run again, and finished attempts are found again. Returns
    whether anything was repaired.

    Args:
        root: the workspace; the caller holds its lock.
        waits: whether to wait for other processes of DVC in this workspace. A stage does not: DVC runs it.

    Raises:
        WorkspaceError: dvc.lock or dvc.yaml has git's conflict marks.
        WorkspaceBusy: another process of DVC is at work and does not end.
    """
    for name, do in (("dvc.lock", "or delete the file: results are found again"), ("dvc.yaml", "")):
        check_conflicts(root / name, do)
    folder = _dvc_folder(root)
    deadline, is_repaired = time.monotonic() + _WAIT_SECONDS, False
    while folder:
        others = ["a process that holds DVC's lock"]
        with _dvc_lock(folder / "tmp" / "lock") as is_held:
            if is_held:
                is_cleared, others = _clear(folder)
                is_repaired = is_repaired or is_cleared or (not others and _repair_lock_file(root))
        if not others or not waits:
            break
        if time.monotonic() >= deadline:
            raise WorkspaceBusy(
                Problem(
                    "DVC is at work in the workspace",
                    where=str(root),
                    found=joined(others),
                    do="wait until it ends, and run again",
                )
            )
        time.sleep(0.2)
    return is_repaired


def is_needed(root: Path) -> bool:
    """Whether dvc.lock is damaged, or DVC's list of readers and writers has entries or can't be read."""
    folder = _dvc_folder(root)
    path = folder / "tmp" / "rwlock" if folder else None
    try:
        entries = json.loads(path.read_text(encoding="utf-8")) if path and path.is_file() else {}
        return any(entries.values()) or is_damaged(root)
    except (ValueError, AttributeError, RecursionError):
        return True


def is_dvc(pid: int) -> bool:
    """Whether a process runs the command `dvc`."""
    import psutil

    try:
        return any(PurePath(part).name == "dvc" for part in psutil.Process(pid).cmdline())
    except psutil.Error:
        return False


def is_damaged(root: Path) -> bool:
    """Whether dvc.lock is there and DVC can't read it."""
    path = root / "dvc.lock"
    return path.is_file() and not _is_whole(path.read_bytes())


def _is_whole(content: bytes) -> bool:
    """Whether this is the content of a dvc.lock that DVC takes, and no line of it is cut off."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError
    from voluptuous import Invalid

    try:
        text = content.decode()
        values = COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe", pure=True).load(text))
    except (YAMLError, Invalid, ValueError, TypeError, AttributeError, RecursionError):
        return False
    return text.endswith("\n") and all(stage["cmd"] for stage in values.get("stages", {}).values())


def _repair_lock_file(root: Path) -> bool:
    """Restores or removes a damaged dvc.lock, or copies a good one; returns whether it was damaged."""
    lock, kept = root / "dvc.lock", root / KEPT
    copy = kept.read_bytes() if kept.is_file() else b""
    if not is_damaged(root):
        if lock.is_file() and copy != (content := lock.read_bytes()):
            kept.parent.mkdir(exist_ok=True)
            replace_bytes(kept, content)
        return False
    if _is_whole(copy):
        replace_bytes(lock, copy)
        say(f"rungwise: {_DAMAGE}; the copy from before it is restored")
    else:
        lock.unlink()
        say(f"rungwise: {_DAMAGE}; it is removed, and results are found again")
    return True


def _clear(folder: Path) -> tuple[bool, list[str]]:
    """Removes the entries of dead processes from rwlock; returns whether there were any, and the processes that live.

    This process and its ancestors do not count.
    """
    path = folder / "tmp" / "rwlock"
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        holders = [info for infos in entries.get("read", {}).values() for info in infos]
        holders += entries.get("write", {}).values()
        commands = {int(info["pid"]): str(info["cmd"]) for info in holders}
    except FileNotFoundError:
        return False, []
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        path.unlink()  # cut off; DVC writes it anew
        return True, []
    alive = {pid for pid, command in commands.items() if _is_at_work(pid, command, folder.parent)}
    if alive != commands.keys():
        replace_bytes(path, json.dumps(_only(entries, alive)).encode())
    own = {os.getpid(), *_ancestors()} if alive else alive
    return alive != commands.keys(), [f"process {pid}: {commands[pid]}" for pid in sorted(alive - own)]


def _only(entries: Mapping[str, Any], alive: set[int]) -> dict[str, Any]:
    """Returns the entries of rwlock that belong to some processes."""
    write = {path: info for path, info in entries.get("write", {}).items() if int(info["pid"]) in alive}
    read = {p: [i for i in infos if int(i["pid"]) in alive] for p, infos in entries.get("read", {}).items()}
    return {"write": write, "read": {path: infos for path, infos in read.items() if infos}}


def _is_at_work(pid: int, command: str, repository: Path) -> bool:
    """Whether the process that wrote an entry lives: process `pid` runs this command, in this repository.

    DVC itself asks only whether a process has this id; ids are given again, in containers at once.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        if not _is_call(command, process.cmdline()):
            return False
        return Path(process.cwd()).resolve().is_relative_to(repository.resolve())
    except psutil.AccessDenied:
        return True
    except (psutil.Error, OSError, ValueError, OverflowError):  # the last two: no process can have this id
        return False


def _is_call(command: str, called: Sequence[str]) -> bool:
    """Whether a process that was called with these arguments wrote `command` into an entry."""
    program, *arguments = command.split(" ")  # DVC records " ".join(sys.argv)
    name = PurePath(program)
    name = name.parent if name.name == "__main__.py" else name
    names = {name.name, name.stem}  # of a module run by `-m` DVC records the file
    is_named = any(PurePath(part).name in names or part.rpartition(".")[2] == name.stem for part in called)
    return is_named and " ".join(called).endswith(" ".join(arguments))


def _ancestors() -> list[int]:
    import psutil

    return [process.pid for process in psutil.Process().parents()]


def _dvc_folder(root: Path) -> Path | None:
    """Returns the folder `.dvc` of the repository around a workspace; None if there is none."""
    return next((p / ".dvc" for p in (root.resolve(), *root.resolve().parents) if (p / ".dvc").is_dir()), None)


@contextmanager
def _dvc_lock(path: Path) -> Iterator[bool]:
    """Holds DVC's own lock, a lock on the file `.dvc/tmp/lock`; yields False if another process holds it."""
    if not path.is_file():
        yield True  # DVC never ran here
        return
    handle = os.open(path, os.O_RDWR)
    try:
        yield _is_taken(handle)
    finally:
        os.close(handle)


def _is_taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
