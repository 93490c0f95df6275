"""Opens a file of rows as text, unpacked if it is a .gz or .zip file; refuses other files."""

import codecs
import gzip
import io
import re
import unicodedata
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Any, Final, cast

from rungwise.config import SourceSettings
from rungwise.core.errors import DataError, Problem
from rungwise.core.folders import joined
from rungwise.dataset.readers.growth import check_size, growth_limit
from rungwise.dataset.readers.row import encoding_of

ENDINGS: Final = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".label": "labelled",
    ".parquet": "parquet",
    ".arrow": "arrow",
}
"""Ending of a file -> its format."""
PACKED: Final = (".gz", ".zip")
MAX_JSON_BYTES: Final = 2 * 2**30
"""Largest JSON document, unpacked: it is held in memory as a whole."""
_WIDE: Final = {
    "utf-32": (b"\xff\xfe\0\0", b"\0\0\xfe\xff"),
    "utf-16": (b"\xff\xfe", b"\xfe\xff"),
}
"""Encoding -> its byte order marks; the longer ones first."""
_STRANGE: Final = ("Cc", "Cn", "Co")
"""Unicode's categories of characters that a text does not have: control, not assigned, private."""
_STRANGE_SHARE: Final = 0.01
_START_BYTES: Final = 4096
"""So many bytes say what a file is."""
_BEFORE_HTML: Final = re.compile(rb"\A(?:\xef\xbb\xbf|\s|<!--.*?-->|<\?xml.*?\?>)*", re.DOTALL)
"""What may come before an HTML page: white space, comments and the declaration of XML."""
_HTML: Final = re.compile(rb"<!doctype\s+html|<(?:html|head)[\s>]")


def ending(path: Path) -> str:
    """Returns the ending of a file's content in lower case: `.csv` for `rows.csv.gz` and for a .zip with a CSV file.

    Raises:
        DataError: a .zip file is damaged or does not contain exactly one file.
    """
    last = path.suffix.lower()
    if last == ".gz":
        return Path(path.stem).suffix.lower()
    return PurePosixPath(_member(path).filename).suffix.lower() if last == ".zip" else last


def _member(path: Path) -> zipfile.ZipInfo:
    """Returns the file in a .zip file: the only one, or the only one with a known ending.

    Raises:
        DataError: there is none, or there are several.
    """
    try:
        with zipfile.ZipFile(path) as packed:
            members = [m for m in packed.infolist() if not m.is_dir() and not is_hidden(PurePosixPath(m.filename))]
    except (zipfile.BadZipFile, OSError) as error:
        check_data(path)
        raise DataError(
            Problem("a .zip file can't be read", where=str(path), found=str(error)[:100], do="copy it again")
        ) from None
    known = [m for m in members if PurePosixPath(m.filename).suffix.lower() in ENDINGS]
    chosen = known if len(known) == 1 else members
    if len(chosen) != 1:
        raise DataError(
            Problem(
                "a .zip file has several files" if members else "a .zip file is empty",
                where=str(path),
                found=joined([m.filename[:80] for m in members]) if members else "no file",
                wanted="one file of rows",
                do="unpack it, and name the file that has the rows" if members else "copy it again",
            )
        )
    return chosen[0]


def is_hidden(path: PurePath) -> bool:
    """Whether a file, or a folder above it, is hidden, or is one in which macOS keeps what it knows about others."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


class _Bounded(io.RawIOBase):
    """The bytes of a packed file, up to a limit: a kilobyte can hold gigabytes."""

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        self._path, self._stream, self._n = path, stream, 0

    def readable(self) -> bool:
        """Returns true, as `io.BufferedReader` requires."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Reads into a buffer; returns the number of bytes, 0 at the end.

        Raises:
            DataError: the file has grown beyond its limit.
        """
        content = self._stream.read(len(buffer))
        buffer[: len(content)] = content
        self._n += len(content)
        check_size(self._path, self._n, growth_limit(self._path))
        return len(content)


def _bounded(path: Path, stream: IO[bytes]) -> IO[bytes]:
    return cast("IO[bytes]", io.BufferedReader(_Bounded(path, stream), 2**16))


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Context with the bytes of a file, unpacked.

    Raises:
        DataError: the file is damaged.
    """
    last = path.suffix.lower()
    try:
        if last == ".zip":
            member = _member(path)
            with zipfile.ZipFile(path) as packed, packed.open(member) as stream:
                yield _bounded(path, stream)
        elif last == ".gz":
            with gzip.open(path) as unpacked:
                yield _bounded(path, cast("IO[bytes]", unpacked))
        else:
            with path.open("rb") as stream:
                yield stream
    except (zipfile.BadZipFile, gzip.BadGzipFile, EOFError, RuntimeError) as error:
        if last not in PACKED:
            raise
        check_data(path)
        raise DataError(
            Problem("a packed file can't be read", where=str(path), found=str(error)[:100], do="copy it again")
        ) from None


