"""Copies files from any address that fsspec can open."""

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

from rungwise.config import CollectSettings
from rungwise.core.errors import DataError, Problem
from rungwise.dataset.collect.staged import StagedFile, write_staged

CHUNK_BYTES: Final = 1 << 20
"""Bytes that are copied at a time."""
TIMEOUT_SECONDS: Final = 30
"""How long to wait for a web server to answer."""
_WILDCARDS: Final = frozenset("*?[")


def copy_files(source: CollectSettings, address: str, root: Path, raw: Path) -> Iterator[StagedFile]:
    """Yields a copy of each file at the address: a file, a folder or a pattern; hidden files are skipped.

    Relative paths start at `root`.

    Raises:
        DataError: there are no files, or a target is not possible.
        Exception: whatever the file system raises.
    """
    from fsspec.core import url_to_fs

    is_web = urlsplit(address).scheme in ("http", "https")
    if "://" not in address and "::" not in address:
        address = str(root / Path(address).expanduser())
    system, path = url_to_fs(address)
    inner = _inner_paths(system, path, is_web=is_web)
    # skips what tools leave behind (.git, .ipynb_checkpoints), and `..`
    visible = [n for n in inner if not any(part.startswith(".") for part in PurePosixPath(inner[n]).parts)]
    if not visible:
        raise DataError(
            Problem(
                "a source has no files",
                where=f"collect: {source.name}",
                found=f"{'only hidden files' if inner else 'nothing'} at {source.from_ or '$' + str(source.url_env)}",
                wanted="a file, a folder, or a pattern that matches files",
                do="correct the source's `from`; the files collected earlier are unchanged",
            )
        )
    for name in visible:
        own = PurePosixPath(urlsplit(name).path if is_web else name).name
        into = inner[name] or (own if source.target.endswith("/") else "")
        target = f"{source.target.rstrip('/')}/{into}" if into else source.target
        with system.open(name, "rb") as stream:
            yield write_staged(raw, target, iter(functools.partial(stream.read, CHUNK_BYTES), b""))


def _inner_paths(system: Any, path: str, *, is_web: bool) -> dict[str, str]:
    """Returns the name of each file at a path -> its path below the folder or pattern, empty for a single file."""
    wildcards = _WILDCARDS - {"?"} if is_web else _WILDCARDS  # in a web address `?` begins the query
    name = path.partition("?")[0] if is_web else path
    is_literal = not is_web and bool(set(path) & wildcards) and system.exists(path)  # a name that contains brackets
    if set(name) & wildcards and not is_literal:
        names = sorted(name for name in system.glob(path) if not system.isdir(name))
        fixed = itertools.takewhile(lambda part: not set(part) & wildcards, PurePosixPath(path).parts[:-1])
        base = PurePosixPath(*fixed)
    elif (not is_web or name.endswith("/")) and system.isdir(path):
        names, base = sorted(system.find(path)), PurePosixPath(path)
    else:
        return {path: ""} if (_exists_on_web(path) if is_web else system.exists(path)) else {}
    return {name: PurePosixPath(name).relative_to(base).as_posix() for name in names}


def _exists_on_web(address: str) -> bool:
    """Whether a web server has the file; False if it answers 404 or 410.

    Raises:
        ConnectionError: the server can't be reached, or fails.
        PermissionError: it refuses.
    """
    import requests

    try:
        with requests.get(address, stream=True, timeout=TIMEOUT_SECONDS) as answer:
            if answer.status_code in (404, 410):
                return False
            if answer.status_code >= 400:
                is_busy = answer.status_code >= 500 or answer.status_code == 429
                kind = ConnectionError if is_busy else PermissionError
                raise kind(f"the server answers with HTTP {answer.status_code}")
    except requests.RequestException as error:
        host = urlsplit(address).netloc.rpartition("@")[2]
        raise ConnectionError(f"the server {host} can't be reached ({type(error).__name__})") from None
    return True
