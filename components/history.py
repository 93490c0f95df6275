"""The versions of the rows: which were accepted, what came and went between two, and what a row was used for.

A version is accepted when a climb was made on it: it adds a line to data/versions.jsonl, and data/versions/ keeps its
profile and the dvc.lock of each climb on it, by which DVC's cache still has its rows. Both belong into git. Forgetting
and pruning remove from DVC's cache what no other version needs;
a remote's copies are DVC's to remove (`dvc gc --cloud`).
"""

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components import versions
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
    """Adds the version of the rows that were climbed on, unless it is the last one accepted; keeps the climb's lock.

    Raises:
        DataError: see `check_drift`.
    """
    settings, paths = settings_of(root), Paths(root)
    version = data_version(paths.output("split"), paths.output("augment"))
    known = log(root)
    if known and known[-1]["data_version"] == version:
        _keep_lock(root, version)
        return Accepted(version, False, {})
    profiles = {name: _profiles(root, settings, name) for name in settings.tasks}
    moved = _moved(root, settings, profiles)
    _check(root, settings, version, moved)
    paths.versions.mkdir(parents=True, exist_ok=True)
    write_json(paths.versions / f"{version}.json", profiles)
    _keep_lock(root, version)
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


def _keep_lock(root: Path, version: str) -> None:
    """Keeps the dvc.lock of a climb on a version beside those of the climbs before it."""
    lock, kept = root / "dvc.lock", _locks(root, version)
    if not lock.is_file() or any(_outputs(old) == _outputs(lock) for old in kept):
        return
    number = len(kept) + 1
    shutil.copyfile(lock, Paths(root).versions / (f"{version}-{number}.lock" if kept else f"{version}.lock"))


def _locks(root: Path, version: str) -> list[Path]:
    """Returns the lock files of the climbs on a version, the first one first."""
    folder = Paths(root).versions
    more = sorted(folder.glob(f"{version}-*.lock"), key=lambda path: int(path.stem.rpartition("-")[2]))
    return [path for path in (folder / f"{version}.lock", *more) if path.is_file()]


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

    `edited` are rows of which only letters' case, spaces or the width of letters changed. `new_tasks` and `old_tasks`
    are those that only one of the versions has.

    Raises:
        DataError: there is no such version.
        WorkspaceError: DVC's cache does not hold its rows any more.
    """
    first, second = _resolve(root, old), _resolve(root, new)
    settings = settings_of(root)
    profiles = [read_json(Paths(root).versions / f"{version}.json") for version in (first, second)]
    tasks = {}
    for name in (name for name in profiles[1] if name in profiles[0]):
        a, b = (_index(root, version, name) for version in (first, second))
        pairs, went, came = _paired(a, b)
        moved = [i for i in a.keys() & b.keys() if a[i].side != b[i].side]
        tasks[name] = {
            "came": came,
            "went": went,
            "changed": [[x, y] for x, y in pairs if a[x].answer != b[y].answer],
            "edited": [[x, y] for x, y in pairs if a[x].answer == b[y].answer],
            "moved": {i: f"{a[i].side} -> {b[i].side}" for i in sorted(moved)},
            "came_by_label": counted(b[i].answer for i in came) if profiles[1][name]["all"]["labels"] else {},
            "went_by_label": counted(a[i].answer for i in went) if profiles[0][name]["all"]["labels"] else {},
            "shifts": [
                asdict(s) for s in shifts(settings.validate_.drift, profiles[0][name]["all"], profiles[1][name]["all"])
            ],
        }
    new_tasks, old_tasks = (sorted(set(profiles[i]) - set(profiles[1 - i])) for i in (1, 0))
    return {"old": first, "new": second, "tasks": tasks, "new_tasks": new_tasks, "old_tasks": old_tasks}


def _paired(old: Mapping[str, "_Row"], new: Mapping[str, "_Row"]) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    """Returns pairs of ids of a row that was changed, and the ids of rows that went and that came, all sorted.

    Of a text that stands there with several answers only as many rows are pairs as lost their id and have a new one:
    first those with equal answers.
    """
    leaving: defaultdict[str, list[str]] = defaultdict(list)
    for i in sorted(old.keys() - new.keys()):
        leaving[old[i].key].append(i)
    pairs, came, waiting = [], [], []
    for j in sorted(new.keys() - old.keys()):
        same = next((i for i in leaving[new[j].key] if old[i].answer == new[j].answer), None)
        if same is None:
            waiting.append(j)
            continue
        leaving[new[j].key].remove(same)
        pairs.append((same, j))
    for j in waiting:
        if left := leaving[new[j].key]:
            pairs.append((left.pop(0), j))
        else:
            came.append(j)
    return sorted(pairs), sorted(i for left in leaving.values() for i in left), came


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


def _outputs(lock: Path) -> dict[str, str]:
    """Returns output folder -> the md5 by which DVC's cache names it, and `data/raw`, as a lock file says."""
    from ruamel.yaml import YAML

    stages = (YAML(typ="safe", pure=True).load(lock) or {}).get("stages", {})
    entries = [e for stage in stages.values() for part in ("deps", "outs") for e in stage.get(part, [])]
    return {entry["path"]: entry["md5"] for entry in entries if "md5" in entry}


