"""Sealed folders: written whole or not at all, and trusted only with a valid marker.

A writer fills a temporary folder next to the destination, flushes every file and a marker with all hashes to disk, and
then renames the folder. A reader checks the marker before it trusts a file.
"""

import hashlib
import json
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from rungwise.core.errors import Problem, WorkspaceError
from rungwise.core.records import Json, canonical_json
from rungwise.core.texts import on_one_line

MARKER = "SEAL.json"
_CONFLICT = "<<<<<<< "
"""The mark at which git begins a conflict in a file."""


def file_digest(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def tree_digests(folder: Path) -> dict[str, str]:
    """Returns relative path (with `/`) -> SHA-256 of every file under `folder` except its marker, sorted."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    named = {p.relative_to(folder).as_posix(): p for p in files}
    return {name: file_digest(path) for name, path in sorted(named.items()) if name != MARKER}


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_folder(path: Path, write: Callable[[Path], None]) -> None:
    """Calls `write` with an empty folder, seals the folder and puts it at `path`.

    An older folder at `path` stays until the new one is complete; if `write` raises, nothing changes. A crash between
    the two renames leaves no `path`, never a half-written one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.part"
    part.mkdir()
    try:
        write(part)
        (part / MARKER).write_text(canonical_json(tree_digests(part)) + "\n", encoding="utf-8")
        for entry in part.rglob("*"):
            _flush(entry)
        _flush(part)
        old = part.with_suffix(".old")
        if path.exists():
            path.rename(old)
        try:
            part.rename(path)
        except OSError:
            if not is_sealed(path):  # otherwise another writer was faster, and its folder is as good
                raise
        _flush(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def sweep(parent: Path, name: str = "*") -> None:
    """Removes the temporary folders of killed writers of `parent/name`; hold the workspace's lock when you call it."""
    for pattern in (f".{name}.*.part", f".{name}.*.old"):
        for leftover in parent.glob(pattern):
            shutil.rmtree(leftover, ignore_errors=True)


def is_sealed(path: Path) -> bool:
    """Whether `path` is a folder whose marker lists exactly its files, with their hashes."""
    try:
        expected = json.loads((path / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return bool(expected == tree_digests(path))


def check_plain(folder: Path) -> None:
    """Checks that a folder from elsewhere holds only files and folders of its own: a link could lead out of it.

    Raises:
        WorkspaceError: it, or something in it, is a link, a file with a second name, a pipe or a device.
    """
    for path in (folder, *folder.rglob("*")):
        if strange := _not_plain(path.lstat()):
            raise WorkspaceError(
                Problem(
                    "a folder holds something that is not a file",
                    where=on_one_line(str(path)),
                    found=strange,
                    wanted="files and folders only",
                    do="copy the folder again so that links become files (`cp -rL`), if you trust where they lead",
                )
            )


def _not_plain(entry: os.stat_result) -> str:
    """Returns what an entry of a folder is if it is neither a folder nor a file with one name; otherwise empty."""
    if stat.S_ISLNK(entry.st_mode):
        return "a link"
    if stat.S_ISREG(entry.st_mode):
        return "" if entry.st_nlink < 2 else "a file that has another name too (a hard link)"
    return "" if stat.S_ISDIR(entry.st_mode) else "neither a file nor a folder"


def open_sealed(path: Path, made_by: str) -> Path:
    """Returns `path` if it is sealed.

    Args:
        path: the folder.
        made_by: the step that writes it, which the error message names.

    Raises:
        WorkspaceError: the folder is missing, or was changed since it was written.
    """
    if is_sealed(path):
        return path
    if not path.exists():
        raise WorkspaceError(
            Problem(
                "an earlier step was not run yet",
                where=str(path),
                found="nothing",
                wanted=f"the output of the step `{made_by}`",
                do=f"run `rungwise run` (or `dvc repro {made_by}`)",
            )
        )
    state = "its files differ from its marker" if (path / MARKER).is_file() else "an incomplete folder"
    raise WorkspaceError(
        Problem(
            "the output of an earlier step is damaged",
            where=str(path),
            found=state,
            wanted=f"a folder with a valid {MARKER}",
            do=f"run the step `{made_by}` again (`rungwise run`, or `dvc repro {made_by}`)",
        )
    )


def replace_text(path: Path, text: str) -> None:
    """Replaces a file's text in one step, as UTF-8; see `replace_bytes`."""
    replace_bytes(path, text.encode())


def replace_bytes(path: Path, content: bytes) -> None:
    """Replaces a file in one step: a reader sees the old content or the new one, also after a crash or an error.

    A link at `path` is replaced, and what it leads to stays as it is.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        part.unlink(missing_ok=True)
        with part.open("xb") as stream:  # a new file: never through a link
            stream.write(content)
        _flush(part)
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def check_conflicts(path: Path, do: str = "") -> None:
    """Checks that git did not leave the marks of a conflict in a text file; a missing file has none.

    Args:
        path: the file.
        do: what else than resolving the conflict helps.

    Raises:
        WorkspaceError: it did; the error names the line.
    """
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    number = next((n for n, line in enumerate(lines, 1) if line.startswith(_CONFLICT)), None)
    if number:
        raise WorkspaceError(
            Problem(
                "a file has git's conflict marks",
                where=f"{path}, line {number}",
                found=lines[number - 1][:60],
                wanted="the lines of one side, without the marks",
                do=f"resolve the conflict, {do}" if do else "resolve the conflict",
            )
        )


def write_lines(path: Path, lines: str) -> None:
    """Writes text as UTF-8 without translating newlines; creates the parent folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(lines, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Json) -> None:
    """Writes a value as JSON with sorted keys, indented for people; creates the parent folder."""
    write_lines(path, json_text(value))


def json_text(value: Json) -> str:
    """Returns a value as JSON with sorted keys, indented for people."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def read_lines(path: Path) -> Iterator[Json]:
    """Yields the value of each JSON line; only newlines end a line.

    Raises:
        WorkspaceError: a line is not JSON.
    """
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                value = json.loads(line)
            except ValueError:
                where = f"{path}, line {number}"
                raise WorkspaceError(
                    Problem("a line of a file can't be read", where, "no JSON", "JSON lines")
                ) from None
            yield value


def read_json(path: Path) -> Json:
    """Returns the value of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def joined(names: Iterable[str], limit: int = 8) -> str:
    """Returns names as one line for a message: at most `limit` of them, and the number of the others."""
    listed = list(names)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(on_one_line(name) for name in listed[:limit]) + more if listed else "nothing"
