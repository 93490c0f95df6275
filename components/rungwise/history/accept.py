"""Adds the rows of the last climb to the accepted versions, with their drift from the version before."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rungwise.config import Settings
from rungwise.core.errors import DataError, Problem
from rungwise.core.folders import json_text, replace_bytes, replace_text
from rungwise.core.records import SIDES, canonical_json
from rungwise.core.table import Table
from rungwise.dataset.drift import Shift, profile, shifts
from rungwise.history.kept import locks_of, log, outputs_of, profile_of
from rungwise.workspace.layout import Paths, data_version, settings_of


@dataclass(frozen=True)
class Accepted:
    """The result of accepting the rows of the last climb."""

    version: str
    """The short name of the rows."""
    is_new: bool
    """Whether the version was added; if not, it was the last one already."""
    shifts: Mapping[str, tuple[Shift, ...]]
    """Task -> shifts since the version accepted before; empty for the first."""


def accept(root: Path) -> Accepted:
    """Adds the data version of the last climb, unless it is the last one accepted; copies the climb's dvc.lock.

    Raises:
        DataError: see `check_drift`.
    """
    settings, paths = settings_of(root), Paths(root)
    version = data_version(root)
    known = log(root)
    if known and known[-1]["data_version"] == version:
        _keep_lock(root, version)
        return Accepted(version, False, {})
    profiles = {name: _profiles(root, settings, name) for name in settings.tasks}
    moved = _moved(root, settings, profiles)
    _check(root, settings, version, moved)
    paths.versions.mkdir(parents=True, exist_ok=True)
    replace_text(paths.versions / f"{version}.json", json_text(profiles))
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
    """Copies the dvc.lock of a climb on a version into data/versions, unless an equal one is there."""
    lock, kept = root / "dvc.lock", locks_of(root, version)
    if not lock.is_file() or any(outputs_of(old) == outputs_of(lock) for old in kept):
        return
    number = len(kept) + 1
    name = f"{version}-{number}.lock" if kept else f"{version}.lock"
    replace_bytes(Paths(root).versions / name, lock.read_bytes())


def check_drift(root: Path) -> None:
    """Checks the drift of the split and augmented rows, before anything is trained on them.

    Raises:
        DataError: a shift exceeds its threshold and `validate.drift.severity` is `stop`.
    """
    settings = settings_of(root)
    if settings.validate_.drift.severity != "stop" or not log(root):
        return
    version = data_version(root)
    if log(root)[-1]["data_version"] != version:
        profiles = {name: _profiles(root, settings, name) for name in settings.tasks}
        _check(root, settings, version, _moved(root, settings, profiles))


def _moved(root: Path, settings: Settings, profiles: Mapping[str, Any]) -> dict[str, tuple[Shift, ...]]:
    """Returns task -> shifts since the version accepted last; empty if there is none."""
    known = log(root)
    before = profile_of(root, known[-1]["data_version"]) if known else {}
    return {
        name: shifts(settings.validate_.drift, before[name]["all"], profiles[name]["all"])
        for name in settings.tasks
        if name in before
    }


def _check(root: Path, settings: Settings, version: str, moved: Mapping[str, tuple[Shift, ...]]) -> None:
    over = [f"{name}: {s.sentence}" for name, found in moved.items() for s in found if s.is_over]
    if over and settings.validate_.drift.severity == "stop":
        raise DataError(
            Problem(
                "the rows drifted from the version accepted before",
                where=f"data version {version}, compared with {log(root)[-1]['data_version']}",
                found="; ".join(over),
                wanted="shifts within `validate.drift`",
                do="see `rungwise data log`; if the change is intended, raise the threshold or set `severity: warn`",
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
