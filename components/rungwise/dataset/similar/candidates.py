"""Candidate pairs across two collections: by bags of words, by MinHash, and by rare runs of words.

Reads word ids, returns pairs of row numbers. The pairs are not verified here.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from rungwise.dataset.similar.hashing import MAX_BUCKET_ROWS, MAX_HASHES, Hashes, Integers, mixed, rolling_hashes
from rungwise.dataset.similar.minhash import LOOSE_BANDS, Shingles, minhash_pairs
from rungwise.dataset.similar.words import WordIds

MAX_BAG_WORDS: Final = 16
"""Up to this many words, bags without two of the words are also compared; MinHash covers longer texts."""
CHUNK_HASHES: Final = 800_000
"""Hashes of bags, or of runs of words, that are computed or looked up at a time."""
RUN_WORDS: Final = 4
"""Length of the runs of words by which a text is searched for inside others; shorter texts never count as contained."""


def cross_candidates(words: WordIds) -> Iterator[tuple[int, int]]:
    """Yields each candidate pair (row of left, row of right) once, sorted."""
    if not words.n_left or words.n_left == len(words.texts):
        return
    long_rows = np.flatnonzero(words.sizes > MAX_BAG_WORDS)
    long_pairs = long_rows[minhash_pairs(Shingles([words.texts[row] for row in long_rows]), LOOSE_BANDS)]
    pairs = {(a, b) for a, b in long_pairs.tolist() if a < words.n_left <= b}
    pairs |= set(_bag_pairs(words)) | set(_run_pairs(words))
    for a, b in sorted(pairs):
        yield a, b - words.n_left


def _bag_pairs(words: WordIds) -> Iterator[tuple[int, int]]:
    """Yields pairs across the collections whose bags of words are equal except for at most two words on each side."""
    index_keys, index_rows = _concatenated(_bag_hashes(words, words.n_left, len(words.texts)))
    order = np.argsort(index_keys, kind="stable")
    index_keys, index_rows = index_keys[order], index_rows[order]
    for keys, rows in _bag_hashes(words, 0, words.n_left):
        yield from _matches(keys, rows, index_keys, index_rows)


def _bag_hashes(words: WordIds, first: int, last: int) -> Iterator[tuple[Hashes, Integers]]:
    """Yields (hashes of bags, their rows) in chunks: each row's whole bag, without one word, and without two words.

    The hash of a bag is the sum of its words' hashes, so leaving out a word is a subtraction. At least one word stays,
    and at least half of four or more.
    """
    hashes = mixed(words.flat.astype(np.uint64))
    for size in np.unique(words.sizes[first:last]):
        rows = first + np.flatnonzero(words.sizes[first:last] == size)
        pairs = np.triu_indices(size, 1) if 4 <= size <= MAX_BAG_WORDS else (np.array([], int), np.array([], int))
        step = max(1, CHUNK_HASHES // (1 + size + len(pairs[0])))
        for begin in range(0, len(rows), step):
            chunk = rows[begin : begin + step]
            h_RW = hashes[words.starts[chunk][:, None] + np.arange(size)]
            whole_R1 = h_RW.sum(axis=1, keepdims=True)
            bags = [whole_R1, whole_R1 - h_RW if size > 1 else whole_R1[:, :0]]
            bags.append(whole_R1 - h_RW[:, pairs[0]] - h_RW[:, pairs[1]])
            keys_RB = np.concatenate(bags, axis=1)
            yield keys_RB.ravel(), np.repeat(chunk, keys_RB.shape[1])


def _run_pairs(words: WordIds) -> Iterator[tuple[int, int]]:
    """Yields pairs across the collections where one text contains the other's rarest run of words."""
    n = len(words.flat) - RUN_WORDS + 1
    if n <= 0:
        return
    hashes = rolling_hashes(words.flat.astype(np.uint64), RUN_WORDS)
    rows = np.repeat(np.arange(len(words.texts)), words.sizes)[:n]
    # only runs that end in the row where they begin
    whole = np.flatnonzero(np.arange(n) + RUN_WORDS <= words.starts[rows + 1])
    if (keep_one_in := 1 + len(whole) // MAX_HASHES) > 1:
        whole = whole[hashes[whole] % np.uint64(keep_one_in) == 0]
    hashes, rows = hashes[whole], rows[whole]
    _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    order = np.lexsort((counts[inverse], rows))  # the rarest run of each row first
    firsts = order[np.flatnonzero(np.diff(rows[order], prepend=-1))]
    is_left = rows < words.n_left
    for of_inner, inner_is_left in ((firsts[is_left[firsts]], True), (firsts[~is_left[firsts]], False)):
        keys = hashes[of_inner]
        by_key = np.argsort(keys, kind="stable")
        outer = np.flatnonzero(is_left != inner_is_left)
        for begin in range(0, len(outer), CHUNK_HASHES):
            chunk = outer[begin : begin + CHUNK_HASHES]
            for a, b in _matches(hashes[chunk], rows[chunk], keys[by_key], rows[of_inner][by_key]):
                yield (b, a) if inner_is_left else (a, b)


def _matches(keys: Hashes, rows: Integers, index_keys: Hashes, index_rows: Integers) -> Iterator[tuple[int, int]]:
    """Yields (row, indexed row) with equal keys; at most MAX_BUCKET_ROWS indexed rows per key."""
    if not len(index_keys):
        return
    order = np.argsort(keys)  # sorted keys walk through the index once
    keys, rows = keys[order], rows[order]
    begin = np.searchsorted(index_keys, keys)
    hit = np.flatnonzero(index_keys[np.minimum(begin, len(index_keys) - 1)] == keys)
    end = np.searchsorted(index_keys, keys[hit], "right")
    for row, first, last in zip(rows[hit].tolist(), begin[hit].tolist(), end.tolist(), strict=True):
        for place in range(first, min(last, first + MAX_BUCKET_ROWS)):
            yield row, int(index_rows[place])


def _concatenated(parts: Iterable[tuple[Hashes, Integers]]) -> tuple[Hashes, Integers]:
    keys, rows = [], []
    for some_keys, some_rows in parts:
        keys.append(some_keys)
        rows.append(some_rows)
    if not keys:
        return np.array([], dtype=np.uint64), np.array([], dtype=np.int64)
    return np.concatenate(keys), np.concatenate(rows)
