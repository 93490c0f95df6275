"""The accepted versions of the rows, and what DVC's cache keeps of them.

A version is accepted when a climb was made on it: it adds a line to data/versions.jsonl, and data/versions/ keeps its
profile and the dvc.lock of each climb on it, by which DVC's cache still has its rows. Both belong into git.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rungwise.core.errors import DataError, Problem, WorkspaceError
from rungwise.core.folders import joined, read_lines
from rungwise.workspace.dvc import cache_folder
from rungwise.workspace.layout import Paths


def log(root: Path) -> list[dict[str, Any]]:
    """Returns the accepted versions, oldest first: name, time, rows a task and side, label shares, drift."""
    path = Paths(root).history
    return [dict(line) for line in read_lines(path)] if path.is_file() else []


def resolve(root: Path, name: str) -> str:
    """Returns the accepted version that a name or the beginning of one means; raises DataError."""
    known = [str(line["data_version"]) for line in log(root)]
    found = [version for version in known if name and version.startswith(name)]
    if len(set(found)) != 1:
        raise DataError(
            Problem(
                "there is no such data version" if not found else "the name of a data version is too short",
                where=str(Paths(root).history),
                found=name[:40],
                wanted=f"one of {joined(known)}" if known else "an accepted version: there is none yet",
                do="`rungwise data log` lists them" if known else "`rungwise run` accepts the first",
            )
        )
    return found[0]


def locks_of(root: Path, version: str) -> list[Path]:
    """Returns the lock files of the climbs on a version, the first one first."""
    folder = Paths(root).versions
    more = sorted(folder.glob(f"{version}-*.lock"), key=lambda path: int(path.stem.rpartition("-")[2]))
    return [path for path in (folder / f"{version}.lock", *more) if path.is_file()]


def outputs_of(lock: Path) -> dict[str, str]:
    """Returns output folder -> the md5 by which DVC's cache names it, and `data/raw`, as a lock file says."""
    from ruamel.yaml import YAML

    stages = (YAML(typ="safe", pure=True).load(lock) or {}).get("stages", {})
    entries = [e for stage in stages.values() for part in ("deps", "outs") for e in stage.get(part, [])]
    return {entry["path"]: entry["md5"] for entry in entries if "md5" in entry}


def hashes_of(root: Path, version: str) -> list[str]:
    """Returns the md5 of all that the climbs on a version read and wrote."""
    return list(dict.fromkeys(md5 for lock in locks_of(root, version) for md5 in outputs_of(lock).values()))


def objects_of(cache: Path, hashes: Iterable[str]) -> Iterator[str]:
    """Yields the md5 of objects and of the files in those that are folders."""
    for md5 in hashes:
        yield md5
        listing = cache / md5[:2] / md5[2:]
        if md5.endswith(".dir") and listing.is_file():
            yield from (entry["md5"] for entry in json.loads(listing.read_text(encoding="utf-8")))


def cached(root: Path, version: str, verb: str, name: str, lock: Path | None = None) -> Path:
    """Returns the file of a version's output in DVC's cache, of the climb of `lock`, otherwise of the last one.

    Raises:
        WorkspaceError: it is gone.
    """
    prefix = Paths(root).output(verb).relative_to(root).as_posix()
    cache = cache_folder(root)
    chosen = lock or next(iter(reversed(locks_of(root, version))), None)
    md5 = outputs_of(chosen).get(prefix, "") if chosen else ""
    listing = cache / md5[:2] / md5[2:] if md5 else cache / "none"
    if listing.is_file():
        for entry in json.loads(listing.read_text(encoding="utf-8")):
            found: Path = cache / entry["md5"][:2] / entry["md5"][2:]
            if entry["relpath"] == name and found.is_file():
                return found
    raise WorkspaceError(
        Problem(
            "a version's rows are not in DVC's cache",
            where=f"data version {version}, {prefix}/{name}",
            wanted="what its run put there",
            do="`rungwise data pull` fetches what a remote has",
        )
    )
