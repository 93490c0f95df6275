"""Faults of the disk (full, read-only, without permission) as one clear error, wherever they strike."""

import errno
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rungwise.core.errors import Problem, RungwiseError, WorkspaceError

_KEPT = "run again; completed work is kept"
_FAULTS: Final = {
    errno.ENOSPC: ("the disk is full", f"free space on it, and {_KEPT}"),
    errno.EDQUOT: ("the quota of the disk is used up", f"free space on it, and {_KEPT}"),
    errno.EFBIG: ("a file would be larger than the system allows", f"raise the limit (`ulimit -f`), and {_KEPT}"),
    errno.EROFS: ("the disk is read-only", "make it writable, or copy the workspace to another disk"),
    errno.EACCES: ("a permission is missing", "change the permissions, or copy the workspace to a folder of your own"),
    errno.EIO: ("the disk does not work", "check the disk, its free space and the system's log"),
}
"""Error number -> what is wrong, and what to do."""
_TEXTS: Final = {
    **{os.strerror(number): number for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)},
    "database or disk is full": errno.ENOSPC,
    "disk I/O error": errno.EIO,
}
"""Text in a program's messages -> the number that it stands for. A permission may be one of a server, too."""
_SQLITE: Final = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EACCES,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_IOERR: errno.EIO,
}


@contextmanager
def disk_errors() -> Iterator[None]:
    """Raises a WorkspaceError in place of a fault of the disk; also a decorator. Other errors do not change."""
    try:
        yield
    except RungwiseError:
        raise
    except Exception as error:
        if found := disk_error(error):
            raise found from None
        raise


def disk_error(error: BaseException) -> WorkspaceError | None:
    """Returns the error about a fault of the disk that an exception, or one of its causes, reports; else None."""
    cause: BaseException | None = error
    while cause:
        for place, why in _copies(cause):
            if named := disk_error_in(why, place):
                return named
        number = _number(cause)
        if number in _FAULTS:
            what, do = _FAULTS[number]
            name = getattr(cause, "filename", None)
            return WorkspaceError(Problem(what, where=str(name or ""), found=str(cause)[:200], do=do))
        cause = cause.__cause__ or getattr(cause, "orig", None)  # SQLAlchemy keeps the database's own error in `orig`
    return None


def disk_error_in(messages: str, where: str = "") -> WorkspaceError | None:
    """Returns the error about a fault of the disk that a program's messages name; None if they name none.

    `where`: the place if the messages do not have a path.
    """
    for line in messages.splitlines():
        number = next((n for n in _FAULTS if f"[Errno {n}]" in line), None)
        number = number or next((n for text, n in _TEXTS.items() if text in line), None)
        if number is not None:
            what, do = _FAULTS[number]
            path = re.search(r"\[Errno \d+\][^:]*: ['\"]([^'\"]+)['\"]", line)
            place = path[1] if path else where
            return WorkspaceError(Problem(what, where=place, found=" ".join(line.split())[-200:], do=do))
    return None


def _copies(error: BaseException) -> list[tuple[str, str]]:
    """Returns place and message of each file that `shutil.copytree` could not copy."""
    if not isinstance(error, shutil.Error) or not error.args or not isinstance(error.args[0], list):
        return []
    return [(str(target), str(why)) for _, target, why in error.args[0]]


def _number(error: BaseException) -> int | None:
    """Returns the error number of the system; None if it is not a fault of a file."""
    if isinstance(error, OSError):
        number = errno.EACCES if error.errno == errno.EPERM else error.errno
        return None if number == errno.EACCES and error.filename is None else number
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        return _SQLITE.get(code & 0xFF) if code is not None else None
    # safetensors writes files in Rust and gives the number in its text alone
    match = re.search(r"\(os error (\d+)\)", str(error)) if type(error).__name__ == "SafetensorError" else None
    return int(match.group(1)) if match else None
