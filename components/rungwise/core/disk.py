"""Faults of the disk (full, read-only, without permission) as one clear error, wherever they strike."""

import errno
import re
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
    errno.EIO: ("the disk does not work", "check the disk and the system's log"),
}
"""Error number -> what is wrong, and what to do."""
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
        number = _number(cause)
        if number in _FAULTS:
            what, do = _FAULTS[number]
            name = getattr(cause, "filename", None)
            return WorkspaceError(Problem(what, where=str(name or ""), found=str(cause)[:200], do=do))
        cause = cause.__cause__ or getattr(cause, "orig", None)  # SQLAlchemy keeps the database's own error in `orig`
    return None


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
