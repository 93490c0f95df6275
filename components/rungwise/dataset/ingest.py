"""Turns the rows of the sources into Examples or counted Rejections: the first stage.

Reads the files of the task's sources; returns values. A row's id depends on its source, its content and, for equal
rows, their order. Adding other rows never changes it.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from rungwise.config import AnswerSettings, IngestSettings, SourceSettings, SplitSettings, TaskSettings
from rungwise.core.errors import DataError, Problem
from rungwise.core.folders import joined
from rungwise.core.prompts import list_text, object_text, slots
from rungwise.core.records import Example, Rejection, canonical_json
from rungwise.core.table import Table
from rungwise.core.texts import normalised, number_of
from rungwise.dataset.answer_cells import NoAnswer, answer_in, items_in, one_hot_in, option_in, texts_in
from rungwise.dataset.duplicates import Duplicate, deduplicate
from rungwise.dataset.labels import alike, listed, merged
from rungwise.dataset.readers import Bad, Cell, Note, Row, files, rows, text_of
from rungwise.dataset.redact import redactor
from rungwise.dataset.rejections import check_share

_ROLES = {"train", "dev", "test"}


@dataclass(frozen=True)
class Ingested:
    """The result of reading the sources."""

    examples: Table
    rejections: tuple[Rejection, ...]
    duplicates: tuple[Duplicate, ...]
    warnings: tuple[str, ...] = ()
    """What the readers decided or doubt, and labels that look alike, one sentence each without its full stop."""


def ingest(settings: IngestSettings, split: SplitSettings, task: TaskSettings, raw: Path) -> Ingested:
    """Returns the task's rows from the files under `raw`, in the order of sources, files and lines.

    Raises:
        DataError: a file or column is missing, a file is empty, there are no rows, none of a source's rows has an
            answer, or too many rows were rejected.
    """
    rejections: list[Rejection] = []
    times: list[datetime | None] = []
    chosen = [s for s in settings.sources if not task.sources or s.name in task.sources]
    warnings: list[str] = []
    reading = _Reading(task, split, redactor(settings.redact, settings.region), rejections, times, warnings)
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
    if task.answer.format == "label" and (groups := alike(examples.answer)):
        if task.answer.merge_labels:
            examples = replace(examples, answer=merged(examples.answer, groups))
        else:
            warnings.append(f"{listed(groups)}. Set `answer.merge_labels: true` if they are the same")
    is_closed = task.answer.format in ("label", "list")
    result = deduplicate(settings.duplicates, examples, is_closed=is_closed)
    return Ingested(result.examples, (*rejections, *result.rejections), result.duplicates, tuple(warnings))


def placed(
    settings: IngestSettings, split: SplitSettings, task: TaskSettings, raw: Path, wanted: Collection[str]
) -> dict[str, tuple[Path, Example]]:
    """Returns id -> its file and row, for the wanted ids that the files under `raw` hold; dropped duplicates, too.

    Raises:
        DataError: a file or column is missing, or a file is empty.
    """
    chosen = [s for s in settings.sources if not task.sources or s.name in task.sources]
    reading = _Reading(task, split, redactor(settings.redact, settings.region), [], [], [])
    placed_rows: dict[str, tuple[Path, Example]] = {}
    for example in reading.rows(chosen, raw) if wanted else ():
        if example.id in wanted:
            placed_rows[example.id] = (reading.file, example)
            if len(placed_rows) == len(wanted):
                break
    return placed_rows


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
    warnings: list[str]
    file: Path = Path()
    """The file of the row that was yielded last."""

    def rows(self, sources: Sequence[SourceSettings], raw: Path) -> Iterator[Example]:
        """Yields the usable rows and adds the others to `rejections`."""
        seen: Counter[bytes] = Counter()
        extra = [c for c in (self.split.given, self.split.group, self.split.by_time) if c]
        needed = [*slots(self.task.prompt), *self.task.answer.columns()]
        for source in sources:
            own = [*needed, *extra] if source.parents is None else [*needed, source.parents]
            columns = tuple(dict.fromkeys(own))
            n_before, has_rows = len(self.rejections), False
            for path in files(source, raw):
                self.file = path
                for row in rows(source, path, columns):
                    if isinstance(row, Note):
                        self.warnings.append(f"{path.name}, line {row.line}: {row.text}")
                        continue
                    value = self._example(source, row, seen)
                    if isinstance(value, Example):
                        has_rows = True
                        yield value
                    else:
                        self.rejections.append(value)
            lost = self.rejections[n_before:]
            if not has_rows and lost and all(one.reason == "no_answer" for one in lost):
                _refuse_unanswered(source, len(lost), self.task)

    def _example(self, source: SourceSettings, row: Row | Bad, seen: Counter[bytes]) -> Example | Rejection:
        if isinstance(row, Bad):
            return Rejection("ingest", source.name, row.line, row.reason, row.detail)
        task, split = self.task, self.split
        fields: dict[str, str] = {}
        for name in slots(task.prompt):
            text = text_of(row.values[name])
            if not text.strip() and name not in task.optional:
                return Rejection("ingest", source.name, row.line, "no_text", f"column {name} is empty")
            fields[name] = self.redact(text)
        try:
            answer, *references = _answers(task.answer, row.values, self.redact)
        except NoAnswer as error:
            return Rejection("ingest", source.name, row.line, error.reason, error.detail)
        parents = items_in(row.values[source.parents], ";") if source.parents else []
        if source.parents and not parents:
            return Rejection("ingest", source.name, row.line, "no_parents", f"column {source.parents} is empty")
        facts = items_in(row.values[task.answer.facts], task.answer.separator) if task.answer.facts else []
        role = source.role
        if split.given and not parents:
            role_text = text_of(row.values[split.given]).strip()
            if role_text not in _ROLES:
                detail = f"column {split.given} must say train, dev or test"
                return Rejection("ingest", source.name, row.line, "no_side", detail)
            role = role_text  # type: ignore[assignment]  # one of _ROLES, as just checked
        if split.by_time and parents:
            self.times.append(None)
        elif split.by_time:
            time = _time(text_of(row.values[split.by_time]))
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
            facts=tuple(self.redact(fact) for fact in facts),
            references=tuple(references),
        )


def _time(text: str) -> datetime | None:
    """Returns the time, in UTC if it has no time zone; None if the text is not a time."""
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _answers(answer: AnswerSettings, values: Mapping[str, Cell], redact: Callable[[str], str]) -> list[str]:
    """Returns the answer as a model should write it, then further right answers.

    Raises:
        NoAnswer: a column has none.
    """
    if answer.format == "json":
        return [object_text({name: answer_in(field, values, redact) for name, field in answer.fields.items()})]
    if answer.any_of or answer.others:
        return texts_in(answer, values, redact)
    if answer.options:
        return [option_in(answer, values)]
    value = one_hot_in(answer, values) if answer.one_hot else answer_in(answer, values, redact)
    return [value if isinstance(value, str) else list_text(value, answer.separator)]


def _refuse_unanswered(source: SourceSettings, n: int, task: TaskSettings) -> None:
    raise DataError(
        Problem(
            "none of a source's rows has an answer",
            where=f"source {source.name} ({source.path})",
            found=(
                f"{number_of(n, 'row')} whose {joined(task.answer.columns())} is empty, missing or a word for no value"
            ),
            wanted="rows with answers" + (f": they are the {source.role} rows" if source.role else ""),
            do="use the file that has the answers: public sets often keep those of their test rows apart",
        )
    )


def _group(column: str | None, row: Row, fields: dict[str, str]) -> str:
    """Returns the row's lineage group: equal values of the column, otherwise equal normalised texts."""
    if column and (named := text_of(row.values[column])):
        return _short_hash("column:" + named)
    return _short_hash("text:" + canonical_json([normalised(t) for _, t in sorted(fields.items())]))


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
