"""How a user's file is read: its format, encoding, delimiter and quotes, and where a JSON file has its rows."""

import codecs
import csv
import glob
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rungwise.config import SourceSettings
from rungwise.core.errors import DataError, Problem, SettingsError
from rungwise.core.folders import joined
from rungwise.core.texts import number_of
from rungwise.dataset.readers import (
    COLUMN_WISE,
    LOST_BYTE,
    TABLE,
    beginning,
    dialect_of,
    document_of,
    form_of,
    has_rows_by_id,
    is_column_wise,
    lists_in,
    named_delimiter,
    opened,
    opened_csv,
    opened_text,
    table_in,
    wide_encoding,
)
from rungwise.dataset.readers.exports import columns_of_task, finished

_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_OPTIONS = {
    "format": "save a spreadsheet as CSV; a text file with one row per line needs one of these endings",
    "records": "give the place of the rows: --records KEY.[] (or --dev-records ...)",
    "encoding": "name the encoding: --encoding NAME",
}
"""Setting at fault -> what to do about it with the options of `rungwise init`."""


@dataclass(frozen=True)
class Options:
    """How the user says that rows are read; what is None is found out."""

    text: str | None = None
    """The text column."""
    answer: str | None = None
    """The answer column."""
    others: tuple[str, ...] = ()
    """Columns with further right answers, where the file has them."""
    finds_others: bool = False
    """Whether further right answers are looked for although the answer column is known."""
    encoding: str | None = None
    has_header: bool | None = None
    """Whether the first row of a table has the column names."""

    @property
    def names(self) -> list[str]:
        """The columns that the user named."""
        return [name.strip() for names in (self.text, self.answer) if names for name in names.split(",")]


def with_options(error: DataError) -> DataError:
    """Returns the error with what to do about it with the options of `rungwise init`."""
    return DataError(replace(error.problem, do=_OPTIONS.get(error.problem.setting, error.problem.do)))


def source_of(
    name: str, given: Path, stored: Mapping[str, Path], options: Options, records: str | None
) -> tuple[SourceSettings, list[str]]:
    """Returns the settings of the source that reads the files, and what was found out, one sentence each."""
    first = next(iter(stored.values()))
    one = next(iter(stored))
    place = one if len(stored) == 1 and given.is_file() else one.partition("/")[0]
    encoding = options.encoding or _encoding(first)
    values: dict[str, Any] = {
        "name": name,
        "path": glob.escape(place),
        "role": name.removesuffix("-rows") if name.endswith("-rows") else None,
        "records": records or "[]",
        "encoding": encoding,
        "header": options.has_header is not False,
    }
    notes = [f"{first.name} is not UTF-8 and was read as {encoding}. Check a row that has an accent."]
    notes = notes if encoding != "utf-8" and not options.encoding else []
    try:
        source = SourceSettings.model_validate(values)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise SettingsError(
            Problem("params.yaml can't name this file of rows", found=str(given), wanted=str(fault["msg"]))
        ) from None
    try:
        form = form_of(source, first)
    except DataError as error:
        raise with_options(error) from None
    if form == "csv":
        source, why = _csv_source(source, first, is_alone=len(stored) == 1)
        notes += [f"{first.name}: {why}."] if why else []
    if form == "json" and records is None:
        source, why = _json_source(source, first)
        notes += [f"{first.name}: {why}."] if why else []
    if options.has_header is None and (row := _row_in_header(source, first, form, options.names)):
        source = source.model_copy(update={"header": False})
        notes.append(
            f"{first.name}: the first {'line' if form == 'csv' else 'list'} looks like a row ({row}), so it is read as "
            "one, and the columns are [0], [1] and so on. If it is the header, name its columns with --text and "
            "--answer."
        )
    if options.has_header is None:
        _check_same_header(source, list(stored.values()))
    return source, notes


def _csv_source(source: SourceSettings, file: Path, *, is_alone: bool) -> tuple[SourceSettings, str]:
    """Returns the source with the file's delimiter and quoting, and why; several files decide for themselves."""
    if file.suffix.lower() != ".tsv":
        source = source.model_copy(update={"delimiter": _delimiter(source, file)})
    dialect = dialect_of(source, file)
    if not is_alone:
        return source, dialect.why
    quotes = None if dialect.quotes else False
    return source.model_copy(update={"quotes": quotes, "escape": dialect.escape}), dialect.why


_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_SAMPLED_LINES = 300


