"""The versions of the rows: which were accepted, what came and went between two, and what a row was used for.

A version is accepted when a climb was made on it: it adds a line to data/versions.jsonl, and data/versions/ keeps its
profile and its dvc.lock, by which DVC's cache still has its rows. Both belong into git. Forgetting and pruning remove
from DVC's cache what no other version needs; copies on a remote are DVC's to remove (`dvc gc --cloud`).
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.config import Settings
from components.dataset.drift import Shift, profile, shifts
from components.dataset.similar import normalised
from components.errors import DataError, WorkspaceError, problem
from components.folders import joined, read_json, read_lines, replace_text, write_json
from components.layout import Paths, settings_of
from components.records import SIDES, canonical_json, counted
from components.table import Table
from components.versions import cache_folder, data_version

COUNTED = (*SIDES, "synthetic")


@dataclass(frozen=True)
class Accepted:
    """What accepting the rows of the last climb came to."""

    version: str
    is_new: bool
    shifts: Mapping[str, tuple[Shift, ...]]
    """Task -> what moved since the version that was accepted before; empty for the first."""


def accept(root: Path) -> Accepted:
    """Adds the version of the rows that were climbed on, unless it is the last one accepted.

    Raises:
        DataError: see `check_drift`.
    """
    settings, paths = settings_of(root), Paths(root)
    version = data_version(paths.output("split"), paths.output("augment"))
    known = log(root)
    if known and known[-1]["data_version"] == version:
        return Accepted(version, False, {})
    profiles = {name: _profiles(root, settings, name) for name in settings.tasks}
    moved = _moved(root, settings, profiles)
    _check(root, settings, version, moved)
    paths.versions.mkdir(parents=True, exist_ok=True)
    write_json(paths.versions / f"{version}.json", profiles)
    lock = root / "dvc.lock"
    if lock.is_file():
        shutil.copyfile(lock, paths.versions / f"{version}.lock")
    line = {
        "data_version": version,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "rows": {
            name: {side: p["rows"] for side, p in sides.items() if side != "all"} for name, sides in profiles.items()
        },
        "labels": {name: sides["all"]["labels"] for name, sides in profiles.items()},
        "drift": {name: [asdict(s) for s in found] for name, found in moved.items()},
    }
    lines = [canonical_json(old) for old in known if old["data_version"] != version]
    replace_text(paths.history, "".join(f"{text}\n" for text in [*lines, canonical_json(line)]))
    return Accepted(version, True, moved)


def check_drift(root: Path) -> None:
    """Checks the rows that were split and augmented, before anything is trained on them.

    Raises:
        DataError: something drifted beyond its threshold and `validate.drift.severity` is `stop`.
    """
    settings, paths = settings_of(root), Paths(root)
    if settings.validate_.drift.severity != "stop" or not log(root):
        return
    version = data_version(paths.output("split"), paths.output("augment"))
    if log(root)[-1]["data_version"] != version:
        profiles = {name: _profiles(root, settings, name) for name in settings.tasks}
        _check(root, settings, version, _moved(root, settings, profiles))


def _moved(root: Path, settings: Settings, profiles: Mapping[str, Any]) -> dict[str, tuple[Shift, ...]]:
    """Returns task -> what moved since the version that was accepted last; empty where there is none."""
    known = log(root)
    path = Paths(root).versions / f"{known[-1]['data_version']}.json" if known else None
    before = read_json(path) if path and path.is_file() else {}
    return {
        name: shifts(settings.validate_.drift, before[name]["all"], profiles[name]["all"])
        for name in settings.tasks
        if name in before
    }


def _check(root: Path, settings: Settings, version: str, moved: Mapping[str, tuple[Shift, ...]]) -> None:
    over = [f"{name}: {s.sentence}" for name, found in moved.items() for s in found if s.is_over]
    if over and settings.validate_.drift.severity == "stop":
        raise DataError(
            problem(
                "the rows drifted from those accepted before",
                where=f"data version {version}, before it {log(root)[-1]['data_version']}",
                found="; ".join(over),
                wanted="shifts within `validate.drift`",
                do="look at `rungwise data log`; if the change is meant, raise the threshold or set `severity: warn`",
            )
        )


def _profiles(root: Path, settings: Settings, task: str) -> dict[str, Any]:
    folder = Paths(root).output("split") / task
    sides = {side: Table.read(folder / f"{side}.jsonl") for side in SIDES}
    sides["synthetic"] = _synthetic(Table.read(Paths(root).output("augment") / task / "train.jsonl"))
    has_labels = settings.tasks[task].answer.format == "label"
    real = Table.of(e for side in SIDES for e in sides[side] if not e.is_synthetic)
    return {"all": profile(real, has_labels=has_labels), **{s: {"rows": len(t)} for s, t in sides.items()}}


def _synthetic(table: Table) -> Table:
    return table.take(i for i, parents in enumerate(table.parents) if parents)


def log(root: Path) -> list[dict[str, Any]]:
    """Returns the accepted versions, oldest first: name, time, rows a task and side, label shares, drift."""
    path = Paths(root).history
    return [dict(line) for line in read_lines(path)] if path.is_file() else []


def _resolve(root: Path, name: str) -> str:
    """Returns the accepted version that a name or the beginning of one means; raises DataError."""
    known = [str(line["data_version"]) for line in log(root)]
    found = [version for version in known if name and version.startswith(name)]
    if len(set(found)) != 1:
        raise DataError(
            problem(
                "there is no such data version" if not found else "the name of a data version is too short",
                where=str(Paths(root).history),
                found=name[:40],
                wanted=f"one of {joined(known)}" if known else "an accepted version: there is none yet",
                do="`rungwise data log` lists them" if known else "`rungwise run` accepts the first",
            )
        )
    return found[0]


def diff(root: Path, old: str, new: str) -> dict[str, Any]:
    """Returns which rows came, went, changed their answer and moved to another side, by task, and what shifted.

    Raises:
        DataError: there is no such version.
        WorkspaceError: DVC's cache does not hold its rows any more.
    """
    first, second = _resolve(root, old), _resolve(root, new)
    settings = settings_of(root)
    profiles = [read_json(Paths(root).versions / f"{version}.json") for version in (first, second)]
    tasks = {}
    for name in settings.tasks:
        if not all(name in p for p in profiles):
            continue
        a, b = (_index(root, version, name) for version in (first, second))
        texts_a, texts_b = ({row.key: row for row in index.values()} for index in (a, b))
        changed = sorted(k for k in texts_a.keys() & texts_b.keys() if texts_a[k].answer != texts_b[k].answer)
        went = [i for i, row in a.items() if i not in b and row.key not in texts_b]
        came = [i for i, row in b.items() if i not in a and row.key not in texts_a]
        moved = [i for i in a.keys() & b.keys() if a[i].side != b[i].side]
        tasks[name] = {
            "came": sorted(came),
            "went": sorted(went),
            "changed": [[texts_a[k].id, texts_b[k].id] for k in changed],
            "moved": {i: f"{a[i].side} -> {b[i].side}" for i in sorted(moved)},
            "came_by_label": counted(b[i].answer for i in came) if profiles[1][name]["all"]["labels"] else {},
            "went_by_label": counted(a[i].answer for i in went) if profiles[0][name]["all"]["labels"] else {},
            "shifts": [
                asdict(s) for s in shifts(settings.validate_.drift, profiles[0][name]["all"], profiles[1][name]["all"])
            ],
        }
    return {"old": first, "new": second, "tasks": tasks}


@dataclass(frozen=True)
class _Row:
    id: str
    side: str
    answer: str
    key: str
    """Source and text, by which a row is known whose answer was changed."""


def _index(root: Path, version: str, task: str) -> dict[str, _Row]:
    rows = {}
    for side in SIDES:
        table = Table.read(_cached(root, version, "split", f"{task}/{side}.jsonl"))
        for id_, answer, source, text in zip(table.id, table.answer, table.source, table.joined(), strict=True):
            rows[id_] = _Row(id_, side, answer, f"{source}\n{normalised(text)}")
    return rows


def _outputs(root: Path, version: str) -> dict[str, str]:
    """Returns output folder -> the md5 by which DVC's cache names it, and `data/raw`, as a version's lock says."""
    from ruamel.yaml import YAML

    lock = Paths(root).versions / f"{version}.lock"
    if not lock.is_file():
        return {}
    stages = (YAML(typ="safe", pure=True).load(lock) or {}).get("stages", {})
    entries = [e for stage in stages.values() for part in ("deps", "outs") for e in stage.get(part, [])]
    return {entry["path"]: entry["md5"] for entry in entries if "md5" in entry}


def _cached(root: Path, version: str, verb: str, name: str) -> Path:
    """Returns the file of a version's output in DVC's cache; raises WorkspaceError where it is gone."""
    prefix = Paths(root).output(verb).relative_to(root).as_posix()
    cache = cache_folder(root)
    md5 = next((m for path, m in _outputs(root, version).items() if path == prefix), "")
    listing = cache / md5[:2] / md5[2:] if md5 else cache / "none"
    if listing.is_file():
        for entry in json.loads(listing.read_text(encoding="utf-8")):
            found: Path = cache / entry["md5"][:2] / entry["md5"][2:]
            if entry["relpath"] == name and found.is_file():
                return found
    raise WorkspaceError(
        problem(
            "a version's rows are not in DVC's cache",
            where=f"data version {version}, {prefix}/{name}",
            wanted="what its run put there",
            do="`rungwise data pull` fetches what a remote has",
        )
    )


def uses(root: Path, row: str) -> dict[str, Any]:
    """Returns where a row, or a row made from it, was used: `{"versions", "attempts", "scored", "adapters", "raw"}`.

    `attempts` were trained on it; `scored` are predictions that hold its answer; `adapters` are registered versions,
    as `TASK/NUMBER`; `raw` says where it stands in the rows as they are now.
    """
    settings = settings_of(root)
    found: dict[str, Any] = {"versions": [], "attempts": [], "scored": [], "adapters": [], "raw": []}
    for line in log(root):
        version = line["data_version"]
        is_used = False
        for name in line["rows"]:
            sides = {side: ("split", f"{name}/{side}.jsonl") for side in SIDES}
            sides["trained"] = ("augment", f"{name}/train.jsonl")
            holds = {}
            for side, (verb, file) in sides.items():
                try:
                    table = Table.read(_cached(root, version, verb, file))
                except WorkspaceError:
                    continue  # pruned: its rows are gone already
                holds[side] = any(row == i or row in p for i, p in zip(table.id, table.parents, strict=True))
            is_used = is_used or any(holds.values())
            if holds.get("trained"):
                climb = json.loads(_cached(root, version, "climb", f"{name}/climb.json").read_text(encoding="utf-8"))
                found["attempts"] += [e["attempt"] for e in climb["evidence"]]
        if is_used:
            found["versions"].append(version)
    found["attempts"] = [a for a in dict.fromkeys(found["attempts"]) if (Paths(root).attempts / f"train-{a}").is_dir()]
    for folder in sorted(Paths(root).attempts.glob("evaluate-*")):
        files = sorted(folder.glob("*.jsonl"))
        if any(line.get("id") == row for file in files for line in read_lines(file)):
            found["scored"].append(folder.name)
    found["adapters"] = list(_adapters(root, settings, found["versions"]))
    for name in settings.tasks:
        path = Paths(root).output("ingest") / name / "examples.jsonl"
        if path.is_file():
            table = Table.read(path)
            found["raw"] += [f"{table.source[i]} line {table.line[i]}" for i, id_ in enumerate(table.id) if id_ == row]
    found["raw"] = list(dict.fromkeys(found["raw"]))
    return found


def _adapters(root: Path, settings: Settings, versions: Sequence[str]) -> Iterator[str]:
    from components.release.registry import Registry

    for task in settings.tasks:
        for version in Registry(root).versions(task):
            if version.tags.get("data_version") in versions:
                yield f"{task}/{version.number}"


def forget(root: Path, row: str) -> dict[str, Any]:
    """Removes what used a row: versions of the rows from DVC's cache, attempts, predictions, registered adapters.

    Returns what `uses` found, and the number of `objects` that went from the cache.

    Raises:
        DataError: the row still stands in the rows as they are now, so that the next run would use it again; or nothing
            used it.
    """
    from components.release.registry import Registry

    found = uses(root, row)
    if found["raw"]:
        raise DataError(
            problem(
                "the row is still among today's rows",
                where=joined(found["raw"]),
                do="delete it from its file in data/raw, `rungwise run`, and forget it then",
            )
        )
    if not any(found[kind] for kind in ("versions", "attempts", "scored")):
        raise DataError(
            problem(
                "no version of the rows holds such a row",
                found=row[:60],
                wanted="a row's id, as `id` in data/ingest/TASK/examples.jsonl",
            )
        )
    for name in found["adapters"]:
        task, _, number = name.partition("/")
        Registry(root).delete(task, int(number))
    for name in [*(f"train-{a}" for a in found["attempts"]), *found["scored"]]:
        shutil.rmtree(Paths(root).attempts / name, ignore_errors=True)
    return {**found, "objects": _drop(root, found["versions"])}


def prune(root: Path, keep: int) -> dict[str, Any]:
    """Removes all but the last `keep` versions of the rows from DVC's cache, never one that a registered version names.

    Returns `{"dropped", "kept", "objects"}`.
    """
    from components.release.registry import Registry

    names = [line["data_version"] for line in log(root)]
    registry = Registry(root)
    named = {v.tags.get("data_version") for task in settings_of(root).tasks for v in registry.versions(task)}
    dropped = [name for name in (names[:-keep] if keep else names) if name not in named]
    return {"dropped": dropped, "kept": [n for n in names if n not in dropped], "objects": _drop(root, dropped)}


def _drop(root: Path, versions: Sequence[str]) -> int:
    """Removes versions from the history, and from DVC's cache what only they need; returns how many objects went."""
    if not versions:
        return 0
    paths, cache = Paths(root), cache_folder(root)
    lines = log(root)
    kept = [line["data_version"] for line in lines if line["data_version"] not in versions]
    needed = set(_objects(cache, _current(root)))
    for version in kept:
        needed |= set(_objects(cache, _outputs(root, version).values()))
    gone = {o for version in versions for o in _objects(cache, _outputs(root, version).values())} - needed
    paths_gone = [path for md5 in gone if (path := cache / md5[:2] / md5[2:]).is_file()]  # data/raw may not be in it
    for path in paths_gone:
        path.unlink()
    replace_text(paths.history, "".join(canonical_json(x) + "\n" for x in lines if x["data_version"] in kept))
    for version in versions:
        for ending in ("json", "lock"):
            (paths.versions / f"{version}.{ending}").unlink(missing_ok=True)
    return len(paths_gone)


