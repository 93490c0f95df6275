"""Sends the rows of the accepted versions to DVC's remote, and fetches them."""

from collections.abc import Sequence
from pathlib import Path

from rungwise.core.folders import joined
from rungwise.history.kept import locks_of, log, objects_of, outputs_of
from rungwise.workspace import dvc as versions
from rungwise.workspace.dvc import cache_folder
from rungwise.workspace.layout import Paths


def push(root: Path) -> str:
    """Sends the rows of all commits and accepted versions from DVC's cache to its remote; returns a report.

    Raises:
        WorkspaceError: there is no remote, or it can't be reached.
    """
    lines = [versions.push(root), *_transferred(root, "push")]
    return "\n".join(line for line in lines if line)


def pull(root: Path) -> str:
    """Fetches the rows that dvc.lock and the accepted versions name from DVC's remote; returns a report.

    Raises:
        WorkspaceError: there is no remote, it can't be reached, or it lacks a file that dvc.lock names.
    """
    lines = [versions.pull(root), *_transferred(root, "fetch")]
    return "\n".join(line for line in lines if line)


def _transferred(root: Path, act: str) -> list[str]:
    """Sends or fetches the rows and climbs of the accepted versions; returns a report, line by line."""
    prefix = f"{Paths(root).raw.relative_to(root).as_posix()}"
    cache = cache_folder(root)
    known = {line["data_version"]: locks_of(root, line["data_version"]) for line in log(root)}
    here = {version: _lacks(cache, locks, prefix) for version, locks in known.items()}
    chosen = [v for v, lacking in here.items() if bool(lacking) == (act == "fetch")]
    lines = []
    if outputs := [outputs_of(lock) for version in chosen for lock in known[version]]:
        outs = [{path: md5 for path, md5 in one.items() if path != prefix} for one in outputs]
        lines.append(versions.transfer(root, act, outs))
    lacking = [version for version, locks in known.items() if _lacks(cache, locks, prefix)]
    if lacking:
        what = "the remote lacks some of" if act == "fetch" else "not in the cache here, so not sent:"
        lines.append(f"{what} the rows of {joined(lacking)}")
    return lines


def _lacks(cache: Path, locks: Sequence[Path], prefix: str) -> bool:
    """Whether the cache lacks an object that the stages of these locks wrote."""
    hashes = {md5 for lock in locks for path, md5 in outputs_of(lock).items() if path != prefix}
    return not all((cache / md5[:2] / md5[2:]).is_file() for md5 in objects_of(cache, hashes))
