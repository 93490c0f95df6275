"""Finds the files of a source and reads each with the reader for its format."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from rungwise.config import SourceSettings
from rungwise.core.errors import DataError, Problem
from rungwise.core.folders import joined
from rungwise.core.texts import number_of
from rungwise.dataset.collect.fingerprints import FINGERPRINTS
from rungwise.dataset.readers.arrow_file import arrow_columns, arrow_rows
from rungwise.dataset.readers.csv_file import columns_of, csv_rows
from rungwise.dataset.readers.json_file import json_columns, json_rows, jsonl_columns, jsonl_rows
from rungwise.dataset.readers.labelled_file import FASTTEXT, labelled_rows
from rungwise.dataset.readers.opened import ENDINGS, PACKED, beginning, check_content, check_data, ending, is_hidden
from rungwise.dataset.readers.row import Bad, Note, Row

MAX_CELL_CHARACTERS: Final = 10_000_000
"""A longer cell is not read: no base reads a hundredth of it."""


def files(source: SourceSettings, raw: Path) -> tuple[Path, ...]:
    """Returns the files of a source under `raw`, sorted by name.

    Raises:
        DataError: there is none, one is a link to a file outside `raw`, a pipe or a device, or one is empty.
    """
    try:
        matches = sorted(raw.glob(source.path))
    except (ValueError, IndexError):
        matches = []  # not a valid pattern, such as `.` or `a**b`
    paths = sorted({f for p in matches for f in ([p] if p.is_file() else files_in(p)) if f != raw / FINGERPRINTS})
    where = f"ingest.sources: {source.name}, {raw / source.path}"
    check_regular(matches, where)
    _check_links([*matches, *([raw / source.path] if (raw / source.path).is_symlink() else [])], where)
    if not paths:
        others = sorted(p.name for p in raw.glob("*") if not p.name.startswith(".")) if raw.is_dir() else []
        raise DataError(
            Problem(
                "a source's file is missing",
                where=where,
                found=f"in {raw}: {joined(others)}",
                wanted="at least one file",
                do="put the file there, or correct the source's `path`",
            )
        )
    for path in paths:
        if not path.resolve().is_relative_to(raw.resolve()):
            raise DataError(
                Problem(
                    "a source's file is outside data/raw",
                    where=where,
                    found=f"{path.name} is a link to {path.resolve()}",
                    do="copy the file into data/raw" + _unprotect(path),
                )
            )
        if path.stat().st_size == 0:
            raise DataError(
                Problem("a source's file is empty", where=str(path), found="0 bytes", wanted="a header and rows")
            )
    return tuple(paths)


def _unprotect(path: Path) -> str:
    """Returns what DVC can do about a link that it made itself."""
    return f"; if DVC made the link: dvc unprotect data/raw/{path.name}" if ".dvc" in path.resolve().parts else ""


def _check_links(paths: Iterable[Path], where: str) -> None:
    """Checks that no path is a link to nothing, such as a file of DVC's cache on a drive that is not there.

    Raises:
        DataError: one is.
    """
    for path in paths:
        if path.is_symlink() and not path.exists():
            raise DataError(
                Problem(
                    "a source's file is a link to a file that does not exist",
                    where=where,
                    found=f"{path.name} -> {path.readlink()}",
                    wanted="the file",
                    do="mount the drive that it is on; if DVC made the link and its cache has moved: dvc checkout "
                    "--relink, then dvc unprotect",
                )
            )


def check_regular(paths: Iterable[Path], where: str) -> None:
    """Checks that paths in data/raw are files and folders: reading a pipe or a device may never end.

    Raises:
        DataError: one is something else.
    """
    for path in paths:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise DataError(
                Problem(
                    "a source's file is not a file",
                    where=where,
                    found=f"{path.name} is a pipe, a socket or a device",
                    wanted="files and folders",
                    do="remove it from data/raw",
                )
            )


def files_in(folder: Path) -> list[Path]:
    """Returns a folder's files with known endings, without hidden ones and those in hidden folders.

    If there are Arrow files, the others only describe them.
    """
    seen = (path for path in folder.rglob("*") if not is_hidden(path.relative_to(folder)))
    known = [path for path in seen if path.is_file() and _has_known_ending(path)]
    arrow = [p for p in known if p.suffix.lower() == ".arrow"]
    return arrow or known


def _has_known_ending(path: Path) -> bool:
    if path.suffix.lower() in PACKED:
        return path.suffix.lower() == ".zip" or ending(path) in ENDINGS
    return path.suffix.lower() in ENDINGS


def form_of(source: SourceSettings, path: Path) -> str:
    """Returns the format of a file: the source's, or the one of its ending. JSON lines may be named .json.

    Raises:
        DataError: the ending is none of a known format.
    """
    form = source.format or ENDINGS.get(ending(path))
    if form is None and path.is_file():
        start = beginning(path)
        has_tabs = ending(path) == ".txt" and b"\t" in start.splitlines()[0]
        form = "labelled" if start.lstrip().startswith(FASTTEXT.encode()) else "csv" if has_tabs else None
    if form is None:
        raise DataError(
            Problem(
                "a source's format can't be inferred from its ending",
                where=str(path),
                found=path.suffix or "no ending",
                wanted=joined([*sorted(ENDINGS), *(f"one of them and {packed}" for packed in PACKED)]),
                do="rename the file with one of these endings, or set the source's `format`",
                setting="format",
            )
        )
    if form == "jsonl" and source.format is None and _has_document(source, path):
        return "json"
    return "jsonl" if form == "json" and source.format is None and _has_lines(source, path) else form


def _has_document(source: SourceSettings, path: Path) -> bool:
    """Whether a file with the ending of JSON lines begins like one list of rows: over several lines, or on one."""
    start = beginning(path, 2**16).decode(source.encoding, errors="replace").lstrip("\ufeff \t\r\n")
    first, _, others = start.partition("\n")
    is_list = re.match(r"\[\s*(\{|\[\s*[^\s\[])", start) is not None
    return is_list and (not first.strip().endswith("]") or not others.strip())


def _has_lines(source: SourceSettings, path: Path) -> bool:
    """Whether the first two lines of a file are JSON objects, or lists of cells."""
    start = beginning(path, 2**20).decode(source.encoding, errors="replace").lstrip("\ufeff")
    first, *others = [line for line in start.splitlines() if line.strip()] or [""]
    try:
        is_value = isinstance(json.loads(first), dict | list)
        return bool(others) and is_value and others[0].lstrip()[:1] == first.lstrip()[:1]
    except (ValueError, RecursionError):
        return False


def rows(source: SourceSettings, path: Path, needed: tuple[str, ...]) -> Iterator[Row | Bad | Note]:
    """Yields the rows of one file in their order, each with the columns in `needed`.

    Raises:
        DataError: a needed column is missing, or the file does not have the form of its format.
    """
    reader = {
        "csv": csv_rows,
        "jsonl": jsonl_rows,
        "json": json_rows,
        "labelled": labelled_rows,
        "parquet": arrow_rows,
        "arrow": arrow_rows,
    }[form_of(source, path)]
    if reader is arrow_rows:
        check_data(path)
    else:
        check_content(source, path)
    try:
        yield from map(_without_long_cells, reader(source, path, needed))
    except UnicodeError as error:  # an encoding that can't continue after an invalid byte, such as utf-16
        raise DataError(
            Problem(
                "a source's text is not in its encoding",
                where=str(path),
                found=str(error).splitlines()[0][:100],
                wanted=source.encoding,
                do="set the source's `encoding`",
            )
        ) from None


def _without_long_cells(row: Row | Bad | Note) -> Row | Bad | Note:
    """Returns the row, or `Bad` if a cell is longer than MAX_CELL_CHARACTERS."""
    for name, cell in row.values.items() if isinstance(row, Row) else ():
        n = len(cell) if isinstance(cell, str) else sum(map(len, cell or ()))
        if n > MAX_CELL_CHARACTERS:
            detail = f"column {name} holds {number_of(n, 'character')}, at most {MAX_CELL_CHARACTERS:,} are read"
            return Bad(row.line, "too_long_to_read", detail)
    return row


def columns(source: SourceSettings, path: Path) -> list[str]:
    """Returns the columns of one file, in its order; of files without a header those of the first rows.

    Raises:
        DataError: the file does not have the form of its format.
    """
    form = form_of(source, path)
    if form == "labelled":
        return ["label", "text"]
    if form in ("parquet", "arrow"):
        check_data(path)
        return arrow_columns(source, path)
    check_content(source, path)
    return {"csv": columns_of, "jsonl": jsonl_columns, "json": json_columns}[form](source, path)