def _row_in_header(source: SourceSettings, file: Path, form: str, named: Sequence[str]) -> str:
    """Returns why the first row of a table looks like a row: it has a number, or a value that its column repeats.

    Empty for a header, and for a file that is not a table. `named`: the columns that the user named; a line that has
    one of them is a header.
    """
    first, *others = _first_rows(source, file, form) or [[]]
    if {name.strip() for name in first} & {*named}:
        return ""
    is_first = source.name == "rows"  # columns of the others are named as those of the first
    if is_first and {*named} & {*_places(first)}:
        return "its columns are named by their places"
    return _why_row(first, others)


def _check_same_header(source: SourceSettings, files: Sequence[Path]) -> None:
    """Checks that all files have a header, or none has.

    Raises:
        DataError: the first has one and the first line of another looks like a row, or the reverse.
    """
    if len(files) < 2:
        return
    first, *others = [_first_rows(source, file, form_of(source, file)) for file in files]
    for file, table in zip(files[1:], others, strict=True):
        if not first or not table:
            continue
        is_row = not {*table[0]} & {*first[0]} if source.header else True
        is_row = is_row and bool(_why_row(table[0], [*table[1:], *first]))
        if is_row == source.header:
            raise _only_one_header(files[0], file, is_first_headed=source.header)


def check_like(first: SourceSettings, first_file: Path, source: SourceSettings, file: Path) -> None:
    """Checks that the files of two sources both have a header, or none has one.

    Raises:
        DataError: only one is a table with the names of the columns in its first line.
    """
    headed, headed_file = (first, first_file) if first.header else (source, file)
    if first.header != source.header and _first_rows(headed, headed_file, form_of(headed, headed_file)):
        raise _only_one_header(first_file, file, is_first_headed=first.header)


def _only_one_header(first: Path, other: Path, *, is_first_headed: bool) -> DataError:
    headed, plain = (path.name for path in ((first, other) if is_first_headed else (other, first)))
    return DataError(
        Problem(
            "only one of two files has a header",
            where=f"{first}, {other}",
            found=f"the first line of {headed} has the names of the columns, that of {plain} looks like a row",
            wanted="files with the same columns",
            do=f"write the header of {headed} into {plain} too; or, if no file has a header, use --no-header",
        )
    )


def _why_row(first: Sequence[str], others: Sequence[Sequence[str]]) -> str:
    """Returns why a line looks like a row among others; empty if it does not."""
    for place, name in enumerate(first):
        values = [row[place] for row in others if len(row) == len(first)]
        if _NUMBER.fullmatch(name) and name != str(place):
            return f"the number {name[:20]}"
        if name and values.count(name) > 1:
            return f"its column has {name[:20]!r} in other lines, too"
    return ""


def _places(row: Sequence[str]) -> list[str]:
    return [f"[{place}]" for place in range(len(row))]


def _first_rows(source: SourceSettings, file: Path, form: str) -> list[list[str]]:
    """Returns the cells of the first rows of a table; none for a file that is not one, or that can't be read."""
    if form in ("json", "jsonl"):
        try:
            return lists_in(source, file, document_of(source, file) if form == "json" else None)
        except (DataError, UnicodeError, EOFError, OSError):  # what reads the rows says why
            return []
    if form != "csv":
        return []
    with opened_csv(source, file) as stream:
        reader = csv.reader(stream, **dialect_of(source, file).reader_settings)
        try:
            return list(islice(reader, _SAMPLED_LINES))
        except (csv.Error, ValueError):
            return []


def _json_source(source: SourceSettings, file: Path) -> tuple[SourceSettings, str]:
    """Returns the source with the place of a JSON document's rows, and a sentence about it if it is not plain.

    Raises:
        DataError: the document has several lists of rows, or none.
    """
    document = document_of(source, file)
    if isinstance(document, list):
        return source, _tasks(document)
    if table_in(document):
        return source.model_copy(update={"records": TABLE}), "it has a list of column names and a list of rows"
    if is_column_wise(document):
        return source.model_copy(update={"records": COLUMN_WISE}), "it has a list for each column"
    rows_at = _rows_by_place(document)
    longest = max(rows_at, key=lambda place: len(rows_at[place]), default="")
    others = [place for place in rows_at if place != longest]
    if longest and all(_define(rows_at[place], rows_at[longest]) for place in others):
        said = f"its rows are at `{longest}`"
        said += f"; the shorter {joined([f'`{place}`' for place in others])} is not read" if others else ""
        return source.model_copy(update={"records": longest}), said
    raise DataError(
        Problem(
            "a JSON file has several lists of rows" if rows_at else "the rows of a JSON file can't be found",
            where=str(file),
            found=joined(rows_at) if rows_at else _described(document),
            wanted="one list of objects, or the place of the rows",
            do="give the place of the rows: --records KEY.[] (and --dev-records, --test-records)",
            setting="records",
        )
    )


