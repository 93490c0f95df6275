"""Vectors of many texts: in batches of similar length, from a store where it has them.

A batch is a function of the set of texts alone, and it is computed or read as a whole. So the vectors of a set do not
depend on what the store held, and sets that share most of their texts share most of their batches.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rungwise.core.folders import is_sealed, read_json, write_folder, write_json
from rungwise.core.recipes import EMBEDDING
from rungwise.core.records import digest
from rungwise.model import limits
from rungwise.model.language_model import Progress

if TYPE_CHECKING:
    from rungwise.model.encoder import Encoder

_CUT: Final = 32
"""A batch ends after a text whose digest is divisible by this: after so many texts on average."""
_PREFIX: Final = "vectors-"
_BATCHES, _VECTORS = "batches.json", "vectors.safetensors"


@dataclass(frozen=True)
class Vectors:
    """The vectors of some texts."""

    rows_ND: Any
    """A numpy array of fp32, one row for each text, in their order."""
    tokens: int
    """Tokens of all texts, without padding."""
    cut: int
    """Texts that were longer than the encoder's input and were cut."""


def vectors_of(
    encoder: "Encoder", texts: Sequence[str], store: Path | None = None, progress: Progress | None = None
) -> Vectors:
    """Returns the vectors of `texts`; equal texts have equal vectors.

    `store`: a folder where vectors are looked up and kept, named by the base's files and the texts. The vector of a
    single text, as a server reads it, is not kept.

    Raises:
        ModelError: a vector is not finite.
    """
    import numpy as np

    store = store if len(texts) > 1 else None
    ids, cut = encoder.encode(texts)
    named = {hashlib.sha256(text.encode()).hexdigest(): i for i, text in enumerate(texts)}
    batches = batches_of({name: len(ids[i]) for name, i in named.items()})
    key = _key(encoder)
    names = [digest([key, batch]) for batch in batches]
    stored = _read(store, key, set(names)) if store else {}
    missing = [place for place, name in enumerate(names) if name not in stored]
    new: dict[str, Any] = {}
    total = sum(len(batches[place]) for place in missing)
    for place in missing:
        new[names[place]] = encoder.embed([ids[named[name]] for name in batches[place]]).numpy()
        if progress:
            progress(sum(map(len, new.values())), total, "texts embedded")
    if store and new:
        _write(store, key, new)
    rows: dict[str, Any] = {}
    for batch, name in zip(batches, names, strict=True):
        rows |= dict(zip(batch, stored[name] if name in stored else new[name], strict=True))
    order = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    rows_ND = np.stack([rows[name] for name in order]) if texts else np.zeros((0, 1), dtype=np.float32)
    return Vectors(rows_ND, sum(map(len, ids)), len(cut))


def batches_of(tokens: Mapping[str, int]) -> list[list[str]]:
    """Returns the batches of texts: name (hexadecimal digits) -> number of tokens.

    Texts are in order of length. A name decides where a batch ends, so that a new text changes only the batches near
    its place.
    """
    batches: list[list[str]] = []
    is_open = False
    for name in sorted(tokens, key=lambda name: (tokens[name], name)):
        n = len(batches[-1]) + 1 if is_open else 1
        if not is_open or n > limits.ENCODING_TEXTS or n * tokens[name] > limits.ENCODING_TOKENS:
            batches.append([])
        batches[-1].append(name)
        is_open = int(name, 16) % _CUT != 0
    return batches


def _key(encoder: "Encoder") -> str:
    """Returns the digest of what decides a text's vector."""
    libraries = {name: version(name).partition("+")[0] for name in ("torch", "transformers")}
    how = [encoder.digest, str(encoder.model.dtype), encoder.pooling, encoder.is_normalized, encoder.max_tokens]
    return digest([*how, libraries, EMBEDDING])[:16]


def _read(store: Path, key: str, wanted: set[str]) -> dict[str, Any]:
    """Returns the stored batches among `wanted`: name -> vectors."""
    from safetensors.numpy import load_file

    vectors: dict[str, Any] = {}
    for folder in sorted(store.glob(f"{_PREFIX}{key}-*")):
        if not is_sealed(folder):
            continue
        places = {
            name: place for name, place in read_json(folder / _BATCHES).items() if name in wanted - vectors.keys()
        }
        if places:
            vectors_ND = load_file(folder / _VECTORS)["vectors"]
            vectors |= {name: vectors_ND[start:end] for name, (start, end) in places.items()}
    return vectors


def _write(store: Path, key: str, new: Mapping[str, Any]) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    def write(part: Path) -> None:
        save_file({"vectors": np.concatenate(list(new.values()))}, part / _VECTORS)
        places, start = {}, 0
        for name, rows in new.items():
            places[name] = [start, start + len(rows)]
            start += len(rows)
        write_json(part / _BATCHES, places)

    write_folder(store / f"{_PREFIX}{key}-{digest(list(new))[:16]}", write)


def stored_vectors(store: Path) -> list[Path]:
    """Returns the folders of a store that hold vectors of rows' texts."""
    return sorted(store.glob(f"{_PREFIX}*"))
