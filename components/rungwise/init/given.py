"""A file of rows as the user has it: its encoding, delimiter and columns, and the source that reads it."""

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

LEAST_ROWS = ValidateSettings().min_rows
"""With fewer rows nothing can be guessed, and the run would stop."""
MIN_TEST = 200
"""With fewer development or test rows than this a warning says what they can show."""
SHARE = 0.15
"""Share of the rows that steer, and of those that judge."""
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")


@dataclass(frozen=True)
class Given:
    """A file of rows as the user gave it."""

    source: SourceSettings
    file: Path
    stored: str
    """Its name under data/raw."""
    rows: Sequence[tuple[str, str]]
    """(text, answer) of the rows that have both."""
    n: int
    """All rows of the file."""
    slot: str
    """What the prompt calls the text's column."""
    answer: str
    """The answer's column."""


def given(name: str, file: Path, text: str, answer: str, records: str, others: Sequence[Given]) -> Given:
    """Returns a file's rows and the source that reads them; `others`: the files that are in data/raw by then.

    Raises:
        RungwiseError: there is no such file, its name or columns can't be used, or too few rows are left.
    """
    if not file.is_file():
        raise DataError(
            Problem(
                "there is no such file of rows",
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
                    "the same rows can't stand on two sides",
                    where=str(file),
                    found=f"the file is named for {other.source.name} and for {name}",
                    wanted="a file for each side, or the one of --rows alone: sides are then taken from it",
                )
            )
    for what, word in (("file", file.name), ("text column", text), ("answer column", answer)):
        if not word.isprintable() or not word.strip():
            raise SettingsError(
                Problem(f"a {what} has a name that can't be written", found=ascii(word)[:60], do="rename it")
            )
    slot = _slot(text)
    if text == answer:
        raise SettingsError(
            Problem(
                "text and answer are the same column", found=text, wanted="two columns: what is read, what is answered"
            )
        )
    if slot == answer:
        raise SettingsError(
            Problem("a column can't be called `text` here", found=text, do="rename the answer's column")
        )
    is_taken = any(one.stored == file.name and one.file.resolve() != file.resolve() for one in others)
    stored = f"{name}-{file.name}" if is_taken else file.name
    encoding = _encoding(file)
    values = {
        "name": name,
        "path": glob.escape(stored),
        "columns": {} if slot == text else {slot: text},
        "role": name.removesuffix("-rows") if name != "rows" else None,
        "delimiter": _delimiter(file, encoding) if file.suffix.lower() == ".csv" else None,
        "records": records,
        "encoding": encoding,
    }
    try:
        source = SourceSettings.model_validate(values)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise SettingsError(
            Problem("a file of rows can't be named in params.yaml", found=str(file), wanted=str(fault["msg"]))
        ) from None
    found, n = [], 0
    for row in _read(source, file, (slot, answer)):
        n += 1
        if isinstance(row, Row) and (row.values[slot] or "").strip() and (row.values[answer] or "").strip():
            found.append((str(row.values[slot]), str(row.values[answer]).strip()))
    if len(found) < LEAST_ROWS:
        raise DataError(
            Problem(
                "there are too few rows to begin with",
                where=str(file),
                found=f"{len(found)} rows with text and answer, of {n}",
                wanted=f"{LEAST_ROWS}; for a verdict that holds about {round(MIN_TEST / SHARE)}",
                do="collect more rows",
            )
        )
    return Given(source, file, stored, found, n, slot, answer)


_OPTIONS = {
    "columns": "name the columns as the header does: --text COLUMN --answer COLUMN",
    "format": "give the file such an ending",
    "records": "say where the rows are: --records KEY.[] (or --dev-records ...)",
}
"""Setting of a source at fault -> what to do about it with the command's options."""


def _read(source: SourceSettings, file: Path, needed: tuple[str, str]) -> Iterator[Row | Bad]:
    """Yields a file's rows; an error names the command's options, where a later one would name params.yaml."""
    try:
        yield from rows(source, file, needed)
    except DataError as error:
        do = _OPTIONS.get(error.problem.setting, error.problem.do)
        raise DataError(replace(error.problem, do=do)) from None


def _slot(column: str) -> str:
    return column if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", column) else "text"


def _encoding(file: Path) -> str:
    """Returns the encoding that fits a file's bytes best.

    UTF-16 where a mark of byte order says so; UTF-8 where most of what is not ASCII is (rows that are not are
    rejected and counted); otherwise Windows' cp1252 where it knows every byte, and latin-1, which knows any.
    """
    spelt = broken = 0
    with file.open("rb") as stream:
        if stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "utf-16"
        stream.seek(0)
        utf_8, windows = (codecs.getincrementaldecoder(name) for name in ("utf-8", "cp1252"))
        as_utf_8, as_windows, is_windows = utf_8("surrogateescape"), windows(), True
        while block := stream.read(2**20):
            text = as_utf_8.decode(block)
            if not text.isascii():
                lost = len(LOST_BYTE.findall(text))
                broken, spelt = broken + lost, spelt + len(_BEYOND_ASCII.findall(text)) - lost
            try:
                as_windows.decode(block)
            except UnicodeDecodeError:
                is_windows = False
    if broken <= spelt:
        return "utf-8"
    return "cp1252" if is_windows else "latin-1"


def _delimiter(file: Path, encoding: str) -> str | None:
    """Returns the delimiter of a CSV file's header where it is no comma."""
    with file.open(encoding=encoding, errors="replace") as stream:
        header = stream.readline(100_000)
    counts = {d: header.count(d) for d in (";", "\t", "|")}
    best = max(counts, key=lambda d: counts[d])
    return best if counts[best] > header.count(",") else None