def _tasks(document: Sequence[Any]) -> str:
    """Returns how a list of Label Studio's tasks is read; empty for others."""
    tasks = [task for task in document if isinstance(task, dict) and columns_of_task(task) is not None]
    if not tasks:
        return ""
    n_several = sum(len(finished(task["annotations"])) > 1 for task in tasks)
    said = "Label Studio's tasks are read as columns: one for each key of `data`, and one for each label"
    if n_several:
        said += (
            f"; {number_of(n_several, 'task', 'has', 'have')} several annotations: the ground truth is read, otherwise "
            "the first"
        )
    return said


def _described(document: object) -> str:
    """Returns what a JSON document is, for a message."""
    if not isinstance(document, dict):
        return type(document).__name__
    sizes = {name: f" ({number_of(_size(value), 'item')})" if _size(value) else "" for name, value in document.items()}
    return f"an object with {joined([name + size for name, size in sizes.items()])}"


def _size(value: object) -> int:
    """Returns the number of items of a list or an object; 0 for another value."""
    return len(value) if isinstance(value, list | dict) else 0


_MAX_DEFINED = 0.2
"""A list next to the rows, such as one of the labels, has at most this share of their number."""


def _define(short: Sequence[Any], rows: Sequence[Any]) -> bool:
    """Whether a list of objects is not a second list of rows: it is far shorter, and its objects have other keys."""
    return len(short) <= _MAX_DEFINED * len(rows) and _keys(short) != _keys(rows)


def _keys(rows: Sequence[Any]) -> set[str]:
    return set(rows[0]) if rows and isinstance(rows[0], dict) else set()


_QUESTIONS = ("paragraphs", "qas")
"""Keys of the lists below which SQuAD's files have their questions."""


def _rows_by_place(value: Any, path: str = "", depth: int = 3) -> dict[str, Sequence[Any]]:
    """Returns path -> rows in a document: lists of objects or lists, objects with a row for each id, and tables.

    Of a table and of lists for each column the number and the keys of the rows are right, not their values.
    """
    if has_rows_by_id(value):
        name = "id" if not any("id" in row for row in value.values()) else "key"
        return {f"{path}{{{name}}}": list(value.values())}
    if isinstance(value, list):
        if not value or not all(isinstance(item, dict | list) for item in value):
            return {}
        inner = next((key for key in _QUESTIONS if all(isinstance(item, dict) and key in item for item in value)), "")
        below = [one for item in value for one in item[inner]] if inner else []
        return _rows_by_place(below, f"{path}[].{inner}.") if inner else {f"{path}[]": value}
    if table := table_in(value):
        return {f"{path}{TABLE}": [dict.fromkeys(table[0])] * len(table[1])}
    if is_column_wise(value):
        return {f"{path}{COLUMN_WISE}": [dict.fromkeys(value)] * max(map(_size, value.values()))}
    if not isinstance(value, dict) or not depth:
        return {}
    return {
        place: rows
        for key, inner in value.items()
        for place, rows in _rows_by_place(inner, f"{path}{key}.", depth - 1).items()
    }


def _encoding(file: Path) -> str:
    """Returns the encoding that fits a file's bytes best.

    UTF-16 or UTF-32 if the file begins like it. UTF-8 if most of its non-ASCII characters are valid UTF-8: the rows
    that are not are rejected and counted. Otherwise Windows' cp1252 if it can decode every byte, else latin-1, which
    can decode any byte.
    """
    if file.suffix.lower() in (".parquet", ".arrow"):
        return "utf-8"
    if wide := wide_encoding(beginning(file)):
        return wide
    valid = invalid = 0
    with opened(file) as stream:
        utf_8, cp1252 = (codecs.getincrementaldecoder(name) for name in ("utf-8", "cp1252"))
        as_utf_8, as_cp1252, is_cp1252 = utf_8("surrogateescape"), cp1252(), True
        while block := stream.read(2**20):
            text = as_utf_8.decode(block)
            if not text.isascii():
                lost = len(LOST_BYTE.findall(text))
                invalid, valid = invalid + lost, valid + len(_BEYOND_ASCII.findall(text)) - lost
            try:
                as_cp1252.decode(block)
            except UnicodeDecodeError:
                is_cp1252 = False
    if invalid <= valid:
        return "utf-8"
    return "cp1252" if is_cp1252 else "latin-1"


def _delimiter(source: SourceSettings, file: Path) -> str | None:
    """Returns the delimiter of a CSV file's header; None for a comma, and if a line before the header names it."""
    if named_delimiter(source, file):
        return None
    with opened_text(source, file) as stream:
        header = stream.readline(100_000)
    counts = {d: header.count(d) for d in (";", "\t", "|")}
    best = max(counts, key=lambda d: counts[d])
    return best if counts[best] > header.count(",") else None
