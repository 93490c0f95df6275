"""Copies what the sources hold into data/raw, with a fingerprint of every file: the only step that looks outside.

An effect before the DVC graph: `ingest` reads data/raw alone, so that a run depends on what was collected and never
on the weather. All files of a source are written beside their places before the first one takes its place; one that
did not change is not touched. Addresses and credentials reach neither a message nor the fingerprints.

Files by fsspec (https://filesystem-spec.readthedocs.io), tables by SQLAlchemy (https://docs.sqlalchemy.org).
"""

import functools
import hashlib
import itertools
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from rungwise.config import CollectSettings
from rungwise.core.errors import DataError, Problem, RungwiseError
from rungwise.core.folders import file_digest, joined, read_json, replace_text
from rungwise.dataset.sources import FINGERPRINTS

AT_ONCE: Final = 1 << 20
"""Bytes that are copied at a time."""
PATIENCE_SECONDS: Final = 30
"""So long a web server may take to say whether it has a file."""
WHOLE: Final = 8
"""A secret of so many characters is masked within words too; a shorter one only as a word of its own."""
LEAST: Final = 4
"""A shorter one is no secret that a message would give away, and would be taken out of plain words."""
_PATTERN: Final = frozenset("*?[")
_DATABASES: Final = ("postgresql", "postgres", "mysql", "mariadb", "sqlite", "mssql", "oracle")
_EXTRAS: Final = {
    **{name: name for name in ("s3fs", "gcsfs", "adlfs", "aiohttp", "paramiko", "pymysql", "psycopg", "oracledb")},
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "pyodbc": "pyodbc",
}
"""Module that may be missing -> the package that brings it; of several in one message the last one."""


@dataclass(frozen=True)
class Collected:
    """What one source held."""

    name: str
    origin: str
    """The address in params.yaml, or the name of the environment variable that holds it."""
    files: dict[str, dict[str, Any]]
    """Path in data/raw -> its `bytes` and `sha256`."""
    changed: tuple[str, ...]
    """The paths that are new, differ from before, or are gone."""


@dataclass(frozen=True)
class Collection:
    """What all sources held."""

    sources: tuple[Collected, ...]
    orphans: tuple[str, ...]
    """Files of sources that params.yaml does not name any more: they stay, and `ingest` may still read them."""


@dataclass(frozen=True)
class _Part:
    """A file that was read whole and waits beside its place."""

    target: str
    part: Path
    print: dict[str, Any]
    """Its `bytes` and `sha256`."""


def collect(
    sources: tuple[CollectSettings, ...], root: Path, raw: Path, show: Callable[[int, int, str], None]
) -> Collection:
    """Snapshots every source into `raw`, in their order; relative addresses start at `root`.

    What a source put there before and no longer holds is removed, unless another source has put a file in its place. A
    source that fails leaves its files as they were, and those after it too. What a source put there that is not named
    any more stays, and is marked `orphaned` in the fingerprints.

    Raises:
        DataError: a source can't be read, holds nothing, would replace a file that `collect` did not write, an
            environment variable is missing, or the fingerprints can't be read.
    """
    raw.mkdir(parents=True, exist_ok=True)
    record = raw / FINGERPRINTS
    known = _known(record)
    for half in raw.rglob(".*.part"):
        half.unlink(missing_ok=True)  # of a run that was killed
    done = []
    for number, source in enumerate(sources):
        address = _address(source)
        parts: list[_Part] = []
        try:
            for part in _tables(source, address, root, raw) if source.query else _files(source, address, root, raw):
                parts.append(part)
            one = _place(source, raw, record, known, parts)
        except RungwiseError:
            raise
        except Exception as error:  # every file system and database driver has errors of its own
            raise _failed(source, address, error) from None
        finally:
            for part in parts:
                part.part.unlink(missing_ok=True)
        done.append(one)
        replace_text(record, _text(known))
        show(number + 1, len(sources), "sources")
    names = {source.name for source in sources}
    owned = {path for one in done for path in one.files}
    for name in [name for name in known if name not in names]:
        left = {path: found for path, found in known[name]["files"].items() if path not in owned}
        left = {path: found for path, found in left.items() if (raw / path).is_file()}
        known[name] = {**known[name], "files": left, "orphaned": True}
        if not left:
            del known[name]
    if known or record.is_file():
        replace_text(record, _text(known))
    orphans = sorted({path for name, value in known.items() if name not in names for path in value["files"]})
    return Collection(tuple(done), tuple(orphans))


