"""Removes everything that used a row, or old versions of the rows, from the workspace and DVC's cache.

Objects that another version needs stay in the cache. Copies on a remote are removed by DVC (`dvc gc --cloud`).
"""

import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rungwise.core.errors import DataError, Problem
from rungwise.core.folders import joined, read_json, read_lines, replace_text
from rungwise.core.records import canonical_json
from rungwise.history.kept import entries_of, hashes_of, locks_of, log, objects_of
from rungwise.history.uses import no_such_row, uses
from rungwise.workspace.dvc import cache_folder
from rungwise.workspace.layout import Paths, settings_of

NOTES = ("docs", "audit", "generate")
"""Folders under .rungwise that may hold text of rows: pages, tokens shown by the audit, answers of a server."""


def forget(root: Path, row: str) -> dict[str, Any]:
    """Removes what used a row: versions in DVC's cache, attempts, predictions, registered versions, runs, vectors.

    Returns what `uses` returns, with the number of `objects` removed from the cache, of `runs` removed from the
    registry, and in `left` the places of files that were not removed.

    Raises:
        DataError: the row is still in data/raw or in the last climb, so that it would be used again; or nothing used
            it.
    """
    from rungwise.model.vectors import stored_vectors  # it loads torch, and `data log` imports this module
    from rungwise.release.connection import Connection
    from rungwise.release.ledger import forget_scores
    from rungwise.release.registry import Registry
    from rungwise.release.runs import delete_runs

    result = uses(root, row)
    if result["raw"]:
        raise DataError(
            Problem(
                "the row is still among today's rows",
                where=joined(result["raw"]),
                do="delete it from its file in data/raw, `rungwise run`, and forget it after that",
            )
        )
    if not any(result[kind] for kind in ("versions", "attempts", "scored")):
        raise no_such_row(root, row, result["unseen"])
    still = [path.parent.name for path in Paths(root).output("climb").glob("*/climb.json") if _is_of(path, result)]
    if still:
        raise DataError(
            Problem(
                "the last climb used the row",
                where=f"data/climb: {joined(sorted(still))}",
                wanted="a climb without it",
                do="`rungwise run`, and forget it after that",
            )
        )
    registry = Registry(root)
    left = []
    for name in result["adapters"]:
        task, _, number = name.partition("/")
        left += registry.delete(task, int(number))
    runs, places = delete_runs(Connection(root), result["attempts"], result["versions"])
    for name in [*(f"train-{a}" for a in result["attempts"]), *result["scored"]]:
        place = Paths(root).attempts / name
        place.unlink() if place.is_file() else shutil.rmtree(place, ignore_errors=True)
    for path in Paths(root).incumbent.glob("*/predictions.jsonl"):
        if any(line["id"] == row for line in read_lines(path)):
            shutil.rmtree(path.parent, ignore_errors=True)
    forget_scores(Paths(root).ledger, row)
    for folder in stored_vectors(Paths(root).attempts):  # computed again where they are needed
        shutil.rmtree(folder, ignore_errors=True)
    for name in NOTES:
        shutil.rmtree(root / ".rungwise" / name, ignore_errors=True)
    objects = _drop(root, result["versions"]) + _sweep(root, row)
    return {**result, "objects": objects, "runs": runs, "left": [*left, *places]}


def _is_of(path: Path, result: Mapping[str, Any]) -> bool:
    return any(evidence["attempt"] in result["attempts"] for evidence in read_json(path)["evidence"])


def prune(root: Path, keep: int) -> dict[str, Any]:
    """Removes all but the last `keep` versions of the rows from DVC's cache; a version that the registry names stays.

    Returns `{"dropped", "kept", "objects", "named"}`: the versions removed and left, the number of objects removed, and
    version -> the registered versions that name it, for each old version that stays.
    """
    from rungwise.release.registry import Registry

    names = [line["data_version"] for line in log(root)]
    registry = Registry(root)
    named: defaultdict[str, list[str]] = defaultdict(list)
    for task in settings_of(root).tasks:
        for version in registry.versions(task):
            named[version.tags.get("data_version", "")].append(f"{task}/{version.number}")
    old = names[:-keep] if keep else names
    dropped = [name for name in old if name not in named]
    return {
        "dropped": dropped,
        "kept": [n for n in names if n not in dropped],
        "objects": _drop(root, dropped),
        "named": {name: named[name] for name in old if name in named},
    }


def _drop(root: Path, names: Sequence[str]) -> int:
    """Removes versions from the log, and their objects from DVC's cache; returns the number of objects removed."""
    if not names:
        return 0
    paths, cache = Paths(root), cache_folder(root)
    lines = log(root)
    kept = [line["data_version"] for line in lines if line["data_version"] not in names]
    needed = _needed(root, kept)
    gone = {o for version in names for o in objects_of(cache, hashes_of(root, version))} - needed
    paths_gone = [path for md5 in gone if (path := cache / md5[:2] / md5[2:]).is_file()]  # the cache may lack data/raw
    for path in paths_gone:
        path.unlink()
    replace_text(paths.history, "".join(canonical_json(x) + "\n" for x in lines if x["data_version"] in kept))
    for version in names:
        for path in (paths.versions / f"{version}.json", *locks_of(root, version)):
            path.unlink(missing_ok=True)
    return len(paths_gone)


def _needed(root: Path, names: Sequence[str]) -> set[str]:
    """Returns the md5 of all objects that the workspace or these versions need."""
    hashes = [*_current(root), *(md5 for version in names for md5 in hashes_of(root, version))]
    return set(objects_of(cache_folder(root), hashes))


def _sweep(root: Path, row: str) -> int:
    """Removes a row's objects of runs that were never accepted from DVC's cache; returns the number removed."""
    cache = cache_folder(root)
    needed = _needed(root, [line["data_version"] for line in log(root)])
    others = {f"{path.parent.name}{path.name}": path for path in cache.glob("??/*") if path.is_file()}
    others = {md5: path for md5, path in others.items() if md5 not in needed}
    holding = {md5 for md5, path in others.items() if row.encode() in path.read_bytes()}
    folders = {md5: set(objects_of(cache, [md5])) for md5 in others if md5.endswith(".dir")}
    gone = holding.union(*(inner for inner in folders.values() if inner & holding)) & others.keys()
    for md5 in gone:
        others[md5].unlink()
    return len(gone)


def _current(root: Path) -> list[str]:
    """Returns the md5 of everything that the workspace's dvc.lock and *.dvc files name now."""
    paths = [path for path in (root / "dvc.lock", *(root / "data").glob("*.dvc")) if path.is_file()]
    return [entry["md5"] for path in paths for entry in entries_of(path)]
