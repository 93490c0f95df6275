"""Copies every source into data/raw: all files of a source or none.

Reads the `collect` settings, returns what each source held, and updates the fingerprints.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rungwise.config import CollectSettings
from rungwise.core.errors import DataError, Problem, RungwiseError
from rungwise.core.folders import file_digest, replace_text
from rungwise.dataset.collect.failures import collect_error
from rungwise.dataset.collect.files import copy_files
from rungwise.dataset.collect.fingerprints import FINGERPRINTS, fingerprints_text, read_fingerprints
from rungwise.dataset.collect.staged import StagedFile
from rungwise.dataset.collect.tables import copy_table


@dataclass(frozen=True)
class Collected:
    """The files that one source held."""

    name: str
    origin: str
    """The address in params.yaml, or `$NAME` of the environment variable that holds it."""
    files: dict[str, dict[str, Any]]
    """Path in data/raw -> its `bytes` and `sha256`."""
    changed: tuple[str, ...]
    """The paths that are new, changed or removed."""


@dataclass(frozen=True)
class Collection:
    """The result of collecting all sources."""

    sources: tuple[Collected, ...]
    orphans: tuple[str, ...]
    """Files of sources that params.yaml no longer names. They stay, and `ingest` may still read them."""


def collect(
    sources: tuple[CollectSettings, ...], root: Path, raw: Path, show: Callable[[int, int, str], None]
) -> Collection:
    """Copies every source into `raw`, in their order; relative addresses start at `root`.

    A file that a source no longer holds is removed, unless another source wrote a file to the same path. If a source
    fails, its files and those of the sources after it stay unchanged. Files of a source that params.yaml no longer
    names stay, and the fingerprints mark them as `orphaned`. `show` receives the progress.

    Raises:
        DataError: a source can't be read or is empty, it would replace a file that `collect` did not write, an
            environment variable is missing, or the fingerprints can't be read.
    """
    raw.mkdir(parents=True, exist_ok=True)
    record = raw / FINGERPRINTS
    known = read_fingerprints(record)
    for leftover in raw.rglob(".*.part"):
        leftover.unlink(missing_ok=True)  # of a killed run
    collected = []
    for number, source in enumerate(sources):
        address = _address(source)
        staged: list[StagedFile] = []
        copy = copy_table if source.query else copy_files
        try:
            for file in copy(source, address, root, raw):
                staged.append(file)
            one = _replace(source, raw, record, known, staged)
        except RungwiseError:
            raise
        except Exception as error:  # every file system and database driver has its own exceptions
            raise collect_error(source, address, error) from None
        finally:
            for file in staged:
                file.path.unlink(missing_ok=True)
        collected.append(one)
        replace_text(record, fingerprints_text(known))
        show(number + 1, len(sources), "sources")
    orphans = _mark_orphans(known, raw, collected)
    if known or record.is_file():
        replace_text(record, fingerprints_text(known))
    return Collection(tuple(collected), orphans)


def _replace(
    source: CollectSettings, raw: Path, record: Path, known: dict[str, Any], staged: list[StagedFile]
) -> Collected:
    """Moves the staged files of a source to their targets, removes the files it no longer holds, and updates `known`.

    Raises:
        DataError: a target is a folder, or a file that `collect` did not write.
    """
    files = {file.target: file.fingerprint for file in staged}
    before = known.get(source.name, {}).get("files", {})
    others = {path for name, entry in known.items() if name != source.name for path in entry["files"]}
    for file in staged:
        path = raw / file.target
        is_collected = file.target in before or file.target in others
        if path.is_dir() or (path.exists() and not is_collected and not _is_equal(path, file)):
            raise DataError(
                Problem(
                    "a source would replace a file that was not collected",
                    where=f"collect: {source.name}, {path}",
                    found="a file that `rungwise collect` did not write" if path.is_file() else "a folder",
                    wanted="an unused name in data/raw",
                    do="move it away, or correct the source's `to`",
                )
            )
    if files.keys() - before.keys():
        # if the run is killed from here on, the new files must not look like the user's own
        entry = {**known.get(source.name, {"from": source.from_}), "files": {**files, **before}}
        replace_text(record, fingerprints_text({**known, source.name: entry}))
    for file in staged:
        if not (raw / file.target).is_file() or not _is_equal(raw / file.target, file):
            os.replace(file.path, raw / file.target)
    removed = [path for path in before if path not in files]
    for path in removed:
        if path not in others:
            (raw / path).unlink(missing_ok=True)
    changed = [path for path in files if before.get(path) != files[path]]
    origin = source.from_ or f"${source.url_env}"
    for entry in (entry for name, entry in known.items() if name != source.name):
        entry["files"] = {path: value for path, value in entry["files"].items() if path not in files}
    known[source.name] = {"from": origin, "licence": source.licence, "files": files}
    known[source.name] |= {"query": source.query} if source.query else {}
    return Collected(source.name, origin, files, tuple(sorted([*changed, *removed])))


def _is_equal(path: Path, file: StagedFile) -> bool:
    return bool(file_digest(path) == file.fingerprint["sha256"])


def _mark_orphans(known: dict[str, Any], raw: Path, sources: Sequence[Collected]) -> tuple[str, ...]:
    """Marks in `known` the sources that are no longer named, and returns their files that are still there, sorted."""
    names = {source.name for source in sources}
    owned = {path for source in sources for path in source.files}
    for name in [name for name in known if name not in names]:
        files = {
            path: value for path, value in known[name]["files"].items() if path not in owned and (raw / path).is_file()
        }
        known[name] = {**known[name], "files": files, "orphaned": True}
        if not files:
            del known[name]
    return tuple(sorted({path for name, entry in known.items() if name not in names for path in entry["files"]}))


def _address(source: CollectSettings) -> str:
    """Returns the source's address; raises DataError if its environment variable is missing."""
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
