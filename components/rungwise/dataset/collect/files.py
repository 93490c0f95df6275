"""Files from wherever fsspec reaches."""

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import urlsplit

from rungwise.config import CollectSettings
from rungwise.core.errors import DataError, Problem
from rungwise.dataset.collect.part import Part, write_part

AT_ONCE: Final = 1 << 20
"""Bytes that are copied at a time."""
PATIENCE_SECONDS: Final = 30
"""So long a web server may take to say whether it has a file."""
_PATTERN: Final = frozenset("*?[")


def files(source: CollectSettings, address: str, root: Path, raw: Path) -> Iterator[Part]:
    from fsspec.core import url_to_fs

    is_web = urlsplit(address).scheme in ("http", "https")
    if "://" not in address and "::" not in address:
        address = str(root / Path(address).expanduser())
    system, path = url_to_fs(address)
    marks = _PATTERN - {"?"} if is_web else _PATTERN  # there `?` begins the query
    named, _, query = path.partition("?") if is_web else (path, "", "")
    is_literal = not is_web and bool(set(path) & marks) and system.exists(path)  # a name with brackets in it
    many = bool(set(named) & marks) and not is_literal
    if many:
        names = sorted(name for name in system.glob(path) if not system.isdir(name))
        fixed = itertools.takewhile(lambda part: not set(part) & marks, PurePosixPath(path).parts[:-1])
        base = str(PurePosixPath(*fixed))
    elif (not is_web or named.endswith("/")) and system.isdir(path):
        names, base = sorted(system.find(path)), path
        many = True
    else:
        names, base = [path], str(PurePosixPath(path).parent)
        if not (_is_there(path) if is_web else system.exists(path)):
            names = []
    inner = {name: PurePosixPath(name).relative_to(base).as_posix() if many else "" for name in names}
    # what tools leave behind (.git, .ipynb_checkpoints), and `..`
    shown = [n for n in names if not any(part.startswith(".") for part in PurePosixPath(inner[n]).parts)]
    if not shown:
        raise DataError(
            Problem(
                "a source holds no files",
                where=f"collect: {source.name}",
                found=f"{'hidden files alone' if names else 'nothing'} at {source.from_ or '$' + str(source.url_env)}",
                wanted="a file, a folder or a pattern that meets files",
                do="correct the source's `from`; what was collected before is untouched",
            )
        )
    for name in shown:
        own = PurePosixPath(urlsplit(name).path if is_web else name).name
        into = inner[name] or (own if source.target.endswith("/") else "")
        target = f"{source.target.rstrip('/')}/{into}" if into else source.target
        with system.open(name, "rb") as stream:
            yield write_part(raw, target, iter(functools.partial(stream.read, AT_ONCE), b""))


def _is_there(address: str) -> bool:
    """Whether a web server has the address; False where it says that it does not.

    Raises:
        ConnectionError: it can't be reached, or answers with a failure of its own.
    """
    import requests

    try:
        with requests.get(address, stream=True, timeout=PATIENCE_SECONDS) as answer:
            if answer.status_code in (404, 410):
                return False
            if answer.status_code >= 400:
                raise ConnectionError(f"the server answers with HTTP {answer.status_code}")
    except requests.RequestException as error:
        host = urlsplit(address).netloc.rpartition("@")[2]
        raise ConnectionError(f"the server {host} can't be reached ({type(error).__name__})") from None
    return True
