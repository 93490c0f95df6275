"""64-bit hashes of many rows at once, and the limits that bound their memory."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Integers = NDArray[np.int64]
CHUNK_CHARACTERS: Final = 1_000_000
"""Characters of text that are hashed or compared at a time."""
MAX_HASHES: Final = 200_000_000
"""Upper bound of the 5-grams, or runs of words, that are held. Beyond it a sample is used, the same in every text."""
MAX_BUCKET_ROWS: Final = 32
"""Up to this many rows with the same hash are all paired with each other; of more, each only with its neighbours."""


def distinct(values: NDArray[Any]) -> NDArray[Any]:
    """Returns the distinct values, sorted. Ten times as fast as `np.unique`, which hashes integers."""
    ordered = np.sort(values)
    is_new = np.ones(len(ordered), dtype=bool)
    is_new[1:] = ordered[1:] != ordered[:-1]
    distinct: NDArray[Any] = ordered[is_new]
    return distinct


def chunks(sizes: Sequence[int], limit: int) -> Iterator[tuple[int, int]]:
    """Yields (begin, end) of consecutive rows whose sizes add up to `limit` or slightly more."""
    begin = total = 0
    for row, size in enumerate(sizes):
        total += size
        if total >= limit:
            yield begin, row + 1
            begin, total = row + 1, 0
    if begin < len(sizes):
        yield begin, len(sizes)


def rolling_hashes(values: Hashes, width: int) -> Hashes:
    """Returns a hash of every run of `width` consecutive values."""
    n = len(values) - width + 1
    total = np.zeros(max(0, n), dtype=np.uint64)
    for offset in range(width):
        total = total * np.uint64(0x9E3779B97F4A7C15) + values[offset : offset + n] + np.uint64(1)
    return mixed(total)


def folded_hashes(values_RW: Hashes) -> Hashes:
    """Returns a hash of each row of integers."""
    total = np.zeros(len(values_RW), dtype=np.uint64)
    for column in values_RW.T:
        total = mixed(total + column)
    return total


def mixed(values: Hashes) -> Hashes:
    """Returns each integer mixed over 64 bits by the finalizer of SplitMix64 (Steele, Lea and Flood, 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