def _hashes(root: Path, version: str) -> list[str]:
    """Returns the md5 of all that the climbs on a version read and wrote."""
    return list(dict.fromkeys(md5 for lock in _locks(root, version) for md5 in _outputs(lock).values()))


def _cached(root: Path, version: str, verb: str, name: str, lock: Path | None = None) -> Path:
    """Returns the file of a version's output in DVC's cache, of the climb of `lock`, otherwise of the last one.

    Raises:
        WorkspaceError: it is gone.
    """
    prefix = Paths(root).output(verb).relative_to(root).as_posix()
    cache = cache_folder(root)
    chosen = lock or next(iter(reversed(_locks(root, version))), None)
    md5 = _outputs(chosen).get(prefix, "") if chosen else ""
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
        version, locks = line["data_version"], _locks(root, line["data_version"])
        is_used = False
        for name in line["rows"]:
            holds = _holding(root, version, name, row)
            found["unseen"] += [version] if holds is None else []
            is_used = is_used or bool(holds)
            for lock in locks if "trained" in (holds or ()) else ():
                try:
                    path = _cached(root, version, "climb", f"{name}/climb.json", lock)
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
        raise _no_such_row(root, row, found["unseen"])
    return found


def _no_such_row(root: Path, row: str, unseen: Sequence[str]) -> DataError:
    missing = f"; not looked at: {joined(unseen)}, which are not in DVC's cache" if unseen else ""
    return DataError(
        problem(
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
            table = Table.read(_cached(root, version, verb, file))
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
    from components.release.registry import CHAMPION, Registry

    registry = Registry(root)
    adapters, champions = [], []
    for task in settings.tasks:
        numbers = [v.number for v in registry.versions(task) if v.tags.get("data_version") in names]
        adapters += [f"{task}/{number}" for number in numbers]
        champion = registry.version(task, CHAMPION) if numbers else None
        champions += [task] if champion and champion.number in numbers else []
    return {"adapters": adapters, "champions": champions}


NOTES = ("docs", "audit", "generate")
"""Folders under .rungwise that may hold rows' words: pages, what was shown of tokens, what a server answered."""


def forget(root: Path, row: str) -> dict[str, Any]:
    """Removes what used a row: versions of the rows from DVC's cache, attempts, predictions, registered adapters, runs.

    Returns what `uses` found, the number of `objects` that went from the cache and of `runs` that went from the
    registry, and in `left` the places of their files that could not be removed.

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
        raise _no_such_row(root, row, found["unseen"])
    still = [path.parent.name for path in Paths(root).output("climb").glob("*/climb.json") if _is_of(path, found)]
    if still:
        raise DataError(
            problem(
                "the last climb used the row",
                where=f"data/climb: {joined(sorted(still))}",
                wanted="a climb without it",
                do="`rungwise run`, and forget it then",
            )
        )
    registry = Registry(root)
    left = []
    for name in found["adapters"]:
        task, _, number = name.partition("/")
        left += registry.delete(task, int(number))
    runs, places = registry.delete_runs(found["attempts"], found["versions"])
    for name in [*(f"train-{a}" for a in found["attempts"]), *found["scored"]]:
        shutil.rmtree(Paths(root).attempts / name, ignore_errors=True)
    for name in NOTES:
        shutil.rmtree(root / ".rungwise" / name, ignore_errors=True)
    objects = _drop(root, found["versions"]) + _sweep(root, row)
    return {**found, "objects": objects, "runs": runs, "left": [*left, *places]}


def _is_of(path: Path, found: Mapping[str, Any]) -> bool:
    return any(evidence["attempt"] in found["attempts"] for evidence in read_json(path)["evidence"])


def prune(root: Path, keep: int) -> dict[str, Any]:
    """Removes all but the last `keep` versions of the rows from DVC's cache, never one that a registered version names.

    Returns `{"dropped", "kept", "objects", "named"}`; `named`: version -> the registered versions that keep it.
    """
    from components.release.registry import Registry

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
    known = {line["data_version"]: _locks(root, line["data_version"]) for line in log(root)}
    here = {version: _lacks(cache, locks, prefix) for version, locks in known.items()}
    chosen = [v for v, lacking in here.items() if bool(lacking) == (act == "fetch")]
    told = []
    if outputs := [_outputs(lock) for version in chosen for lock in known[version]]:
        outs = [{path: md5 for path, md5 in one.items() if path != prefix} for one in outputs]
        told.append(versions.transfer(root, act, outs))
    lacking = [version for version, locks in known.items() if _lacks(cache, locks, prefix)]
    if lacking:
        what = "the remote has not all of" if act == "fetch" else "not here, so not sent:"
        told.append(f"{what} the rows of {joined(lacking)}")
    return told


def _lacks(cache: Path, locks: Sequence[Path], prefix: str) -> bool:
    """Whether the cache lacks something that the locks' steps wrote."""
    hashes = {md5 for lock in locks for path, md5 in _outputs(lock).items() if path != prefix}
    return not all((cache / md5[:2] / md5[2:]).is_file() for md5 in _objects(cache, hashes))


def _drop(root: Path, names: Sequence[str]) -> int:
    """Removes versions from the history, and from DVC's cache what only they need; returns how many objects went."""
    if not names:
        return 0
    paths, cache = Paths(root), cache_folder(root)
    lines = log(root)
    kept = [line["data_version"] for line in lines if line["data_version"] not in names]
    needed = _needed(root, kept)
    gone = {o for version in names for o in _objects(cache, _hashes(root, version))} - needed
    paths_gone = [path for md5 in gone if (path := cache / md5[:2] / md5[2:]).is_file()]  # data/raw may not be in it
    for path in paths_gone:
        path.unlink()
    replace_text(paths.history, "".join(canonical_json(x) + "\n" for x in lines if x["data_version"] in kept))
    for version in names:
        for path in (paths.versions / f"{version}.json", *_locks(root, version)):
            path.unlink(missing_ok=True)
    return len(paths_gone)


def _needed(root: Path, names: Sequence[str]) -> set[str]:
    """Returns the md5 of all objects that the workspace or some versions need."""
    hashes = [*_current(root), *(md5 for version in names for md5 in _hashes(root, version))]
    return set(_objects(cache_folder(root), hashes))


def _sweep(root: Path, row: str) -> int:
    """Removes from DVC's cache what runs that were never accepted left of a row; returns how many objects went."""
    cache = cache_folder(root)
    needed = _needed(root, [line["data_version"] for line in log(root)])
    others = {f"{path.parent.name}{path.name}": path for path in cache.glob("??/*") if path.is_file()}
    others = {md5: path for md5, path in others.items() if md5 not in needed}
    holding = {md5 for md5, path in others.items() if row.encode() in path.read_bytes()}
    folders = {md5: set(_objects(cache, [md5])) for md5 in others if md5.endswith(".dir")}
    gone = holding.union(*(inner for inner in folders.values() if inner & holding)) & others.keys()
    for md5 in gone:
        others[md5].unlink()
    return len(gone)


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
