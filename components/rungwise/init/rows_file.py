"""A user's file of rows: its encoding, its delimiter, its columns, and the settings of the source that reads it."""

import codecs
import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from rungwise.config import SourceSettings, ValidateSettings
from rungwise.core.errors import DataError, Problem, SettingsError
from rungwise.dataset.readers import LOST_BYTE, Bad, Row, rows

MIN_ROWS = ValidateSettings().min_rows
"""Fewest rows with text and answer: with fewer, no guess is possible and the run would fail."""
MIN_EVALUATION_ROWS = 200
"""With fewer validation or test rows, `init` warns about what they can show."""
EVALUATION_SHARE = 0.15
"""Share of the rows that become validation rows, and share that become test rows."""
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")


@dataclass(frozen=True)
class RowsFile:
    """A file of rows and how it is read."""

    source: SourceSettings
    file: Path
    stored_name: str
    """The name of its copy in data/raw."""
    rows: Sequence[tuple[str, str]]
    """(text, answer) of the rows that have both."""
    n: int
    """Number of all rows in the file."""
    slot: str
    """The text column's name in the prompt."""
    answer: str
    """The answer column."""


def read_rows_file(name: str, file: Path, text: str, answer: str, records: str, others: Sequence[RowsFile]) -> RowsFile:
    """Returns a file's rows and the settings of the source that reads it.

    Args:
        name: the source's name.
        file: the file.
        text: the text column.
        answer: the answer column.
        records: where the rows are in a JSON file (see `SourceSettings.records`).
        others: the files that are copied into data/raw before this one.

    Raises:
        RungwiseError: the file does not exist, its name or columns can't be used, or it has too few rows.
    """
    _check_file(name, file, records, others)
    slot = _check_columns(file, text, answer)
    is_taken = any(one.stored_name == file.name and one.file.resolve() != file.resolve() for one in others)
    stored_name = f"{name}-{file.name}" if is_taken else file.name
    source = _source(name, file, stored_name, {} if slot == text else {slot: text}, records)
    complete, n = [], 0
    for row in _read(source, file, (slot, answer)):
        n += 1
        if isinstance(row, Row) and (row.values[slot] or "").strip() and (row.values[answer] or "").strip():
            complete.append((str(row.values[slot]), str(row.values[answer]).strip()))
    if len(complete) < MIN_ROWS:
        raise DataError(
            Problem(
                "there are too few rows",
                where=str(file),
                found=f"{len(complete)} rows with text and answer, of {n}",
                wanted=f"{MIN_ROWS}; for a reliable result about {round(MIN_EVALUATION_ROWS / EVALUATION_SHARE)}",
                do="collect more rows",
            )
        )
    return RowsFile(source, file, stored_name, complete, n, slot, answer)


def _check_file(name: str, file: Path, records: str, others: Sequence[RowsFile]) -> None:
    if not file.is_file():
        raise DataError(
            Problem(
                "the file of rows does not exist",
                where=str(file),
                wanted="CSV, TSV, JSON, JSON lines or lines of `LABEL text`",
            )
        )
    if file.stat().st_size == 0:
        raise DataError(Problem("a file of rows is empty", where=str(file), found="0 bytes", wanted="rows"))
    for other in others:
        if other.file.resolve() == file.resolve() and other.source.records == records:
            raise SettingsError(
                Problem(
                    "the same rows can't be on two sides of the split",
                    where=str(file),
                    found=f"the file is used for {other.source.name} and for {name}",
                    wanted="one file per side, or only --rows: the split is then made from it",
                )
            )


def _check_columns(file: Path, text: str, answer: str) -> str:
    """Checks the names of file and columns; returns the slot that stands for the text column in the prompt."""
    for what, word in (("file", file.name), ("text column", text), ("answer column", answer)):
        if not word.isprintable() or not word.strip():
            raise SettingsError(
                Problem(
                    f"the name of a {what} has characters that can't be printed", found=ascii(word)[:60], do="rename it"
                )
            )
    slot = text if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text) else "text"
    if text == answer:
        raise SettingsError(
            Problem(
                "text and answer are the same column",
                found=text,
                wanted="two columns: the text that the model reads, and the right answer",
            )
        )
    if slot == answer:
        raise SettingsError(
            Problem("the answer column can't be called `text` here", found=text, do="rename the answer column")
        )
    return slot


def _source(name: str, file: Path, stored_name: str, columns: dict[str, str], records: str) -> SourceSettings:
    encoding = _encoding(file)
    values = {
        "name": name,
        "path": glob.escape(stored_name),
        "columns": columns,
        "role": name.removesuffix("-rows") if name != "rows" else None,
        "delimiter": _delimiter(file, encoding) if file.suffix.lower() == ".csv" else None,
        "records": records,
        "encoding": encoding,
    }
    try:
        return SourceSettings.model_validate(values)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise SettingsError(
            Problem("params.yaml can't name this file of rows", found=str(file), wanted=str(fault["msg"]))
        ) from None


_OPTIONS = {
    "columns": "give the column names of the file's header: --text COLUMN --answer COLUMN",
    "format": "rename the file so that it has one of these endings",
    "records": "give the place of the rows: --records KEY.[] (or --dev-records ...)",
}
"""Setting at fault -> what to do about it with the options of `rungwise init`."""


def _read(source: SourceSettings, file: Path, needed: tuple[str, str]) -> Iterator[Row | Bad]:
    """Yields a file's rows. Errors name the command's options, because there is no params.yaml yet."""
    try:
        yield from rows(source, file, needed)
    except DataError as error:
        do = _OPTIONS.get(error.problem.setting, error.problem.do)
        raise DataError(replace(error.problem, do=do)) from None


def _encoding(file: Path) -> str:
    """Returns the encoding that fits a file's bytes best.

    UTF-16 if the file starts with a UTF-16 byte order mark. UTF-8 if most of its non-ASCII characters are valid UTF-8:
    the rows that are not are rejected and counted. Otherwise Windows' cp1252 if it can decode every byte, else latin-1,
    which can decode any byte.
    """
    valid = invalid = 0
    with file.open("rb") as stream:
        if stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "utf-16"
        stream.seek(0)
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


def _delimiter(file: Path, encoding: str) -> str | None:
    """Returns the delimiter of a CSV file's header; None for a comma."""
    with file.open(encoding=encoding, errors="replace") as stream:
        header = stream.readline(100_000)
    counts = {d: header.count(d) for d in (";", "\t", "|")}
    best = max(counts, key=lambda d: counts[d])
    return best if counts[best] > header.count(",") else None
