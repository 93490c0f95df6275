"""Compares two accepted versions of the rows: added, removed, changed and moved rows."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rungwise.core.records import SIDES, counted
from rungwise.core.table import Table
from rungwise.core.texts import normalised
from rungwise.dataset.drift import shifts
from rungwise.history.kept import cached, profile_of, resolve
from rungwise.workspace.layout import settings_of


def diff(root: Path, old: str, new: str) -> dict[str, Any]:
    """Returns which rows were added, removed, changed or moved to another side, by task, and the shifts.

    The keys of a task are `came` (ids of added rows), `went` (removed), `changed` (pairs of ids of rows with another
    answer), `edited` (pairs of ids of rows of which only case, spaces or the width of letters changed), `moved` (id ->
    `old side -> new side`), counts by label, and `shifts`. `new_tasks` and `old_tasks` are those of one version only.

    Raises:
        DataError: there is no such version.
        WorkspaceError: DVC's cache does not hold its rows.
    """
    first, second = resolve(root, old), resolve(root, new)
    settings = settings_of(root)
    profiles = [profile_of(root, version) for version in (first, second)]
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


@dataclass(frozen=True)
class _Row:
    id: str
    side: str
    answer: str
    key: str
    """Source and text: they identify a row whose answer was changed."""


def _paired(old: Mapping[str, _Row], new: Mapping[str, _Row]) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    """Returns pairs (old id, new id) of changed rows, the ids of removed rows and those of added rows, all sorted.

    A removed and an added row with the same source and text are a pair. If a text has several such rows, those with
    equal answers are paired first.
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


def _index(root: Path, version: str, task: str) -> dict[str, _Row]:
    rows = {}
    for side in SIDES:
        table = Table.read(cached(root, version, "split", f"{task}/{side}.jsonl"))
        for id_, answer, source, text in zip(table.id, table.answer, table.source, table.joined(), strict=True):
            rows[id_] = _Row(id_, side, answer, f"{source}\n{normalised(text)}")
    return rows
