"""Single rows of the last run: where they stand, what became of them, and which rows are like them.

Reads the outputs of the stages, and data/raw for the file of a row and for the texts of dropped duplicates.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from rungwise.config import Settings
from rungwise.core.errors import DataError, Problem
from rungwise.core.folders import joined, open_sealed, read_json, read_lines
from rungwise.core.records import SIDES, Example
from rungwise.core.table import Table
from rungwise.core.texts import on_one_line, visible
from rungwise.dataset.ingest import placed
from rungwise.workspace.layout import Paths, settings_of

SIDE_NAMES: Final[Mapping[str, str]] = {"train": "training", "dev": "validation", "test": "test"}
KIND_NAMES: Final[Mapping[str, str]] = {
    "exact": "exact duplicate",
    "near": "near duplicate",
    "contained": "one text contains the other",
    "contradiction": "equal texts, different answers",
}
"""Kind of a duplicate or leak -> what it is called."""


@dataclass(frozen=True)
class Like:
    """A row that is like another one."""

    id: str
    kind: str
    """A key of KIND_NAMES."""
    similarity: float
    """0 to 1."""


@dataclass(frozen=True)
class Suspicion:
    """A label that may be wrong."""

    suggested: str
    suspicion: float
    """0 to 1, see `dataset.suspects`."""


@dataclass(frozen=True)
class ShownRow:
    """A row of one task."""

    id: str
    task: str
    file: str
    """Relative to the workspace; empty if data/raw does not hold the row any more, or a step made it."""
    source: str
    line: int
    fields: Mapping[str, str]
    """Slot -> text; empty if nothing holds the text any more."""
    answer: str
    side: str
    """`train`, `dev` or `test`; empty if it was dropped."""
    dropped: str = ""
    """The step that dropped it, its reason and the details; empty if it was not dropped."""
    group: str = ""
    references: tuple[str, ...] = ()
    """Further right answers."""
    parents: tuple[str, ...] = ()
    """The ids of the rows that a synthetic row was made from."""
    suspicion: Suspicion | None = None
    like: tuple[Like, ...] = ()

    @property
    def place(self) -> str:
        """The row's file and line; its source, if the file is not known."""
        return f"{self.file or self.source}:{self.line}"


class TaskRows:
    """The rows of a task in the last run, by id."""

    def __init__(self, root: Path, settings: Settings, task: str) -> None:
        """Reads the outputs of the stages before the climb.

        Raises:
            WorkspaceError: not all of them have run.
        """
        self._root, self._settings, self.task = root, settings, task
        folder = {v: open_sealed(Paths(root).output(v), v) / task for v in ("ingest", "validate", "split", "augment")}
        tables = [Table.read(folder["ingest"] / "examples.jsonl"), Table.read(folder["augment"] / "train.jsonl")]
        self._rows = {id_: (table, place) for table in reversed(tables) for place, id_ in enumerate(table.id)}
        self._sides = {i: side for side in SIDES for i in Table.read(folder["split"] / f"{side}.jsonl").id}
        self._sides |= {i: "train" for i in tables[1].id}
        self._rejections: dict[str, Mapping[str, Any]] = {}
        for place in folder.values():
            for line in read_lines(place / "rejections.jsonl"):
                if line["id"]:
                    self._rejections.setdefault(line["id"], line)
        self._report, split = read_json(folder["validate"] / "report.json"), read_json(folder["split"] / "report.json")
        self._suspects = {s["id"]: Suspicion(s["suggested"], s["suspicion"]) for s in self._report["suspects"]}
        self._like: dict[str, list[Like]] = {}
        for pair in (*read_lines(folder["ingest"] / "duplicates.jsonl"), *split["leaks"], *split["dev_in_test"]):
            for one, other in ((pair["id"], pair["other"]), (pair["other"], pair["id"])):
                self._like.setdefault(one, []).append(Like(other, pair["kind"], pair["similarity"]))

    def ids(self, beginning: str) -> list[str]:
        """Returns the known ids that begin with a text, sorted; an id that equals it alone.

        The id of a synthetic row may begin with that of its parent, so that collected rows come first.
        """
        known = {*self._rows, *self._rejections}
        if beginning in known:
            return [beginning]
        matching = sorted(i for i in known if beginning and i.startswith(beginning))
        return [i for i in matching if not self._is_synthetic(i)] or matching

    def shown(self, ids: Collection[str]) -> dict[str, ShownRow]:
        """Returns id -> the row, for known ids; reads data/raw once."""
        settings, raw = self._settings, Paths(self._root).raw
        wanted = {i for i in ids if not self._is_synthetic(i)}
        try:
            places = placed(settings.ingest, settings.split, settings.tasks[self.task], raw, wanted)
        except DataError:  # data/raw is not what the last run read
            places = {}
        return {i: self._row(i, places.get(i)) for i in ids if i in self._rows or i in self._rejections or i in places}

    def _is_synthetic(self, id_: str) -> bool:
        return id_ in self._rows and self._example(id_).is_synthetic

    def _example(self, id_: str) -> Example:
        table, place = self._rows[id_]
        return table[place]

    def _row(self, id_: str, place: tuple[Path, Example] | None) -> ShownRow:
        rejection = self._rejections.get(id_)
        example = self._example(id_) if id_ in self._rows else place[1] if place else None
        if example is None:
            assert rejection is not None  # the caller checked
            row = ShownRow(id_, self.task, "", rejection["source"], rejection["line"], {}, "", "")
        else:
            row = ShownRow(
                id_, self.task, "", example.source, example.line, example.fields, example.answer,
                side=self._sides.get(id_, ""), group=example.group, references=example.references,
                parents=example.parents,
            )  # fmt: skip
        dropped = ""
        if rejection and not row.side:
            details = f" ({rejection['detail']})" if rejection["detail"] else ""
            dropped = f"{rejection['stage']}: {rejection['reason']}{details}"
        file = place[0].relative_to(self._root).as_posix() if place else ""
        like = tuple(dict.fromkeys(self._like.get(id_, ())))
        return replace(row, file=file, dropped=dropped, suspicion=self._suspects.get(id_), like=like)


