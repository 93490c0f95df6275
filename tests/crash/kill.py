"""Kills a process at its n-th write, as `sitecustomize` of the processes that a test starts.

RUNGWISE_TEST_KILL is a regular expression for paths. RUNGWISE_TEST_EVENTS is a file that gets a line for each write to such
a path, from all processes together. RUNGWISE_TEST_KILL_AT is the number of the write at which its process is killed: a file
that is opened to be written anew is emptied first, as its first moment is. A rename or removal does not happen any more.
"""

import os
import re
import signal
import sys

_WRITES = os.O_WRONLY | os.O_RDWR
_PATHS = re.compile(os.environ["RUNGWISE_TEST_KILL"])
_EVENTS, _AT = os.environ["RUNGWISE_TEST_EVENTS"], int(os.environ["RUNGWISE_TEST_KILL_AT"])
_busy: list[str] = []


def _path(event: str, arguments: tuple) -> str:
    """Returns the path that an event writes to; empty for other events."""
    if event == "open":
        path, _, flags = arguments
        return str(path) if isinstance(flags, int) and flags & _WRITES and isinstance(path, str) else ""
    return str(arguments[0]) if event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir") else ""


def _watch(event: str, arguments: tuple) -> None:
    if _busy or not (path := _path(event, arguments)) or not _PATHS.search(os.path.abspath(path)):
        return
    _busy.append(event)
    try:
        with open(_EVENTS, "a+") as stream:
            stream.write(f"{os.getpid()} {event} {path}\n")
            stream.seek(0)
            number = len(stream.readlines())
        if number == _AT:
            if event == "open" and arguments[2] & os.O_TRUNC:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644))
            os.kill(os.getpid(), signal.SIGKILL)
    finally:
        _busy.pop()


sys.addaudithook(_watch)