def _text(known: dict[str, Any]) -> str:
    return json.dumps(known, sort_keys=True, ensure_ascii=False, indent=1) + "\n"


def _known(record: Path) -> dict[str, Any]:
    """Returns source -> what it put into data/raw before.

    Raises:
        DataError: the fingerprints can't be read.
    """
    if not record.exists():
        return {}
    try:
        known = read_json(record)
        if not all(isinstance(path, str) for value in known.values() for path in value["files"].keys()):
            raise ValueError
        return dict(known)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise DataError(
            Problem(
                "the fingerprints of what was collected can't be read",
                where=str(record),
                wanted="what `rungwise collect` wrote: JSON with the `files` of each source",
                do="restore it (git has it if it was committed); or move it away, and the files that it names too",
            )
        ) from None


def _place(source: CollectSettings, raw: Path, record: Path, known: dict[str, Any], parts: list[_Part]) -> Collected:
    """Gives the files of a source their places and removes what it no longer holds; notes both in `known`."""
    found = {part.target: part.print for part in parts}
    before = known.get(source.name, {}).get("files", {})
    theirs = {path for name, value in known.items() if name != source.name for path in value["files"]}
    for part in parts:
        path = raw / part.target
        is_own = part.target in before or part.target in theirs
        if path.is_dir() or (path.exists() and not is_own and file_digest(path) != part.print["sha256"]):
            raise DataError(
                Problem(
                    "a source would replace what was not collected",
                    where=f"collect: {source.name}, {path}",
                    found="a file that `rungwise collect` did not put there" if path.is_file() else "a folder",
                    wanted="a name that is free in data/raw",
                    do="move it away, or correct the source's `to`",
                )
            )
    if found.keys() - before.keys():  # a kill from here on must not leave files that seem to be the user's own
        mine = {**known.get(source.name, {"from": source.from_}), "files": {**found, **before}}
        replace_text(record, _text({**known, source.name: mine}))
    for part in parts:
        path = raw / part.target
        if not path.is_file() or file_digest(path) != part.print["sha256"]:
            os.replace(part.part, path)
    gone = [path for path in before if path not in found]
    for path in gone:
        if path not in theirs:
            (raw / path).unlink(missing_ok=True)
    changed = [path for path in found if before.get(path) != found[path]]
    origin = source.from_ or f"${source.url_env}"
    for value in (value for name, value in known.items() if name != source.name):
        value["files"] = {path: entry for path, entry in value["files"].items() if path not in found}
    known[source.name] = {"from": origin, "licence": source.licence, "files": found}
    known[source.name] |= {"query": source.query} if source.query else {}
    return Collected(source.name, origin, found, tuple(sorted([*changed, *gone])))


def _address(source: CollectSettings) -> str:
    if source.from_:
        return source.from_
    address = os.environ.get(source.url_env or "")
    if not address:
        raise DataError(
            Problem(
                "a source's address is missing",
                where=f"collect: {source.name}",
                found=f"no environment variable {source.url_env}",
                wanted="the address, such as postgresql://user:password@host/database",
                do=f"set it: export {source.url_env}=...",
            )
        )
    return address


def _files(source: CollectSettings, address: str, root: Path, raw: Path) -> Iterator[_Part]:
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
            yield _write(raw, target, iter(functools.partial(stream.read, AT_ONCE), b""))


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


def _tables(source: CollectSettings, address: str, root: Path, raw: Path) -> Iterator[_Part]:
    from sqlalchemy import create_engine

    engine = create_engine(_rooted(source, address, root))
    try:
        with engine.connect().execution_options(stream_results=True) as connection:
            result = connection.exec_driver_sql(source.query or "")
            names = list(result.keys()) if result.returns_rows else []
            if not names or len(set(names)) != len(names):
                raise DataError(
                    Problem(
                        "a query gives no table",
                        where=f"collect: {source.name}",
                        found=joined(names),
                        wanted="columns that each have a name of their own",
                        do="correct the query: `select id, text as body from ...`",
                    )
                )
            lines = (_line(source, dict(zip(names, row, strict=True))) for row in result)
            part = _write(raw, source.target, lines)
            if not part.print["bytes"]:
                part.part.unlink()
                raise DataError(
                    Problem(
                        "a query gives no rows",
                        where=f"collect: {source.name}",
                        found=f"columns {joined(names)}, and nothing below them",
                        wanted="rows",
                        do="correct the query; what was collected before is untouched",
                    )
                )
            yield part
    finally:
        engine.dispose()


