"""Logs: files with one JSON object a line, which only grow. A killed writer can leave its last line cut off."""

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from rungwise.core.errors import Problem, WorkspaceError
from rungwise.core.folders import check_conflicts
from rungwise.core.records import Json


def read_log(path: Path, keys: tuple[str, ...] = ()) -> list[dict[str, Json]]:
    """Returns a log's objects, oldest first; a missing log is empty, and a last line that was cut off is left out.

    Args:
        path: the log.
        keys: what every object has.

    Raises:
        WorkspaceError: another line is not such an object, or git left the marks of a conflict.
    """
    if not path.is_file():
        return []
    *lines, rest = path.read_bytes().split(b"\n")
    values = [_object(line) for line in lines]
    if (last := _object(rest)) is not None:
        values.append(last)
    result = []
    for number, value in enumerate(values, 1):
        if value is None or not value.keys() >= set(keys):
            check_conflicts(path)
            raise WorkspaceError(
                Problem(
                    "a line of a log can't be read",
                    where=f"{path}, line {number}",
                    found="no JSON object" if value is None else f"an object without {sorted(set(keys) - set(value))}",
                    wanted="one JSON object a line" + (f" with {', '.join(keys)}" if keys else ""),
                    do="restore the file from git or a copy, or correct the line",
                )
            )
        result.append(value)
    return result


def append_log(path: Path, value: Mapping[str, Any]) -> None:
    """Adds an object to a log, on disk when this returns; a last line that was cut off is removed before.

    If the disk is full, the log stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    with path.open("a+b", buffering=0) as stream:
        before = _repaired(stream)
        try:
            if stream.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(stream.fileno())
        except OSError:
            stream.truncate(before)
            raise


def _repaired(stream: BinaryIO) -> int:
    """Makes a log end with a whole line; returns its size in bytes."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - 1))
    if stream.read() in (b"", b"\n"):
        return size
    stream.seek(0)
    content = stream.read()
    whole = content.rfind(b"\n") + 1
    if _object(content[whole:]) is None:
        return stream.truncate(whole)
    return size + stream.write(b"\n")  # only the end of the line is missing


def _object(line: bytes) -> dict[str, Json] | None:
    try:
        value = json.loads(line)
        json.dumps(value)  # deeper than it can be written: no line of ours
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
