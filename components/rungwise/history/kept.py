"""The log of the accepted versions of the rows, and their files in DVC's cache.

A version is accepted after a climb on it: this adds a line to data/versions.jsonl, and to data/versions/ its profile
and the dvc.lock of each climb on it, which names its rows in DVC's cache. Commit both to git.
"""

import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rungwise.core.errors import DataError, Problem, WorkspaceError
from rungwise.core.folders import check_conflicts, joined, read_json
from rungwise.core.logs import read_log
from rungwise.workspace.dvc import cache_folder
from rungwise.workspace.layout import REFUSALS, Paths


def log(root: Path) -> list[dict[str, Any]]:
    """Returns the accepted versions, oldest first: name, time, rows per task and side, label shares, drift."""
    return read_log(Paths(root).history, ("data_version", "when", "rows"))


def resolve(root: Path, name: str) -> str:
    """Returns the accepted version of that name, or whose name begins with it.

    Raises:
        DataError: no version, or more than one, matches.
    """
    known = [str(line["data_version"]) for line in log(root)]
    matching = [version for version in known if name and version.startswith(name)]
    if len(set(matching)) != 1:
        raise DataError(
            Problem(
                "there is no such data version" if not matching else "the name of a data version is too short",
                where=str(Paths(root).history),
                found=name[:40],
                wanted=f"one of {joined(known)}" if known else "an accepted version: there is none yet",
                do="`rungwise data log` lists them" if known else "`rungwise run` accepts the first",
            )
        )
    return matching[0]


def locks_of(root: Path, version: str) -> list[Path]:
    """Returns the lock files of the climbs on a version, oldest first."""
    folder = Paths(root).versions
    more = sorted(folder.glob(f"{version}-*.lock"), key=lambda path: int(path.stem.rpartition("-")[2]))
    return [path for path in (folder / f"{version}.lock", *more) if path.is_file()]


def outputs_of(lock: Path) -> dict[str, str]:
    """Returns folder -> md5 in DVC's cache of the stage outputs, and of data/raw, in a lock file."""
    state = lock.stat()
    return dict(_outputs(lock, state.st_mtime_ns, state.st_size))


@functools.lru_cache(maxsize=4096)  # each version's is read several times
def _outputs(lock: Path, changed_ns: int, size: int) -> Mapping[str, str]:
    del changed_ns, size  # another file of that name is read again
    return {entry["path"]: entry["md5"] for entry in entries_of(lock)}


def entries_of(path: Path) -> list[Mapping[str, Any]]:
    """Returns the entries with an md5 of a lock file, or of a file that tracks one path, if DVC keeps them.

    Raises:
        WorkspaceError: it is damaged.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe").load(path) or {}  # not `pure`: five times as fast
        parts = [content, *(content.get("stages") or {}).values()]
        entries = [e for part in parts for kind in ("deps", "outs") for e in part.get(kind) or []]
        kept = [e for e in entries if "md5" in e and e.get("path") != REFUSALS]
        return [{**e, "path": str(e.get("path", "")), "md5": str(e["md5"])} for e in kept]
    except (YAMLError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        check_conflicts(path)
        raise WorkspaceError(
            Problem(
                "a file of DVC can't be read",
                where=str(path),
                found=" ".join(str(error).split())[:200],
                wanted="the YAML that DVC writes",
                do="restore it from git or a copy; without one, remove it: its rows can't be found any more",
            )
        ) from None


def profile_of(root: Path, version: str) -> dict[str, Any]:
    """Returns task -> profile of an accepted version's rows; empty if the file is missing.

    Raises:
        WorkspaceError: the file is damaged.
    """
    path = Paths(root).versions / f"{version}.json"
    if not path.is_file():
        return {}
    try:
        values = read_json(path)
        return {name: {"all": dict(one["all"]), **one} for name, one in values.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        check_conflicts(path)
        raise WorkspaceError(
            Problem(
                "the profile of a version can't be read",
                where=str(path),
                found=" ".join(str(error).split())[:200],
                wanted="JSON as `rungwise run` wrote it",
                do="restore it from git or a copy; without one, remove it: the version is then not compared",
            )
        ) from None


def hashes_of(root: Path, version: str) -> list[str]:
    """Returns the md5 of everything that the climbs on a version read and wrote."""
    return list(dict.fromkeys(md5 for lock in locks_of(root, version) for md5 in outputs_of(lock).values()))


def objects_of(cache: Path, hashes: Iterable[str]) -> Iterator[str]:
    """Yields each md5, and for a folder the md5 of its files."""
    for md5 in hashes:
        yield md5
        listing = cache / md5[:2] / md5[2:]
        if md5.endswith(".dir") and listing.is_file():
            yield from (entry["md5"] for entry in json.loads(listing.read_text(encoding="utf-8")))


def cached(root: Path, version: str, verb: str, name: str, lock: Path | None = None) -> Path:
    """Returns a file of a version's output in DVC's cache.

    Args:
        root: the workspace's folder.
        version: an accepted version.
        verb: the stage that wrote the output.
        name: the file's path in the output folder.
        lock: the lock file of the climb; None: the last climb on the version.

    Raises:
        WorkspaceError: the cache does not hold the file.
    """
    prefix = Paths(root).output(verb).relative_to(root).as_posix()
    cache = cache_folder(root)
    chosen = lock or next(iter(reversed(locks_of(root, version))), None)
    md5 = outputs_of(chosen).get(prefix, "") if chosen else ""
    listing = cache / md5[:2] / md5[2:] if md5 else cache / "none"
    if listing.is_file():
        for entry in json.loads(listing.read_text(encoding="utf-8")):
            kept: Path = cache / entry["md5"][:2] / entry["md5"][2:]
            if entry["relpath"] == name and kept.is_file():
                return kept
    raise WorkspaceError(
        Problem(
            "a version's rows are not in DVC's cache",
            where=f"data version {version}, {prefix}/{name}",
            wanted="the file that its run stored",
            do="`rungwise data pull` fetches it if the remote has it",
        )
    )
