"""The bases that this machine has or can fetch: embedded, converted from GGUF, pocket; and presets of hub models."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

from rungwise.init.ladder import preset_bases
from rungwise.model.base_cache import Source, cache_folder, source_of, stored_sources
from rungwise.model.embedded import EMBEDDED, Embedded, cached, has_accepted
from rungwise.report.text import table
from rungwise.workspace.resources import POCKET_BASES, pocket_base

HEADER: Final = ("base", "kind", "parameters", "context", "licence", "size", "state")
_POCKET_LICENCE = "Apache-2.0"


@dataclass(frozen=True)
class KnownBase:
    """A base, and whether it can be used at once."""

    name: str
    """As a rung's `base` names it; of a converted GGUF file, the file's name."""
    kind: str
    """`causal`, `encoder`, `gguf` or `pocket`."""
    state: str
    """`ready`, `not fetched` or `terms not accepted`."""
    parameters: int
    context_tokens: int
    """Maximum length of a sequence; 0 if the config does not say it."""
    licence: str
    """Empty if it is not known."""
    size_bytes: int
    """Of its files if it is ready, otherwise of what is fetched."""
    origin: str
    """The model in words, or what it was made from."""
    quantization: str
    """The data type in which the weights were stored before they became bf16; empty if they never were."""
    folder: str
    """Where its files are; empty if they are not here."""


@dataclass(frozen=True)
class Bases:
    """All bases that are known."""

    cache: str
    """The folder of the cache."""
    known: tuple[KnownBase, ...]
    presets: Mapping[str, tuple[str, ...]]
    """Preset of `rungwise init --ladder` -> the names of its hub models."""


def bases() -> Bases:
    """Returns all bases that are known; fetches and converts nothing."""
    sources = stored_sources()
    embedded = {base.sha256 for base in EMBEDDED.values()}
    known = [_embedded(base) for base in EMBEDDED.values()]
    known += [_converted(folder, source) for folder, source in sources.items() if source.sha256 not in embedded]
    known += [_pocket(name) for name in POCKET_BASES]
    return Bases(str(cache_folder()), tuple(known), preset_bases())


def bases_text(found: Bases) -> str:
    """Returns the list of bases, where they are, and the presets."""
    rows = [
        (one.name, one.kind, _parameters(one.parameters), f"{one.context_tokens:,}" if one.context_tokens else "",
         one.licence, f"{one.size_bytes / 1e6:,.0f} MB", _state(one))
        for one in found.known
    ]  # fmt: skip
    lines = [table(HEADER, rows), "", f"The cache is {found.cache} (RUNGWISE_BASES).", ""]
    lines += ["`rungwise bases add NAME` fetches a base, as does the first run that uses it. Presets of hub models for"]
    lines += ["`rungwise init --ladder NAME`:"]
    return "\n".join([*lines, *(f"  {name}: {', '.join(models)}" for name, models in found.presets.items())])


def added_text(name: str, folder: Path) -> str:
    """Returns the result of adding a base in one sentence."""
    source = source_of(folder)
    was = f"; its weights were stored as {source.quantization}" if source and source.quantization else ""
    return f"{name} is ready in {folder}{was}. A rung uses it with `base: {name}`."


def _embedded(base: Embedded) -> KnownBase:
    folder = cached(base)
    source = source_of(folder) if folder else None
    state = "ready" if folder else "not fetched"
    return KnownBase(
        name=base.name,
        kind=base.kind,
        state=state if has_accepted(base) else "terms not accepted",
        parameters=base.parameters,
        context_tokens=base.context_tokens,
        licence=base.licence,
        size_bytes=_bytes(folder) if folder else base.download_bytes,
        origin=base.origin,
        quantization=source.quantization if source else "",
        folder=str(folder or ""),
    )


def _converted(folder: Path, source: Source) -> KnownBase:
    return KnownBase(
        name=source.name,
        kind="gguf",
        state="ready",
        parameters=_count(folder),
        context_tokens=_context(folder),
        licence="",
        size_bytes=_bytes(folder),
        origin=f"a GGUF file, sha256 {source.sha256}",
        quantization=source.quantization,
        folder=str(folder),
    )


def _pocket(name: str) -> KnownBase:
    folder = pocket_base(name)
    assert folder is not None  # the name is one of the package's
    return KnownBase(
        name=name,
        kind="pocket",
        state="ready",
        parameters=_count(folder),
        context_tokens=_context(folder),
        licence=_POCKET_LICENCE,
        size_bytes=_bytes(folder),
        origin="comes with rungwise, for tests and for machines without a network",
        quantization="",
        folder=str(folder),
    )


def _state(base: KnownBase) -> str:
    return f"{base.state}, from {base.quantization}" if base.quantization else base.state


def _parameters(number: int) -> str:
    return f"{number / 1e6:,.3g} million"


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _context(folder: Path) -> int:
    return int(json.loads((folder / "config.json").read_text(encoding="utf-8")).get("max_position_embeddings") or 0)


def _count(folder: Path) -> int:
    """Returns the number of parameters in the headers of a folder's safetensors files.

    The header: https://huggingface.co/docs/safetensors/index#format.
    """
    total = 0
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as stream:
            header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        total += sum(prod(_shape(entry)) for name, entry in header.items() if name != "__metadata__")
    return total


def _shape(entry: Mapping[str, Sequence[int]]) -> Sequence[int]:
    return entry["shape"]
