"""What a row was used for: versions of the rows, attempts, predictions, registered versions, rows made from it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rungwise.config import Settings
from rungwise.core.errors import DataError, Problem, WorkspaceError
from rungwise.core.folders import joined, read_json, read_lines
from rungwise.core.records import SIDES
from rungwise.core.table import Table
from rungwise.history.kept import cached, locks_of, log
from rungwise.workspace.layout import Paths, settings_of


def uses(root: Path, row: str) -> dict[str, Any]:
    """Returns where a row, or a row made from it, was used.

    `versions` of the rows hold it; `attempts` were trained on it; `scored` are predictions that hold its answer;
    `adapters` are registered versions, as `TASK/NUMBER`, and `champions` the tasks whose champion is among them; `raw`
    says where it stands in the rows as they are now, `children` where rows that were made from it do. `unseen` are
    versions whose rows or climbs are not in DVC's cache, so that nobody can tell.

    Raises:
        DataError: nothing holds such a row.
    """
    found: dict[str, Any] = {"versions": [], "attempts": [], "scored": [], "unseen": []}
    for line in log(root):
        version, locks = line["data_version"], locks_of(root, line["data_version"])
        is_used = False
        for name in line["rows"]:
            holds = _holding(root, version, name, row)
            found["unseen"] += [version] if holds is None else []
            is_used = is_used or bool(holds)
            for lock in locks if "trained" in (holds or ()) else ():
                try:
                    path = cached(root, version, "climb", f"{name}/climb.json", lock)
                except WorkspaceError:
                    found["unseen"].append(version)
                    continue
                found["attempts"] += [e["attempt"] for e in read_json(path)["evidence"]]
        if is_used:
            found["versions"].append(version)
    found["unseen"] = list(dict.fromkeys(found["unseen"]))
    found["attempts"] = list(dict.fromkeys(found["attempts"]))
    for folder in sorted(Paths(root).attempts.glob("evaluate-*")):
        files = sorted(folder.glob("*.jsonl"))
        if any(line.get("id") == row for file in files for line in read_lines(file)):
            found["scored"].append(folder.name)
    found |= _registered(root, settings_of(root), found["versions"]) | _today(root, row)
    if not any(found[kind] for kind in ("versions", "attempts", "scored", "raw", "children")):
        raise no_such_row(root, row, found["unseen"])
    return found


def no_such_row(root: Path, row: str, unseen: Sequence[str]) -> DataError:
    """Returns the error that nothing holds a row; `unseen`: the versions that could not be looked at."""
    missing = f"; not looked at: {joined(unseen)}, which are not in DVC's cache" if unseen else ""
    return DataError(
        Problem(
            "no version of the rows holds such a row",
            where=str(Paths(root).history),
            found=row[:60] + missing,
            wanted="a row's id, as `id` in data/ingest/TASK/examples.jsonl",
            do="`rungwise data pull` fetches the others' rows" if unseen else "",
        )
    )


def _holding(root: Path, version: str, task: str, row: str) -> list[str] | None:
    """Returns which sides and steps of a version hold a row, or one made from it; None where the cache lacks them."""
    sides = {side: ("split", f"{task}/{side}.jsonl") for side in SIDES}
    sides |= {"trained": ("augment", f"{task}/train.jsonl"), "read": ("ingest", f"{task}/examples.jsonl")}
    holds = []
    for side, (verb, file) in sides.items():
        try:
            table = Table.read(cached(root, version, verb, file))
        except WorkspaceError:
            return None
        if any(row == i or row in p for i, p in zip(table.id, table.parents, strict=True)):
            holds.append(side)
    return holds


def _today(root: Path, row: str) -> dict[str, list[str]]:
    """Returns where a row, and rows made from it, stand in the outputs of the last run."""
    raw: list[str] = []
    children: list[str] = []
    paths = Paths(root)
    for path in sorted(paths.output("ingest").glob("*/examples.jsonl")):
        table = Table.read(path)
        for id_, parents, source, line in zip(table.id, table.parents, table.source, table.line, strict=True):
            raw += [f"{source} line {line}"] if id_ == row else []
            children += [f"{source} line {line}"] if row in parents else []
    if not raw:  # gone from data/raw, and not every step was run since
        for verb, name in (("validate", "examples"), *(("split", side) for side in SIDES), ("augment", "train")):
            for path in sorted(paths.output(verb).glob(f"*/{name}.jsonl")):
                table = Table.read(path)
                if row in table.id or (verb == "augment" and any(row in parents for parents in table.parents)):
                    raw.append(f"{path.relative_to(root).as_posix()}, which is older than data/raw")
    return {"raw": list(dict.fromkeys(raw)), "children": list(dict.fromkeys(children))}


def _registered(root: Path, settings: Settings, names: Sequence[str]) -> dict[str, list[str]]:
    """Returns the registered versions of some versions of the rows, and the tasks whose champion is among them."""
    from rungwise.release.registry import CHAMPION, Registry

    registry = Registry(root)
    adapters, champions = [], []
    for task in settings.tasks:
        numbers = [v.number for v in registry.versions(task) if v.tags.get("data_version") in names]
        adapters += [f"{task}/{number}" for number in numbers]
        champion = registry.version(task, CHAMPION) if numbers else None
        champions += [task] if champion and champion.number in numbers else []
    return {"adapters": adapters, "champions": champions}
