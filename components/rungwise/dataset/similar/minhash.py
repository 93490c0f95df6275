"""Candidate pairs by MinHash: texts whose character 5-grams are likely to overlap.

Reads texts, returns pairs of row numbers. The pairs are not verified here.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from rungwise.dataset.similar.hashing import (
    CHUNK_CHARACTERS,
    MAX_BUCKET_ROWS,
    MAX_HASHES,
    Hashes,
    Integers,
    chunks,
    distinct,
    folded_hashes,
    rolling_hashes,
)

SHINGLE: Final = 5
"""Characters of a shingle. Long enough that unrelated sentences about one subject share few."""
BANDS: Final = (16, 6)
"""Bands of a MinHash signature and values per band. Finds 99 of 100 pairs at Jaccard 0.8, and 1 of 1,000 at 0.2."""
LOOSE_BANDS: Final = (28, 5)
"""Bands for candidates that edit distance and shared words verify. Finds 97 of 100 pairs at Jaccard 0.65."""
CHUNK_SIGNATURES: Final = 12_500
"""MinHash signatures that are held as integers at a time."""


class Shingles:
    """The hashes of the texts' 5-grams, computed once: 8 bytes per character."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts, self._keep_one_in = texts, 1 + sum(map(len, texts)) // MAX_HASHES
        self.flat, self.starts = _shingle_hashes(texts, self._keep_one_in)

    def take(self, rows: Integers, *, is_sampled: bool = True) -> tuple[Hashes, Hashes]:
        """Returns the hashes of some rows, and where each row's hashes begin (and the end).

        Above MAX_HASHES only a sample of the hashes is held. Without `is_sampled` all of them are computed again.
        """
        if self._keep_one_in > 1 and not is_sampled:
            return _shingle_hashes([self.texts[row] for row in rows.tolist()])
        begin = self.starts[rows].astype(np.int64)
        sizes = self.starts[rows + 1].astype(np.int64) - begin
        starts = np.concatenate([[0], np.cumsum(sizes)])
        places = np.arange(starts[-1]) + np.repeat(begin - starts[:-1], sizes)
        return self.flat[places], starts.astype(np.uint64)


def _shingle_hashes(texts: Sequence[str], keep_one_in: int = 1) -> tuple[Hashes, Hashes]:
    """Returns the hashes of all texts' 5-grams in one array, and where each text's hashes begin (and the end).

    `keep_one_in`: keep one in this many 5-grams, the same ones in every text.
    """
    parts: list[Hashes] = []
    sizes = np.zeros(len(texts) + 1, dtype=np.int64)
    for begin, end in chunks([len(text) for text in texts], CHUNK_CHARACTERS):
        padded = [f" {text} ".ljust(SHINGLE) for text in texts[begin:end]]
        codes = np.frombuffer("".join(padded).encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
        lengths = np.array([len(text) for text in padded], dtype=np.int64)
        keep = np.ones(len(codes), dtype=bool)
        for back in range(1, SHINGLE):  # no shingle begins in the last four characters of a text
            keep[np.cumsum(lengths) - back] = False
        keep = keep[: len(codes) - SHINGLE + 1]
        hashes = rolling_hashes(codes, SHINGLE)
        if keep_one_in > 1:
            keep &= hashes % np.uint64(keep_one_in) == 0
        row_of = np.repeat(np.arange(begin, end), lengths)[: len(keep)]
        sizes[begin + 1 : end + 1] = np.bincount(row_of[keep] - begin, minlength=end - begin)
        parts.append(hashes[keep])
    flat = np.concatenate(parts) if parts else np.array([], dtype=np.uint64)
    return flat, np.cumsum(sizes).astype(np.uint64)


def minhash_pairs(shingles: Shingles, bands: tuple[int, int]) -> Integers:
    """Returns the distinct pairs of texts whose MinHash signatures agree in a whole band, sorted; shape [P, 2]."""
    from rensa import RMinHash, RMinHashLSH

    (n_bands, width), n = bands, len(shingles.texts)

    def digests(flat: Hashes, starts: Hashes) -> Any:
        return RMinHash.digest_matrix_from_flat_token_hashes(flat, starts, n_bands * width, 7)

    # rensa first drops the rows that share no band with another, because reading signatures as integers is slow
    index = RMinHashLSH(0.5, n_bands * width, n_bands)
    flags = index.query_duplicate_flags_matrix_one_shot(digests(shingles.flat, shingles.starts)) if n else []
    matched = np.flatnonzero(np.array(flags, dtype=bool))
    keys = np.empty((n_bands, len(matched)), dtype=np.uint64)
    for begin in range(0, len(matched), CHUNK_SIGNATURES):
        chunk = matched[begin : begin + CHUNK_SIGNATURES]
        signature = np.array(digests(*shingles.take(chunk)).to_rows(), dtype=np.uint64)
        for band in range(n_bands):
            keys[band, begin : begin + len(chunk)] = folded_hashes(signature[:, band * width : (band + 1) * width])
    codes = distinct(np.concatenate([_bucket_pairs(keys[band], matched, n) for band in range(n_bands)]))
    return np.stack([codes // max(1, n), codes % max(1, n)], axis=1)


def _bucket_pairs(keys: Hashes, rows: Integers, n: int) -> Integers:
    """Returns pairs of rows with equal keys, each as `left * n + right`. `rows` are sorted."""
    order = np.argsort(keys, kind="stable")
    keys, rows = keys[order], rows[order]
    new = np.concatenate([[True], keys[1:] != keys[:-1]])[: len(keys)]
    bucket = np.cumsum(new) - 1
    size = np.bincount(bucket, minlength=1)[bucket] if len(keys) else bucket
    max_step = np.where(size <= MAX_BUCKET_ROWS, size, 2)
    pairs = [np.array([], dtype=np.int64)]
    for step in range(1, min(MAX_BUCKET_ROWS, len(keys))):
        same = np.flatnonzero((keys[step:] == keys[:-step]) & (max_step[:-step] >= step))
        if not len(same):
            break
        pairs.append(rows[same] * n + rows[same + step])
    return np.concatenate(pairs)
