"""A file that is written whole before it takes its place."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rungwise.core.errors import DataError, Problem


@dataclass(frozen=True)
class Part:
    """A file that was read whole and waits beside its place."""

    target: str
    part: Path
    print: dict[str, Any]
    """Its `bytes` and `sha256`."""


def write_part(raw: Path, target: str, pieces: Iterator[bytes]) -> Part:
    """Writes a file whole beside its place, or nothing at all."""
    path = raw / target
    at = next((folder for folder in path.parents if folder.exists()), raw)
    if not path.parent.resolve().is_relative_to(raw.resolve()):
        raise DataError(Problem("a target leads out of data/raw", where=str(path), found="a link", do="remove it"))
    if not at.is_dir():
        raise DataError(
            Problem("a target lies in a file", where=str(path), found=f"{at} is a file", do="correct the source's `to`")
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    digest, size = hashlib.sha256(), 0
    try:
        with part.open("wb") as stream:
            for piece in pieces:
                stream.write(piece)
                digest.update(piece)
                size += len(piece)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return Part(target, part, {"bytes": size, "sha256": digest.hexdigest()})
