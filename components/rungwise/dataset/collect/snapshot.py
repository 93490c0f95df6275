"""Every source into data/raw, all of its files or none."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rungwise.config import CollectSettings
from rungwise.core.errors import DataError, Problem, RungwiseError
from rungwise.core.folders import file_digest, replace_text
from rungwise.dataset.collect.failures import failed
from rungwise.dataset.collect.files import files
from rungwise.dataset.collect.fingerprints import FINGERPRINTS, fingerprints_text, read_fingerprints
from rungwise.dataset.collect.part import Part
from rungwise.dataset.collect.tables import tables


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
    known = read_fingerprints(record)
    for half in raw.rglob(".*.part"):
        half.unlink(missing_ok=True)  # of a run that was killed
    done = []
    for number, source in enumerate(sources):
        address = _address(source)
        parts: list[Part] = []
        try:
            for part in tables(source, address, root, raw) if source.query else files(source, address, root, raw):
                parts.append(part)
            one = _place(source, raw, record, known, parts)
        except RungwiseError:
            raise
        except Exception as error:  # every file system and database driver has errors of its own
            raise failed(source, address, error) from None
        finally:
            for part in parts:
                part.part.unlink(missing_ok=True)
        done.append(one)
        replace_text(record, fingerprints_text(known))
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
        replace_text(record, fingerprints_text(known))
    orphans = sorted({path for name, value in known.items() if name not in names for path in value["files"]})
    return Collection(tuple(done), tuple(orphans))


def _place(source: CollectSettings, raw: Path, record: Path, known: dict[str, Any], parts: list[Part]) -> Collected:
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
        replace_text(record, fingerprints_text({**known, source.name: mine}))
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
