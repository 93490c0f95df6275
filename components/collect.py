"""Copies what the sources hold into data/raw, with a fingerprint of every file: the only step that looks outside.

An effect before the DVC graph: `ingest` reads data/raw alone, so that a run depends on what was collected and never
on the weather. A file is written whole or not at all, and one that did not change is not touched. Addresses and
credentials reach neither a message nor the fingerprints.

Files by fsspec (https://filesystem-spec.readthedocs.io), tables by SQLAlchemy (https://docs.sqlalchemy.org).
"""

import functools
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from components.config import CollectSettings
from components.dataset.sources import FINGERPRINTS
from components.errors import DataError, RungwiseError, problem
from components.folders import file_digest, joined, read_json, write_json

AT_ONCE: Final = 1 << 20
"""Bytes that are copied at a time."""
_EXTRAS: Final = {"s3fs": "s3fs", "gcsfs": "gcsfs", "adlfs": "adlfs", "aiohttp": "aiohttp", "paramiko": "paramiko"}


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


def collect(
    sources: tuple[CollectSettings, ...], root: Path, raw: Path, show: Callable[[int, int, str], None]
) -> tuple[Collected, ...]:
    """Snapshots every source into `raw`, in their order; relative addresses start at `root`.

    What a source put there before and no longer holds is removed. A source that fails leaves its files as they were,
    and those after it too.

    Raises:
        DataError: a source can't be read, holds nothing, or an environment variable is missing.
    """
    raw.mkdir(parents=True, exist_ok=True)
    record = raw / FINGERPRINTS
    known: dict[str, Any] = read_json(record) if record.is_file() else {}
    done = []
    for number, source in enumerate(sources):
        address = _address(source)
        try:
            found = _tables(source, address, raw) if source.query else _files(source, address, root, raw)
        except RungwiseError:
            raise
        except Exception as error:  # every file system and database driver has errors of its own
            raise _failed(source, address, error) from None
        before = known.get(source.name, {}).get("files", {})
        gone = [path for path in before if path not in found]
        for path in gone:
            (raw / path).unlink(missing_ok=True)
        changed = [path for path in found if before.get(path) != found[path]]
        origin = source.from_ or f"${source.url_env}"
        done.append(Collected(source.name, origin, found, tuple(sorted([*changed, *gone]))))
        known[source.name] = {"from": origin, "licence": source.licence, "files": found}
        known[source.name] |= {"query": source.query} if source.query else {}
        write_json(record, known)
        show(number + 1, len(sources), "sources")
    kept = {source.name for source in sources}
    write_json(record, {name: value for name, value in known.items() if name in kept})
    return tuple(done)


def _address(source: CollectSettings) -> str:
    if source.from_:
        return source.from_
    address = os.environ.get(source.url_env or "")
    if not address:
        raise DataError(
            problem(
                "a source's address is missing",
                where=f"collect: {source.name}",
                found=f"no environment variable {source.url_env}",
                wanted="the address, such as postgresql://user:password@host/database",
                do=f"set it: export {source.url_env}=...",
            )
        )
    return address


def _files(source: CollectSettings, address: str, root: Path, raw: Path) -> dict[str, dict[str, Any]]:
    from fsspec.core import url_to_fs

    if "://" not in address and "::" not in address:
        address = str(root / Path(address).expanduser())
    system, path = url_to_fs(address)
    many = "*" in path or "?" in path or "[" in path
    if many:
        names = sorted(name for name in system.glob(path) if not system.isdir(name))
        fixed = itertools.takewhile(lambda part: not set(part) & set("*?["), PurePosixPath(path).parts[:-1])
        base = str(PurePosixPath(*fixed))
    elif system.isdir(path):
        names, base = sorted(system.find(path)), path
        many = True
    else:
        names, base = [path], str(PurePosixPath(path).parent)
        if not system.exists(path):
            names = []
    if not names:
        raise DataError(
            problem(
                "a source holds no files",
                where=f"collect: {source.name}",
                found=f"nothing at {source.from_ or '$' + str(source.url_env)}",
                wanted="a file, a folder or a pattern that meets files",
                do="correct the source's `from`",
            )
        )
    found = {}
    for name in names:
        inner = PurePosixPath(name).relative_to(base).as_posix() if many else ""
        if any(part.startswith(".") for part in PurePosixPath(inner).parts):
            continue  # what tools leave behind (.git, .ipynb_checkpoints), and `..`
        into = inner or (PurePosixPath(name).name if source.target.endswith("/") else "")
        target = f"{source.target.rstrip('/')}/{into}" if into else source.target
        with system.open(name, "rb") as stream:
            found[target] = _write(raw, target, iter(functools.partial(stream.read, AT_ONCE), b""))
    return found


def _tables(source: CollectSettings, address: str, raw: Path) -> dict[str, dict[str, Any]]:
    from sqlalchemy import create_engine

    engine = create_engine(address)
    try:
        with engine.connect().execution_options(stream_results=True) as connection:
            result = connection.exec_driver_sql(source.query or "")
            names = list(result.keys()) if result.returns_rows else []
            if not names or len(set(names)) != len(names):
                raise DataError(
                    problem(
                        "a query gives no table",
                        where=f"collect: {source.name}",
                        found=joined(names),
                        wanted="columns that each have a name of their own",
                        do="correct the query: `select id, text as body from ...`",
                    )
                )
            lines = (_line(source, dict(zip(names, row, strict=True))) for row in result)
            return {source.target: _write(raw, source.target, lines)}
    finally:
        engine.dispose()


def _line(source: CollectSettings, row: dict[str, Any]) -> bytes:
    for name, value in row.items():
        if isinstance(value, bytes | memoryview):
            raise DataError(
                problem(
                    "a column holds bytes",
                    where=f"collect: {source.name}, column {name}",
                    wanted="text, a number, a date or nothing",
                    do="leave it out of the query, or convert it there",
                )
            )
        if isinstance(value, Decimal) or not isinstance(value, str | int | float | None):
            row[name] = str(value)
    return (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def _write(raw: Path, target: str, pieces: Iterator[bytes]) -> dict[str, Any]:
    """Writes a file whole or not at all, and not where it holds the same already; returns its fingerprint."""
    path = raw / target
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.parent.resolve().is_relative_to(raw.resolve()):
        raise DataError(problem("a target leads out of data/raw", where=str(path), found="a link", do="remove it"))
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
        if not path.is_file() or file_digest(path) != digest.hexdigest():
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return {"bytes": size, "sha256": digest.hexdigest()}


def _failed(source: CollectSettings, address: str, error: Exception) -> DataError:
    """Returns an error that says what went wrong without the address that an environment variable keeps secret."""
    text = " ".join(str(error).split())
    if not source.from_:
        parts = urlsplit(address)
        secrets = [address, parts.netloc, parts.password or "", parts.query, parts.username or "", parts.hostname or ""]
        for secret in sorted({s for part in secrets for s in (part, unquote(part)) if s}, key=len, reverse=True):
            text = text.replace(secret, "...")
    missing = next(
        (package for module, package in _EXTRAS.items() if isinstance(error, ImportError) and module in text), ""
    )
    return DataError(
        problem(
            "a source can't be collected",
            where=f"collect: {source.name}, {source.from_ or '$' + str(source.url_env)}",
            found=f"{type(error).__name__}: {text[:300]}",
            wanted="an address and a query that work" if source.query else "an address that can be read",
            do=f"pip install {missing}"
            if missing
            else "try the address by hand; what was collected before is untouched",
        )
    )
