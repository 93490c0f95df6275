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
from rungwise.dataset.readers.chats import COLUMNS, as_prompt_and_completion, is_chat
from rungwise.dataset.readers.row import Bad, Row, checked, encoding_of

MAX_FIELD_CHARACTERS: Final = 50_000_000
"""Longest cell. The csv module's default (131,072) is lower than what `validate.max_characters` may allow."""


def csv_rows(source: SourceSettings, path: Path, needed: tuple[str, ...]) -> Iterator[Row | Bad]:
    """Yields the rows of a CSV or TSV file; `line` counts lines of the file.

    Raises:
        DataError: the header can't be read, or a needed column is missing or occurs twice.
    """
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    delimiter = source.delimiter or ("\t" if path.suffix.lower() == ".tsv" else ",")
    quoting: Any = csv.QUOTE_MINIMAL if source.quotes else csv.QUOTE_NONE
    with path.open(encoding=encoding_of(source), errors="surrogateescape", newline="") as stream:
        reader = csv.reader(stream, delimiter=delimiter, strict=True, quoting=quoting)
        first, line = _header(reader, path), reader.line_num + 1
        header = first if source.header else [f"[{place}]" for place in range(len(first))]
        has_chats = is_chat(header) and any(name in COLUMNS and name not in header for name in needed)
        index_of = {
            name: column_index(source, name, header, path) for name in needed if not has_chats or name not in COLUMNS
        }

        def row(line: int, cells: list[str]) -> Row | Bad:
            if len(cells) != len(header):
                reason = "too_many_fields" if len(cells) > len(header) else "too_few_fields"
                return Bad(line, reason, f"{len(cells)} fields, the header has {len(header)}")
            values: dict[str, str | None] = {name: cells[index] or None for name, index in index_of.items()}
            if has_chats:
                chat = as_prompt_and_completion(dict(zip(header, cells, strict=True))) or {}
                values |= {name: chat.get(name) or None for name in COLUMNS if name in needed}
            return checked(line, values)

        if not source.header and first:
            yield row(1, first)
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                # an unclosed quote consumes several lines: report each of them
                for lost in range(line, max(line, reader.line_num) + 1):
                    yield Bad(lost, "bad_csv", f"{error}, from line {line}")
                line = reader.line_num + 1
                continue
            if cells:  # an empty line is not a row
                yield row(line, cells)
            line = reader.line_num + 1


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
