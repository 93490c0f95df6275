"""Candidates by MinHash."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from rungwise.dataset.similar.hashing import (
    AT_ONCE,
    CHARACTERS_AT_ONCE,
    FULL_BUCKET,
    MOST_HASHES,
    Hashes,
    Numbers,
    distinct,
    folded_hashes,
    portions,
    rolling_hashes,
)

SHINGLE: Final = 5
"""Characters of a shingle: long enough that unrelated sentences of one field share few."""
BANDS: Final = (16, 6)
"""Bands of a MinHash signature and numbers a band: 99 of 100 pairs at Jaccard 0.8 meet, 1 of 1,000 at 0.2."""
LOOSE_BANDS: Final = (28, 5)
"""For candidates that edit distance and words will judge: 97 of 100 pairs at Jaccard 0.65 meet."""


class Shingles:
    """The hashes of texts' 5-grams, made once and kept: 8 bytes a character."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts, self._one_of = texts, 1 + sum(map(len, texts)) // MOST_HASHES
        self.flat, self.starts = _shingle_hashes(texts, self._one_of)

    def of(self, rows: Numbers, *, is_sampled: bool = True) -> tuple[Hashes, Hashes]:
        """Returns the hashes of some rows, and where each row's begin (and the end).

        Where there are more than MOST_HASHES only a sample is kept; without `is_sampled` all are made anew.
        """
        if self._one_of > 1 and not is_sampled:
            return _shingle_hashes([self.texts[row] for row in rows.tolist()])
        begin = self.starts[rows].astype(np.int64)
        sizes = self.starts[rows + 1].astype(np.int64) - begin
        starts = np.concatenate([[0], np.cumsum(sizes)])
        places = np.arange(starts[-1]) + np.repeat(begin - starts[:-1], sizes)
        return self.flat[places], starts.astype(np.uint64)


def _shingle_hashes(texts: Sequence[str], one_of: int = 1) -> tuple[Hashes, Hashes]:
    """Returns the hashes of all texts' 5-grams one after the other, and where each text's begin (and the end).

    `one_of`: of so many 5-grams one is kept, the same ones in every text.
    """
    parts: list[Hashes] = []
    sizes = np.zeros(len(texts) + 1, dtype=np.int64)
    for begin, end in portions([len(text) for text in texts], CHARACTERS_AT_ONCE):
        padded = [f" {text} ".ljust(SHINGLE) for text in texts[begin:end]]
        codes = np.frombuffer("".join(padded).encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
        lengths = np.array([len(text) for text in padded], dtype=np.int64)
        keep = np.ones(len(codes), dtype=bool)
        for back in range(1, SHINGLE):  # the last four characters of a text begin no shingle
            keep[np.cumsum(lengths) - back] = False
        keep = keep[: len(codes) - SHINGLE + 1]
        hashes = rolling_hashes(codes, SHINGLE)
        if one_of > 1:
            keep &= hashes % np.uint64(one_of) == 0
        row_of = np.repeat(np.arange(begin, end), lengths)[: len(keep)]
        sizes[begin + 1 : end + 1] = np.bincount(row_of[keep] - begin, minlength=end - begin)
        parts.append(hashes[keep])
    flat = np.concatenate(parts) if parts else np.array([], dtype=np.uint64)
    return flat, np.cumsum(sizes).astype(np.uint64)


def minhash_pairs(grams: Shingles, bands: tuple[int, int]) -> Numbers:
    """Returns the pairs of texts (shape [P, 2]) whose MinHash signatures agree in a whole band, sorted, each once."""
    from rensa import RMinHash, RMinHashLSH

    (n_bands, width), n = bands, len(grams.texts)

    def digests(flat: Hashes, starts: Hashes) -> Any:
        return RMinHash.digest_matrix_from_flat_token_hashes(flat, starts, n_bands * width, 7)

    # rows that share no band with any other are told apart by rensa, before signatures are read as numbers
    index = RMinHashLSH(0.5, n_bands * width, n_bands)
    flags = index.query_duplicate_flags_matrix_one_shot(digests(grams.flat, grams.starts)) if n else []
    met = np.flatnonzero(np.array(flags, dtype=bool))
    keys = np.empty((n_bands, len(met)), dtype=np.uint64)
    for begin in range(0, len(met), AT_ONCE // 4):
        some = met[begin : begin + AT_ONCE // 4]
        signature = np.array(digests(*grams.of(some)).to_rows(), dtype=np.uint64)
        for band in range(n_bands):
            keys[band, begin : begin + len(some)] = folded_hashes(signature[:, band * width : (band + 1) * width])
    codes = distinct(np.concatenate([_bucket_pairs(keys[band], met, n) for band in range(n_bands)]))
    return np.stack([codes // max(1, n), codes % max(1, n)], axis=1)


def _bucket_pairs(keys: Hashes, rows: Numbers, n: int) -> Numbers:
    """Returns pairs of rows with equal keys, as `left * n + right`; `rows` are sorted."""
    order = np.argsort(keys, kind="stable")
    keys, rows = keys[order], rows[order]
    new = np.concatenate([[True], keys[1:] != keys[:-1]])[: len(keys)]
    bucket = np.cumsum(new) - 1
    size = np.bincount(bucket, minlength=1)[bucket] if len(keys) else bucket
    reach = np.where(size <= FULL_BUCKET, size, 2)
    found = [np.array([], dtype=np.int64)]
    for step in range(1, min(FULL_BUCKET, len(keys))):
        meets = np.flatnonzero((keys[step:] == keys[:-step]) & (reach[:-step] >= step))
        if not len(meets):
            break
        found.append(rows[meets] * n + rows[meets + step])
    return np.concatenate(found)
