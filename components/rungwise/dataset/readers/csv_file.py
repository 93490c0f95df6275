"""Reads CSV and TSV files row by row.

CSV: RFC 4180 (https://www.rfc-editor.org/rfc/rfc4180).
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from rungwise.config import SourceSettings
from rungwise.core.errors import DataError, Problem
from rungwise.core.folders import joined
from rungwise.core.texts import number_of
from rungwise.dataset.readers.cells import Cell
from rungwise.dataset.readers.chats import is_chat
from rungwise.dataset.readers.dialect import dialect_of, opened_csv
from rungwise.dataset.readers.exports import is_label_studio, labels_in
from rungwise.dataset.readers.objects import first_key, is_whole_chat, picked, reads_chat
from rungwise.dataset.readers.row import Bad, Note, Row, checked

MAX_FIELD_CHARACTERS: Final = 50_000_000
"""Longest cell. The csv module's default (131,072) is lower than what `validate.max_characters` may allow."""


def csv_rows(source: SourceSettings, path: Path, needed: tuple[str, ...]) -> Iterator[Row | Bad | Note]:
    """Yields the rows of a CSV or TSV file; `line` counts lines of the file.

    Raises:
        DataError: the header can't be read, or a needed column is missing or occurs twice.
    """
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    dialect = dialect_of(source, path)
    if dialect.why:
        yield Note(dialect.line, dialect.why)
    skipped = dialect.n_skipped
    with opened_csv(source, path) as stream:
        reader = csv.reader(stream, **dialect.reader_settings)
        first, line = _header(reader, path), skipped + reader.line_num + 1
        header = first if source.header else [f"[{place}]" for place in range(len(first))]
        is_object = _has_chats(source, header, needed) or _has_paths(source, header, needed)
        is_exported = is_label_studio(header)
        index_of: dict[str, int] = {}
        if not is_object:
            index_of = {name: column_index(source, name, header, path) for name in needed}

        def row(line: int, cells: list[str]) -> Row | Bad:
            if len(cells) > len(header) and not any(cells[len(header) :]):
                cells = cells[: len(header)]  # each row ends in a delimiter
            if len(cells) != len(header):
                reason = "too_many_fields" if len(cells) > len(header) else "too_few_fields"
                return Bad(line, reason, f"{number_of(len(cells), 'field')}, the header has {len(header)}")
            if is_object:
                return picked(source, line, dict(zip(header, cells, strict=True)), needed)
            values: dict[str, Cell] = {name: cells[index] or None for name, index in index_of.items()}
            if is_exported:
                values = {name: labels_in(cell) if isinstance(cell, str) else cell for name, cell in values.items()}
            return checked(line, values)

        if not source.header and first:
            yield row(skipped + 1, first)
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                # an unclosed quote consumes several lines: report each of them
                for lost in range(line, max(line, skipped + reader.line_num) + 1):
                    yield Bad(lost, "bad_csv", f"{error}, from line {line}")
                line = skipped + reader.line_num + 1
                continue
            if any(cells):  # an empty line is not a row, nor one of delimiters alone
                yield row(line, cells)
            line = skipped + reader.line_num + 1


def _has_chats(source: SourceSettings, header: list[str], needed: tuple[str, ...]) -> bool:
    return is_chat(header, source.chat) and any(
        is_whole_chat(source, name) or (reads_chat(source, name) and name not in header) for name in needed
    )


def _has_paths(source: SourceSettings, header: list[str], needed: tuple[str, ...]) -> bool:
    """Whether a needed column is a part of another one, whose cells are JSON."""
    titles = [source.columns.get(name, name) for name in needed]
    return any(title not in header and first_key(title) in header for title in titles)


def columns_of(source: SourceSettings, path: Path) -> list[str]:
    """Returns the names of a CSV file's columns."""
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    with opened_csv(source, path) as stream:
        first = _header(csv.reader(stream, **dialect_of(source, path).reader_settings), path)
    return first if source.header else [f"[{place}]" for place in range(len(first))]


def _header(reader: Any, path: Path) -> list[str]:
    try:
        return list(next(reader, []))
    except csv.Error as error:
        raise DataError(Problem("a header can't be read", where=f"{path}, line 1", found=str(error))) from None


def column_index(source: SourceSettings, name: str, header: list[str], path: Path) -> int:
    """Returns where a column is in the header.

    Raises:
        DataError: it is missing, or occurs twice.
    """
    title = source.columns.get(name, name)
    if header.count(title) == 1:
        return header.index(title)
    do = f"correct the header, the task, or name the column: columns: {{{name}: TITLE}} in source {source.name}"
    if title in header:
        do = "rename one of them in the header"
    for other in (",", ";", "\t", "|"):
        if len(header) == 1 and title in [cell.strip('" ') for cell in header[0].split(other)]:
            do = f"set `delimiter: {json.dumps(other)}` in source {source.name}"
    raise DataError(
        Problem(
            "a column is missing" if title not in header else "a column occurs twice in the header",
            where=f"{path}, line 1",
            found=joined([name[:20] for name in header]),  # without a header this is a row: show only a little of it
            wanted=title,
            do=do,
            setting="columns",
        )
    )
