"""Writes a file completely next to its target before it replaces the target."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rungwise.core.errors import DataError, Problem


@dataclass(frozen=True)
class StagedFile:
    """A complete copy that is ready to replace its target."""

    target: str
    """Path of the target in data/raw."""
    path: Path
    """Where the copy is."""
    fingerprint: dict[str, Any]
    """Its `bytes` and `sha256`."""


def write_staged(raw: Path, target: str, chunks: Iterator[bytes]) -> StagedFile:
    """Writes a complete file next to its target in `raw`, or nothing.

    Raises:
        DataError: the target is outside `raw`, or below a path that is a file.
    """
    path = raw / target
    parent = next((folder for folder in path.parents if folder.exists()), raw)
    if not path.parent.resolve().is_relative_to(raw.resolve()):
        raise DataError(Problem("a target is outside data/raw", where=str(path), found="a link", do="remove the link"))
    if not parent.is_dir():
        raise DataError(
            Problem(
                "a target is below a file", where=str(path), found=f"{parent} is a file", do="correct the source's `to`"
            )
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    digest, size = hashlib.sha256(), 0
    try:
        with part.open("wb") as stream:
            for chunk in chunks:
                stream.write(chunk)
                digest.update(chunk)
                size += len(chunk)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return StagedFile(target, part, {"bytes": size, "sha256": digest.hexdigest()})
