"""Hashes of many rows at once."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Numbers = NDArray[np.int64]
AT_ONCE: Final = 50_000
"""Rows whose hashes are held at once."""
CHARACTERS_AT_ONCE: Final = 1_000_000
"""Characters of pairs of texts that are compared at once."""
MOST_HASHES: Final = 200_000_000
"""Of more 5-grams, or runs of words, than this only some are looked at, the same in every text."""
FULL_BUCKET: Final = 32
"""Of rows with one hash so many are paired with each other; of more, each with its neighbours alone."""


def distinct(values: NDArray[Any]) -> NDArray[Any]:
    """Returns the distinct values, sorted (`np.unique` hashes integers, which takes ten times as long)."""
    ordered = np.sort(values)
    is_new = np.ones(len(ordered), dtype=bool)
    is_new[1:] = ordered[1:] != ordered[:-1]
    distinct: NDArray[Any] = ordered[is_new]
    return distinct


def portions(sizes: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    """Yields (begin, end) of portions of rows whose sizes add up to `most` or a little more."""
    begin = total = 0
    for row, size in enumerate(sizes):
        total += size
        if total >= most:
            yield begin, row + 1
            begin, total = row + 1, 0
    if begin < len(sizes):
        yield begin, len(sizes)


def rolling_hashes(values: Hashes, width: int) -> Hashes:
    """Returns a hash for each run of `width` values."""
    n = len(values) - width + 1
    total = np.zeros(max(0, n), dtype=np.uint64)
    for offset in range(width):
        total = total * np.uint64(0x9E3779B97F4A7C15) + values[offset : offset + n] + np.uint64(1)
    return mixed(total)


def folded_hashes(values_RW: Hashes) -> Hashes:
    """Returns a hash of each row of numbers."""
    total = np.zeros(len(values_RW), dtype=np.uint64)
    for column in values_RW.T:
        total = mixed(total + column)
    return total


def mixed(values: Hashes) -> Hashes:
    """Returns each number spread over 64 bits (the finalizer of SplitMix64: Steele, Lea and Flood, 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