def find_rows(root: Path, names: Sequence[str]) -> tuple[tuple[ShownRow, ...], dict[str, ShownRow]]:
    """Returns the rows of the last run with these ids, or whose ids begin so, in order; and id -> each row like them.

    A row of several tasks comes once for each.

    Raises:
        DataError: no row, or more than one row of a task, has such an id.
        WorkspaceError: the stages before the climb have not all run.
    """
    settings = settings_of(root)
    tasks = [TaskRows(root, settings, task) for task in settings.tasks]
    rows: list[ShownRow] = []
    like: dict[str, ShownRow] = {}
    for name in names:
        matching = [task.ids(name) for task in tasks]
        if not any(matching) or any(len(ids) > 1 for ids in matching):
            several = [i for ids in matching for i in ids]
            raise DataError(
                Problem(
                    "an id fits several rows" if several else "the last run has no such row",
                    where=str(Paths(root).output("ingest")),
                    found=name[:60] + (f": {joined(several)}" if several else ""),
                    wanted="a row's id, or enough of its beginning",
                    do="reports and `rungwise data docs` name the ids",
                )
            )
        for task, ids in zip(tasks, matching, strict=True):
            for row in task.shown(ids).values():
                rows.append(row)
                like |= task.shown([one.id for one in row.like] + list(row.parents))
    return tuple(rows), like


def rows_text(rows: Sequence[ShownRow], like: Mapping[str, ShownRow]) -> str:
    """Returns rows for a terminal, each with the rows that are like it."""
    return "\n\n".join("\n".join(_lines(row, like)) for row in rows)


def _lines(row: ShownRow, like: Mapping[str, ShownRow]) -> list[str]:
    lines = [f"{row.id}  {row.place}  (task {row.task})", f"  {_fate(row)}", *_texts(row, "  ")]
    if row.suspicion:
        one = row.suspicion
        lines.append(f"  its label may be wrong: perhaps {on_one_line(one.suggested)} (suspicion {one.suspicion:.3f})")
    for other in row.like:
        lines.append(f"  {KIND_NAMES[other.kind]}, similarity {other.similarity:.2f}: {_named(other.id, like)}")
        lines += _texts(like[other.id], "    ") if other.id in like else []
    for parent in row.parents:
        lines.append(f"  made from {_named(parent, like)}")
        lines += _texts(like[parent], "    ") if parent in like else []
    return lines


def _named(id_: str, like: Mapping[str, ShownRow]) -> str:
    return (
        f"{id_}  {like[id_].place}, {_fate(like[id_])}" if id_ in like else f"{id_}, which the last run does not have"
    )


def _fate(row: ShownRow) -> str:
    return f"{SIDE_NAMES[row.side]} row" if row.side else f"dropped by {row.dropped}" if row.dropped else "on no side"


def _texts(row: ShownRow, indent: str) -> list[str]:
    """Returns a row's fields and answer, with the characters that would control a terminal made visible."""
    if not row.fields:
        return [f"{indent}nothing holds its text any more"]
    lines = []
    for name, text in (*row.fields.items(), ("answer", row.answer), *(("or", text) for text in row.references)):
        first, *more = visible(text).split("\n") if text else [""]
        lines += [f"{indent}{name}: {first}", *(f"{indent}  {line}" for line in more)]
    return lines
