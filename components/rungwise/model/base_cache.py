"""The cache of bases: folders that were made on this machine from a GGUF file or a wheel, each named by a SHA-256.

A folder is sealed (see `core.folders`), so that a changed or half-written one is never used. Its `source.json` says
what it was made from. Everything in the cache can be made again: it can be deleted at any time.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from rungwise.core.errors import ModelError, Problem
from rungwise.core.folders import is_sealed, read_json, sweep, write_folder, write_json

VARIABLE = "RUNGWISE_BASES"
SOURCE = "source.json"
RECIPE = 1
"""Raise it when the same file is converted to other bytes: folders of an older recipe are made again."""


@dataclass(frozen=True)
class Source:
    """What a folder of the cache was made from."""

    name: str
    """Name of the file, or of the embedded base."""
    sha256: str
    """Of the file; of a split file, of all its parts."""
    architecture: str = ""
    """As the GGUF file names it."""
    tensors: Mapping[str, int] = field(default_factory=dict)
    """GGUF's data type -> number of tensors stored in it, the type with most values first."""

    @property
    def quantization(self) -> str:
        """The data type in which most values were stored before they became bf16, such as `Q4_1`; empty if unknown."""
        return next(iter(self.tensors), "")


def cache_folder() -> Path:
    """Returns the folder of the cache: RUNGWISE_BASES, by default `rungwise/bases` in the user's cache.

    The user's cache is as https://specifications.freedesktop.org/basedir-spec says: XDG_CACHE_HOME or `~/.cache`.
    """
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser()
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (cache if cache.is_absolute() else Path.home() / ".cache") / "rungwise" / "bases"


def stored(name: str) -> Path | None:
    """Returns the folder called `name` of the cache; None if it is missing, was changed, or has an older recipe."""
    folder = cache_folder() / name
    state = tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.rglob("*")) if p.is_file())
    return folder if state and _is_usable(folder, state) else None


@lru_cache(maxsize=64)
def _is_usable(folder: Path, state: tuple[tuple[str, int, int], ...]) -> bool:
    """Whether a folder is sealed and has this recipe; `state` makes the answer new when a file changes."""
    del state
    return is_sealed(folder) and read_json(folder / SOURCE).get("recipe") == RECIPE


def store(name: str, write: Callable[[Path], None]) -> Path:
    """Returns the folder called `name`; if it is missing, `write` fills it. A second process waits for the first.

    Raises:
        ModelError: the cache can't be written, for example because the disk is full; nothing is left behind.
    """
    from filelock import FileLock

    place = cache_folder()
    try:
        place.mkdir(parents=True, exist_ok=True)
        with FileLock(place / f".{name}.lock"):
            if folder := stored(name):
                return folder
            sweep(place, name)
            write_folder(place / name, write)
    except OSError as error:
        raise ModelError(
            Problem(
                "the cache of bases can't be written",
                where=f"{place} ({VARIABLE})",
                found=f"{type(error).__name__}: {error.strerror or error}",
                wanted="a folder that can be written, with space for the base's weights in 16 bit",
                do=f"free some space, or set {VARIABLE} to a folder on another disk",
            )
        ) from None
    return place / name


def write_source(folder: Path, source: Source) -> None:
    """Writes source.json into a folder of the cache."""
    tensors: Any = [[name, count] for name, count in source.tensors.items()]  # JSON with sorted keys loses the order
    write_json(
        folder / SOURCE,
        {
            "name": source.name,
            "sha256": source.sha256,
            "architecture": source.architecture,
            "tensors": tensors,
            "recipe": RECIPE,
        },
    )


def source_of(folder: Path) -> Source | None:
    """Returns what a base's folder was made from; None if it is not of the cache."""
    if not (folder / SOURCE).is_file():
        return None
    values = read_json(folder / SOURCE)
    return Source(values["name"], values["sha256"], values["architecture"], dict(values["tensors"]))


def stored_sources() -> dict[Path, Source]:
    """Returns folder -> source of every usable folder of the cache, sorted by name."""
    sources = {}
    for path in sorted(cache_folder().glob(f"[!.]*/{SOURCE}")):
        if (folder := stored(path.parent.name)) and (source := source_of(folder)):
            sources[folder] = source
    return dict(sorted(sources.items(), key=lambda item: item[1].name))
