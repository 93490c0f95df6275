"""Finds what used a row: versions of the rows, attempts, predictions, registered versions, rows made from it."""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rungwise.config import Settings
from rungwise.core.errors import DataError, Problem, WorkspaceError
from rungwise.core.folders import joined, read_json, read_lines
from rungwise.core.records import SIDES
from rungwise.core.table import Table
from rungwise.endpoint.ask import answers_about
from rungwise.history.kept import cached, locks_of, log
from rungwise.workspace.layout import Paths, settings_of


def uses(root: Path, row: str) -> dict[str, Any]:
    """Returns where a row, or a row made from it, was used.

    The keys are `versions` (of the rows, that hold it), `attempts` (trained on it), `scored` (stored predictions and
    answers of the incumbent that are about it), `adapters` (registered versions, as `TASK/NUMBER`), `champions` (tasks
    whose champion is one of them), `raw` (its places in the rows of the last run), `children` (the places of rows made
    from it) and `unseen` (versions that can't be searched, because their rows or climbs are not in DVC's cache).

    Raises:
        DataError: no version holds such a row.
    """
    result: dict[str, Any] = {"versions": [], "attempts": [], "scored": [], "unseen": []}
    has_row = _search(row)
    for line in log(root):
        version, locks = line["data_version"], locks_of(root, line["data_version"])
        is_used = False
        for name in line["rows"]:
            holds = _holding(root, version, name, row, has_row)
            result["unseen"] += [version] if holds is None else []
            is_used = is_used or bool(holds)
            for lock in locks if "trained" in (holds or ()) else ():
                try:
                    path = cached(root, version, "climb", f"{name}/climb.json", lock)
                except WorkspaceError:
                    result["unseen"].append(version)
                    continue
                result["attempts"] += _attempts_of(read_json(path))
        if is_used:
            result["versions"].append(version)
    result["unseen"] = list(dict.fromkeys(result["unseen"]))
    result["attempts"] = list(dict.fromkeys(result["attempts"]))
    for folder in sorted(Paths(root).attempts.glob("evaluate-*")):
        files = [file for file in sorted(folder.glob("*.jsonl")) if has_row(file)]
        if any(line.get("id") == row for file in files for line in read_lines(file)):
            result["scored"].append(folder.name)
    result["scored"] += answers_about(Paths(root).attempts, row)
    result |= _registered(root, settings_of(root), result["versions"]) | _today(root, row)
    if not any(result[kind] for kind in ("versions", "attempts", "scored", "raw", "children")):
        raise no_such_row(root, row, result["unseen"])
    return result


def _attempts_of(climb: Mapping[str, Any]) -> list[str]:
    """Returns the attempts of a recorded climb: its rungs, and those on parts of the rows."""
    points = [point for curve in climb.get("curves", ()) for point in curve["points"]]
    return [one["attempt"] for one in (*climb["evidence"], *points)]


def _search(row: str) -> Callable[[Path], bool]:
    """Returns whether a file has the bytes of a row's id; each file is read once, and most are not parsed then."""
    written = {json.dumps(row, ensure_ascii=is_ascii)[1:-1].encode() for is_ascii in (True, False)}

    @functools.cache
    def has_row(path: Path) -> bool:
        content = path.read_bytes()
        return any(text in content for text in written)

    return has_row


def no_such_row(root: Path, row: str, unseen: Sequence[str]) -> DataError:
    """Returns the error that nothing holds a row; `unseen`: the versions that could not be searched."""
    missing = f"; not searched, because DVC's cache lacks them: {joined(unseen)}" if unseen else ""
    return DataError(
        Problem(
            "no version of the rows holds such a row",
            where=str(Paths(root).history),
            found=row[:60] + missing,
            wanted="a row's id, as `id` in data/ingest/TASK/examples.jsonl",
            do="`rungwise data pull` fetches the rows of the others" if unseen else "",
        )
    )


def _holding(root: Path, version: str, task: str, row: str, has_row: Callable[[Path], bool]) -> list[str] | None:
    """Returns which sides and steps of a version hold a row, or one made from it.

    None: none of those in the cache, which lacks some. A `forget` that was killed leaves such a version.
    """
    sides = {side: ("split", f"{task}/{side}.jsonl") for side in SIDES}
    sides |= {"trained": ("augment", f"{task}/train.jsonl"), "read": ("ingest", f"{task}/examples.jsonl")}
    holds, is_whole = [], True
    for side, (verb, file) in sides.items():
        try:
            path = cached(root, version, verb, file)
        except WorkspaceError:
            is_whole = False
            continue
        if not has_row(path):
            continue
        table = Table.read(path)
        if any(row == i or row in p for i, p in zip(table.id, table.parents, strict=True)):
            holds.append(side)
    return holds if holds or is_whole else None


def _today(root: Path, row: str) -> dict[str, list[str]]:
    """Returns the places of a row, and of rows made from it, in the outputs of the last run."""
    raw: list[str] = []
    children: list[str] = []
    paths = Paths(root)
    for path in sorted(paths.output("ingest").glob("*/examples.jsonl")):
        table = Table.read(path)
        for id_, parents, source, line in zip(table.id, table.parents, table.source, table.line, strict=True):
            raw += [f"{source} line {line}"] if id_ == row else []
            children += [f"{source} line {line}"] if row in parents else []
    if not raw:  # removed from data/raw, but not every stage has run since
        for verb, name in (("validate", "examples"), *(("split", side) for side in SIDES), ("augment", "train")):
            for path in sorted(paths.output(verb).glob(f"*/{name}.jsonl")):
                table = Table.read(path)
                if row in table.id or (verb == "augment" and any(row in parents for parents in table.parents)):
                    raw.append(f"{path.relative_to(root).as_posix()}, which is older than data/raw")
    return {"raw": list(dict.fromkeys(raw)), "children": list(dict.fromkeys(children))}


def _registered(root: Path, settings: Settings, names: Sequence[str]) -> dict[str, list[str]]:
    """Returns the registered versions that were trained on some data versions, and the tasks whose champion is one."""
    from rungwise.release.registry import CHAMPION, Registry

    registry = Registry(root)
    adapters, champions = [], []
    for task in settings.tasks:
        numbers = [v.number for v in registry.versions(task) if v.tags.get("data_version") in names]
        adapters += [f"{task}/{number}" for number in numbers]
        champion = registry.version(task, CHAMPION) if numbers else None
        champions += [task] if champion and champion.number in numbers else []
    return {"adapters": adapters, "champions": champions}
