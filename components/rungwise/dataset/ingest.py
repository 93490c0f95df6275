"""Turns the rows of the sources into Examples or counted Rejections: the first stage.

Reads the files of the task's sources; returns values. A row's id depends on its source, its content and, for equal
rows, their order. Adding other rows never changes it.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from rungwise.config import AnswerSettings, FieldSettings, IngestSettings, SourceSettings, SplitSettings, TaskSettings
from rungwise.core.errors import DataError, Problem
from rungwise.core.folders import joined
from rungwise.core.prompts import list_text, object_text, parse_list, slots
from rungwise.core.records import Example, Rejection, canonical_json
from rungwise.core.table import Table
from rungwise.core.texts import normalised
from rungwise.dataset.duplicates import Duplicate, deduplicate
from rungwise.dataset.readers import Bad, Row, files, rows
from rungwise.dataset.redact import redactor
from rungwise.dataset.rejections import check_share

_ROLES = {"train", "dev", "test"}


@dataclass(frozen=True)
class Ingested:
    """The result of reading the sources."""

    examples: Table
    rejections: tuple[Rejection, ...]
    duplicates: tuple[Duplicate, ...]


def ingest(settings: IngestSettings, split: SplitSettings, task: TaskSettings, raw: Path) -> Ingested:
    """Returns the task's rows from the files under `raw`, in the order of sources, files and lines.

    Raises:
        DataError: a file or column is missing, a file is empty, there are no rows, or too many rows were rejected.
    """
    rejections: list[Rejection] = []
    times: list[datetime | None] = []
    chosen = [s for s in settings.sources if not task.sources or s.name in task.sources]
    reading = _Reading(task, split, redactor(settings.redact, settings.region), rejections, times)
    examples = Table.of(reading.rows(chosen, raw))
    check_share("ingest", rejections, len(examples) + len(rejections), settings.max_rejected_share)
    if not examples:
        raise DataError(
            Problem(
                "the sources have no rows",
                where=joined([f"{s.name} ({s.path})" for s in chosen]),
                found="0 rows",
                wanted="rows below the header",
            )
        )
    if split.by_time:
        examples = replace(examples, role=_roles_by_time(split, examples, times))
    is_closed = task.answer.format in ("label", "list")
    result = deduplicate(settings.duplicates, examples, is_closed=is_closed)
    return Ingested(result.examples, (*rejections, *result.rejections), result.duplicates)


def _roles_by_time(split: SplitSettings, table: Table, times: Sequence[datetime | None]) -> list[str | None]:
    """Returns each row's side: among rows without a given side the latest are test rows, those before them dev rows.

    Rows with equal times get the same side, so a side may be slightly larger than its share.
    """
    free = sorted(time for time, role in zip(times, table.role, strict=True) if role is None and time is not None)
    if not free:
        return list(table.role)
    test_from = free[min(len(free) - 1, round(len(free) * (1 - split.test)))]
    dev_from = free[min(len(free) - 1, round(len(free) * (1 - split.test - split.dev)))]
    return [
        role or (None if time is None else "test" if time >= test_from else "dev" if time >= dev_from else "train")
        for time, role in zip(times, table.role, strict=True)
    ]


@dataclass
class _Reading:
    """One pass over the sources: what every row needs, and where unusable rows are collected."""

    task: TaskSettings
    split: SplitSettings
    redact: Callable[[str], str]
    rejections: list[Rejection]
    times: list[datetime | None]
    """The time of each yielded row, if the split is by time; None for a synthetic row."""

    def rows(self, sources: Sequence[SourceSettings], raw: Path) -> Iterator[Example]:
        """Yields the usable rows and adds the others to `rejections`."""
        seen: Counter[bytes] = Counter()
        extra = [c for c in (self.split.given, self.split.group, self.split.by_time) if c]
        needed = [*slots(self.task.prompt), *self.task.answer.columns()]
        for source in sources:
            own = [*needed, *extra] if source.parents is None else [*needed, source.parents]
            columns = tuple(dict.fromkeys(own))
            for path in files(source, raw):
                for row in rows(source, path, columns):
                    value = self._example(source, row, seen)
                    if isinstance(value, Example):
                        yield value
                    else:
                        self.rejections.append(value)

    def _example(self, source: SourceSettings, row: Row | Bad, seen: Counter[bytes]) -> Example | Rejection:
        if isinstance(row, Bad):
            return Rejection("ingest", source.name, row.line, row.reason, row.detail)
        task, split = self.task, self.split
        fields: dict[str, str] = {}
        for name in slots(task.prompt):
            text = row.values[name]
            if text is None or not text.strip():
                return Rejection("ingest", source.name, row.line, "no_text", f"column {name} is empty")
            fields[name] = self.redact(text)
        answer, empty = _answer(task.answer, row.values, self.redact)
        if empty:
            return Rejection("ingest", source.name, row.line, "no_answer", f"column {empty} is empty")
        parents = parse_list(row.values[source.parents] or "", ";") if source.parents else []
        if source.parents and not parents:
            return Rejection("ingest", source.name, row.line, "no_parents", f"column {source.parents} is empty")
        facts = row.values[task.answer.facts] if task.answer.facts else None
        role = source.role
        if split.given and not parents:
            role_text = (row.values[split.given] or "").strip()
            if role_text not in _ROLES:
                detail = f"column {split.given} must say train, dev or test"
                return Rejection("ingest", source.name, row.line, "no_side", detail)
            role = role_text  # type: ignore[assignment]  # one of _ROLES, as just checked
        if split.by_time and parents:
            self.times.append(None)
        elif split.by_time:
            time = _time(row.values[split.by_time])
            if time is None:
                detail = f"column {split.by_time} must hold a date or time such as 2026-01-31T09:30"
                return Rejection("ingest", source.name, row.line, "no_time", detail)
            self.times.append(time)
        content = canonical_json([source.name, fields, answer])
        short = hashlib.sha256(content.encode()).digest()[:16]  # a digest, because the content may be long
        seen[short] += 1
        return Example(
            id=_short_hash(f"{content}#{seen[short]}"),
            fields=fields,
            answer=answer,
            source=source.name,
            line=row.line,
            group=_group(None if parents else split.group, row, fields),
            role=role,
            parents=tuple(parents),
            facts=tuple(parse_list(self.redact(facts or ""), task.answer.separator)),
        )


def _time(text: str | None) -> datetime | None:
    """Returns the time, in UTC if it has no time zone; None if the text is not a time."""
    try:
        time = datetime.fromisoformat((text or "").strip())
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _answer(answer: AnswerSettings, values: Mapping[str, str | None], redact: Callable[[str], str]) -> tuple[str, str]:
    """Returns the answer as a model should write it, and the first empty column (`""` if there is none)."""
    if answer.format != "json":
        text = _field_value(answer, values, redact)
        return str(text) if answer.format != "list" else list_text(text, answer.separator), "" if text else str(
            answer.column
        )
    fields = {name: _field_value(field, values, redact) for name, field in answer.fields.items()}
    empty = next((answer.fields[name].column for name, value in fields.items() if not value), "")
    return object_text(fields), empty


def _field_value(
    field: FieldSettings, values: Mapping[str, str | None], redact: Callable[[str], str]
) -> str | list[str]:
    """Returns the redacted text of a field, or its items if it is a list. Labels are not redacted."""
    text = (values[field.column] or "").strip()
    text = text if field.format == "label" else redact(text)
    return parse_list(text, field.separator) if field.format == "list" else text


def _group(column: str | None, row: Row, fields: dict[str, str]) -> str:
    """Returns the row's lineage group: equal values of the column, otherwise equal normalised texts."""
    if column and (named := row.values[column]):
        return _short_hash("column:" + named)
    return _short_hash("text:" + canonical_json([normalised(t) for _, t in sorted(fields.items())]))


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
