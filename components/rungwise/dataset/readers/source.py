"""Finds the files of a source and reads each with the reader for its format."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rungwise.config import SourceSettings
from rungwise.core.errors import DataError, Problem
from rungwise.core.folders import joined
from rungwise.dataset.collect.fingerprints import FINGERPRINTS
from rungwise.dataset.readers.arrow_file import arrow_rows
from rungwise.dataset.readers.csv_file import csv_rows
from rungwise.dataset.readers.json_file import json_rows, jsonl_rows
from rungwise.dataset.readers.labelled_file import labelled_rows
from rungwise.dataset.readers.row import Bad, Row

_ENDINGS: Final = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".label": "labelled",
    ".parquet": "parquet",
    ".arrow": "arrow",
}


def files(source: SourceSettings, raw: Path) -> tuple[Path, ...]:
    """Returns the files of a source under `raw`, sorted by name.

    Raises:
        DataError: there is none, one is a link to a file outside `raw`, or one is empty.
    """
    try:
        matches = sorted(raw.glob(source.path))
    except (ValueError, IndexError):
        matches = []  # not a valid pattern, such as `.` or `a**b`
    paths = sorted({f for p in matches for f in ([p] if p.is_file() else _files_in(p)) if f != raw / FINGERPRINTS})
    where = f"ingest.sources: {source.name}, {raw / source.path}"
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
                    found=f"{path.name} is a link to another folder",
                    do="copy the file into data/raw",
                )
            )
        if path.stat().st_size == 0:
            raise DataError(
                Problem("a source's file is empty", where=str(path), found="0 bytes", wanted="a header and rows")
            )
    return tuple(paths)


def _files_in(folder: Path) -> list[Path]:
    """Returns a folder's files with known endings. If there are Arrow files, the others only describe them."""
    known = [p for p in folder.rglob("*") if p.suffix.lower() in _ENDINGS and p.is_file()]
    arrow = [p for p in known if p.suffix.lower() == ".arrow"]
    return arrow or known


def rows(source: SourceSettings, path: Path, needed: tuple[str, ...]) -> Iterator[Row | Bad]:
    """Yields the rows of one file in their order, each with the columns in `needed`.

    Raises:
        DataError: a needed column is missing, or the file does not have the form of its format.
    """
    form = source.format or _ENDINGS.get(path.suffix.lower())
    if form is None:
        raise DataError(
            Problem(
                "a source's format can't be inferred from its ending",
                where=str(path),
                found=path.suffix or "no ending",
                wanted=joined(sorted(_ENDINGS)),
                do="rename the file with one of these endings, or set the source's `format`",
                setting="format",
            )
        )
    reader = {
        "csv": csv_rows,
        "jsonl": jsonl_rows,
        "json": json_rows,
        "labelled": labelled_rows,
        "parquet": arrow_rows,
        "arrow": arrow_rows,
    }[form]
    if reader is not arrow_rows:
        _check_text(source, path)
    try:
        yield from reader(source, path, needed)
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


def _check_text(source: SourceSettings, path: Path) -> None:
    """Checks that a file does not look like UTF-16 if its source names another encoding.

    Raises:
        DataError: it looks like UTF-16.
    """
    with path.open("rb") as stream:
        start = stream.read(64)
    is_wide = start[:2] in (b"\xff\xfe", b"\xfe\xff") or start.count(0) > len(start) // 4
    if is_wide and "16" not in source.encoding and "32" not in source.encoding:
        raise DataError(
            Problem(
                "a source's text is not in its encoding",
                where=str(path),
                found="a file that begins like UTF-16",
                wanted=source.encoding,
                do=f"set `encoding: utf-16` in source {source.name}",
            )
        )
