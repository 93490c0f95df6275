"""Sends the rows of the accepted versions to DVC's remote, and fetches them."""

from collections.abc import Sequence
from pathlib import Path

from rungwise.core.folders import joined
from rungwise.history.kept import locks_of, log, objects_of, outputs_of
from rungwise.workspace import dvc as versions
from rungwise.workspace.dvc import cache_folder
from rungwise.workspace.layout import Paths


def push(root: Path) -> str:
    """Sends what DVC's cache holds of all commits and of all accepted versions to its remote; returns what was done.

    Raises:
        WorkspaceError: there is no remote, or it can't be reached.
    """
    told = versions.push(root)
    parts = [told, *_transferred(root, "push")]
    return "\n".join(part for part in parts if part)


def pull(root: Path) -> str:
    """Fetches what dvc.lock and the accepted versions name from DVC's remote; returns what was done.

    Raises:
        WorkspaceError: there is no remote, or it can't be reached, or it has not what dvc.lock names.
    """
    told = versions.pull(root)
    parts = [told, *_transferred(root, "fetch")]
    return "\n".join(part for part in parts if part)


def _transferred(root: Path, act: str) -> list[str]:
    """Sends or fetches the rows and climbs of the accepted versions; returns what to say about it."""
    prefix = f"{Paths(root).raw.relative_to(root).as_posix()}"
    cache = cache_folder(root)
    known = {line["data_version"]: locks_of(root, line["data_version"]) for line in log(root)}
    here = {version: _lacks(cache, locks, prefix) for version, locks in known.items()}
    chosen = [v for v, lacking in here.items() if bool(lacking) == (act == "fetch")]
    told = []
    if outputs := [outputs_of(lock) for version in chosen for lock in known[version]]:
        outs = [{path: md5 for path, md5 in one.items() if path != prefix} for one in outputs]
        told.append(versions.transfer(root, act, outs))
    lacking = [version for version, locks in known.items() if _lacks(cache, locks, prefix)]
    if lacking:
        what = "the remote has not all of" if act == "fetch" else "not here, so not sent:"
        told.append(f"{what} the rows of {joined(lacking)}")
    return told


def _lacks(cache: Path, locks: Sequence[Path], prefix: str) -> bool:
    """Whether the cache lacks something that the locks' steps wrote."""
    hashes = {md5 for lock in locks for path, md5 in outputs_of(lock).items() if path != prefix}
    return not all((cache / md5[:2] / md5[2:]).is_file() for md5 in objects_of(cache, hashes))
