"""Candidates across two collections."""

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from rungwise.dataset.similar.hashing import AT_ONCE, FULL_BUCKET, MOST_HASHES, Hashes, Numbers, mixed, rolling_hashes
from rungwise.dataset.similar.minhash import LOOSE_BANDS, Shingles, minhash_pairs
from rungwise.dataset.similar.words import Words

LEFT_OUT_WORDS: Final = 16
"""Up to so many words a text is also looked for with two of them left out; beyond, MinHash finds it."""
RUN: Final = 4
"""Words of a run by which a text is looked for inside others, and the fewest that count as contained."""


def cross_candidates(both: Words) -> Iterator[tuple[int, int]]:
    """Yields (row of left, row of right), each once, sorted."""
    if not both.n_left or both.n_left == len(both.texts):
        return
    is_long = both.sizes > LEFT_OUT_WORDS
    long_rows = np.flatnonzero(is_long)
    long_pairs = long_rows[minhash_pairs(Shingles([both.texts[row] for row in long_rows]), LOOSE_BANDS)]
    met = {(a, b) for a, b in long_pairs.tolist() if a < both.n_left <= b}
    met |= set(_bag_pairs(both)) | set(_run_pairs(both))
    for a, b in sorted(met):
        yield a, b - both.n_left


def _bag_pairs(both: Words) -> Iterator[tuple[int, int]]:
    """Yields pairs across the collections whose bags of words are equal but for at most two words on each side."""
    index_keys, index_rows = _concatenated(_bags(both, both.n_left, len(both.texts)))
    order = np.argsort(index_keys, kind="stable")
    index_keys, index_rows = index_keys[order], index_rows[order]
    for keys, rows in _bags(both, 0, both.n_left):
        yield from _meetings(keys, rows, index_keys, index_rows)


def _bags(both: Words, first: int, last: int) -> Iterator[tuple[Hashes, Numbers]]:
    """Yields (hash of a bag, its row), some rows at a time: the whole bag, without a word, without two.

    The hash of a bag is the sum of its words' hashes, so that leaving a word out is a subtraction. At least one word
    stays, and of four or more at least half.
    """
    hashes = mixed(both.flat.astype(np.uint64))
    for size in np.unique(both.sizes[first:last]):
        rows = first + np.flatnonzero(both.sizes[first:last] == size)
        pairs = np.triu_indices(size, 1) if 4 <= size <= LEFT_OUT_WORDS else (np.array([], int), np.array([], int))
        step = max(1, AT_ONCE * 16 // (1 + size + len(pairs[0])))
        for begin in range(0, len(rows), step):
            some = rows[begin : begin + step]
            h_RW = hashes[both.starts[some][:, None] + np.arange(size)]
            whole_R1 = h_RW.sum(axis=1, keepdims=True)
            bags = [whole_R1, whole_R1 - h_RW if size > 1 else whole_R1[:, :0]]
            bags.append(whole_R1 - h_RW[:, pairs[0]] - h_RW[:, pairs[1]])
            keys_RB = np.concatenate(bags, axis=1)
            yield keys_RB.ravel(), np.repeat(some, keys_RB.shape[1])


def _run_pairs(both: Words) -> Iterator[tuple[int, int]]:
    """Yields pairs across the collections where one text has the rarest run of words of the other."""
    n = len(both.flat) - RUN + 1
    if n <= 0:
        return
    hashes = rolling_hashes(both.flat.astype(np.uint64), RUN)
    rows = np.repeat(np.arange(len(both.texts)), both.sizes)[:n]
    whole = np.flatnonzero(np.arange(n) + RUN <= both.starts[rows + 1])  # runs that end in the row they begin in
    if (one_of := 1 + len(whole) // MOST_HASHES) > 1:
        whole = whole[hashes[whole] % np.uint64(one_of) == 0]
    hashes, rows = hashes[whole], rows[whole]
    _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    order = np.lexsort((counts[inverse], rows))  # in each row the rarest run first
    firsts = order[np.flatnonzero(np.diff(rows[order], prepend=-1))]
    is_left = rows < both.n_left
    for of_inner, inner_is_left in ((firsts[is_left[firsts]], True), (firsts[~is_left[firsts]], False)):
        keys = hashes[of_inner]
        by_key = np.argsort(keys, kind="stable")
        outer = np.flatnonzero(is_left != inner_is_left)
        for begin in range(0, len(outer), AT_ONCE * 16):
            some = outer[begin : begin + AT_ONCE * 16]
            for a, b in _meetings(hashes[some], rows[some], keys[by_key], rows[of_inner][by_key]):
                yield (b, a) if inner_is_left else (a, b)


def _meetings(keys: Hashes, rows: Numbers, index_keys: Hashes, index_rows: Numbers) -> Iterator[tuple[int, int]]:
    """Yields (row, indexed row) with equal keys; of an indexed key that many rows have, FULL_BUCKET of them."""
    if not len(index_keys):
        return
    order = np.argsort(keys)  # sorted questions walk through the index once
    keys, rows = keys[order], rows[order]
    begin = np.searchsorted(index_keys, keys)
    hit = np.flatnonzero(index_keys[np.minimum(begin, len(index_keys) - 1)] == keys)
    end = np.searchsorted(index_keys, keys[hit], "right")
    for row, first, last in zip(rows[hit].tolist(), begin[hit].tolist(), end.tolist(), strict=True):
        for place in range(first, min(last, first + FULL_BUCKET)):
            yield row, int(index_rows[place])


def _concatenated(parts: Iterable[tuple[Hashes, Numbers]]) -> tuple[Hashes, Numbers]:
    keys, rows = [], []
    for some_keys, some_rows in parts:
        keys.append(some_keys)
        rows.append(some_rows)
    if not keys:
        return np.array([], dtype=np.uint64), np.array([], dtype=np.int64)
    return np.concatenate(keys), np.concatenate(rows)