def _rooted(source: CollectSettings, address: str, root: Path) -> Any:
    """Returns an SQLAlchemy address in which SQLite's file starts at the workspace.

    Raises:
        DataError: SQLite's file is not there: it would make an empty one.
    """
    from sqlalchemy.engine import make_url

    url = make_url(address)
    name = url.database
    if not url.drivername.startswith("sqlite") or not name or name == ":memory:" or name.startswith("file:"):
        return url
    path = root / Path(name).expanduser()
    if not path.is_file():
        raise DataError(
            Problem(
                "a source's database is missing",
                where=f"collect: {source.name}",
                found=f"no file {path if source.from_ else 'where $' + str(source.url_env) + ' says'}",
                wanted="an SQLite file; a relative name starts at the workspace",
                do=f"correct the source's `{'from' if source.from_ else 'url_env'}`",
            )
        )
    return url.set(database=str(path))


def _line(source: CollectSettings, row: dict[str, Any]) -> bytes:
    for name, value in row.items():
        if isinstance(value, bytes | memoryview):
            raise DataError(
                Problem(
                    "a column holds bytes",
                    where=f"collect: {source.name}, column {name}",
                    wanted="text, a number, a date or nothing",
                    do="leave it out of the query, or convert it there",
                )
            )
        if isinstance(value, dict | list):
            row[name] = json.dumps(value, ensure_ascii=False, default=str)  # a database's own JSON
        elif isinstance(value, Decimal) or not isinstance(value, str | int | float | None):
            row[name] = str(value)
    return (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def _write(raw: Path, target: str, pieces: Iterator[bytes]) -> _Part:
    """Writes a file whole beside its place, or nothing at all."""
    path = raw / target
    at = next((folder for folder in path.parents if folder.exists()), raw)
    if not path.parent.resolve().is_relative_to(raw.resolve()):
        raise DataError(Problem("a target leads out of data/raw", where=str(path), found="a link", do="remove it"))
    if not at.is_dir():
        raise DataError(
            Problem("a target lies in a file", where=str(path), found=f"{at} is a file", do="correct the source's `to`")
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    digest, size = hashlib.sha256(), 0
    try:
        with part.open("wb") as stream:
            for piece in pieces:
                stream.write(piece)
                digest.update(piece)
                size += len(piece)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return _Part(target, part, {"bytes": size, "sha256": digest.hexdigest()})


def _failed(source: CollectSettings, address: str, error: Exception) -> DataError:
    """Returns an error that says what went wrong without the address that an environment variable keeps secret."""
    text = " ".join(str(error).split())
    if not source.from_:
        text = _masked(text, address)
    missing = next((p for m, p in _EXTRAS.items() if isinstance(error, ImportError) and m in str(error)), "")
    return DataError(
        Problem(
            "a source can't be collected",
            where=f"collect: {source.name}, {source.from_ or '$' + str(source.url_env)}",
            found=f"{type(error).__name__}: {text[:300]}",
            wanted="an address and a query that work" if source.query else "an address that can be read",
            do=f"pip install {missing}" if missing else _advice(source, address),
        )
    )


def _advice(source: CollectSettings, address: str) -> str:
    scheme = address.partition("://")[0].partition("+")[0]
    if not source.query and scheme in _DATABASES:
        return (
            "a database is asked by SQL, and the source has no `query`: give it one, `query: select ... order by ...`"
        )
    return "try the address by hand; what was collected before is untouched"


def _masked(text: str, address: str) -> str:
    """Returns text without the address, its host, its user or its password, but for those of very few characters."""
    rest = address.partition("://")[2]
    place, _, query = re.split(r"[/#]", rest, maxsplit=1)[0].partition("?")
    userinfo, _, host = place.rpartition("@")
    user, _, password = userinfo.partition(":")
    try:  # a password may hold what ends a host elsewhere
        parts = urlsplit(address)
        others = [parts.netloc, parts.password or "", parts.username or "", parts.hostname or "", parts.query]
        others += [value for pair in parts.query.split("&") for value in pair.split("=")[1:]]
    except ValueError:
        others = []
    userinfo_all = rest.rpartition("@")[0]  # up to the last @: a password with a slash is not cut
    secrets = [address, rest, place, userinfo, userinfo_all, user, password, host, host.partition(":")[0], query]
    secrets += [userinfo_all.partition(":")[2], rest.rpartition("@")[2].partition("/")[0], *others]
    every = {secret for part in secrets for secret in (part, unquote(part)) if len(secret) >= LEAST}
    for secret in sorted(every, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "...", text)
        if len(secret) >= WHOLE:
            text = text.replace(secret, "...")
    return text