def _current(root: Path) -> list[str]:
    """Returns the md5 of all that the workspace's dvc.lock and *.dvc files name now."""
    from ruamel.yaml import YAML

    found = []
    for path in [root / "dvc.lock", *(root / "data").glob("*.dvc")]:
        if path.is_file():
            content = YAML(typ="safe", pure=True).load(path) or {}
            parts = [content, *content.get("stages", {}).values()]
            found += [e["md5"] for part in parts for kind in ("deps", "outs") for e in part.get(kind, []) if "md5" in e]
    return found


def _objects(cache: Path, hashes: Any) -> Iterator[str]:
    """Yields the md5 of objects and of the files in those that are folders."""
    for md5 in hashes:
        yield md5
        listing = cache / md5[:2] / md5[2:]
        if md5.endswith(".dir") and listing.is_file():
            yield from (entry["md5"] for entry in json.loads(listing.read_text(encoding="utf-8")))


def counts_of(line: Mapping[str, Any]) -> str:
    """Returns a version's rows in a few words: `route: 900 train, 300 dev, 300 test`."""
    return "; ".join(
        f"{task}: " + ", ".join(f"{sides[side]} {side}" for side in COUNTED if sides.get(side) or side != "synthetic")
        for task, sides in line["rows"].items()
    )


def top_labels(shares: Mapping[str, float], n: int = 5) -> str:
    """Returns the largest label shares in a few words."""
    named = Counter(shares).most_common(n)
    more = f" and {len(shares) - n} more" if len(shares) > n else ""
    return ", ".join(f"{label} {share:.0%}" for label, share in named) + more