@contextmanager
def opened_text(source: SourceSettings, path: Path, newline: str | None = None) -> Iterator[IO[str]]:
    """Context with the text of a file; bytes that are not valid in its encoding become lone surrogates.

    Lines end with a line feed, a carriage return, or both. `newline`: as in `open`.
    """
    with opened(path) as stream:
        yield io.TextIOWrapper(stream, encoding=encoding_of(source), errors="surrogateescape", newline=newline)


def check_content(source: SourceSettings, path: Path) -> None:
    """Checks that a file holds text in its source's encoding.

    Raises:
        DataError: it is a Git LFS pointer or an HTML page, or it looks like UTF-16 or UTF-32 and its source names
            another encoding.
    """
    start = beginning(path)
    _check_kind(path, start)
    wide = wide_encoding(start)
    if wide and not source.encoding.lower().replace("_", "-").startswith(wide[:6]):
        raise DataError(
            Problem(
                "a source's text is not in its encoding",
                where=str(path),
                found=f"a file that begins like {wide.upper()}",
                wanted=source.encoding,
                do=f"set `encoding: {wide}` in source {source.name}",
                setting="encoding",
            )
        )


def check_data(path: Path) -> None:
    """Checks that a file is not a pointer of Git LFS or an HTML page instead of the data.

    Raises:
        DataError: it is.
    """
    with path.open("rb") as stream:
        _check_kind(path, stream.read(_START_BYTES))


def _check_kind(path: Path, start: bytes) -> None:
    """Raises DataError if these first bytes of a file are those of a pointer or a page."""
    text = _BEFORE_HTML.sub(b"", start.lower(), count=1)
    if text.startswith(b"version https://git-lfs.github.com/spec/"):
        raise DataError(
            Problem(
                "a file is a pointer of Git LFS, not the data",
                where=str(path),
                wanted="the file that it points to",
                do="fetch it: git lfs pull",
            )
        )
    if _HTML.match(text):
        raise DataError(
            Problem(
                "a file is an HTML page, not data",
                where=str(path),
                wanted="a file of rows",
                do="download it again: this is often a page that asks to sign in, or a page around the file",
            )
        )


def beginning(path: Path, size: int = _START_BYTES) -> bytes:
    """Returns the first bytes of a file, unpacked."""
    with opened(path) as stream:
        return stream.read(size)


def wide_encoding(start: bytes) -> str | None:
    """Returns the encoding of a text that begins with these bytes if it has two or four bytes per character."""
    for name, marks in _WIDE.items():
        if start.startswith(marks):
            return name
    start = start[: len(start) // 4 * 4]
    zeros = [start[place::4].count(0) * 4 for place in range(4)]
    if not start or sum(zeros) <= len(start):
        return _utf_16_order(start) if any(zeros) else None
    is_zero = [n > len(start) // 2 for n in zeros]
    names = {
        (False, True, True, True): "utf-32-le",
        (True, True, True, False): "utf-32-be",
        (False, True, False, True): "utf-16-le",
        (True, False, True, False): "utf-16-be",
    }
    return names.get((is_zero[0], is_zero[1], is_zero[2], is_zero[3]), "utf-16")


def _utf_16_order(start: bytes) -> str | None:
    """Returns the encoding of a text in UTF-16 whose letters have few zero bytes, such as Chinese; None for others.

    The right order of the bytes gives characters that exist, and line ends. UTF-8 with NUL characters is another text.
    """
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        pass
    else:
        return None
    for name in ("utf-16-le", "utf-16-be"):
        try:
            text = codecs.getincrementaldecoder(name)().decode(start)
        except UnicodeDecodeError:
            continue
        n_strange = sum(unicodedata.category(one) in _STRANGE and one not in "\t\r\n" for one in text)
        if "\n" in text and n_strange <= _STRANGE_SHARE * len(text):
            return name
    return None
