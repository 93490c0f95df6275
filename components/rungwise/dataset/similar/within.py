"""Near duplicates within one collection, verified by the exact Jaccard similarity of their 5-grams."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rungwise.dataset.similar.hashing import CHUNK_CHARACTERS, Integers, distinct
from rungwise.dataset.similar.minhash import BANDS, Shingles, minhash_pairs
from rungwise.dataset.similar.pairs import Pair


def near_pairs(texts: Sequence[str], threshold: float) -> list[Pair]:
    """Returns the pairs of plain texts whose Jaccard similarity of 5-grams is at least `threshold`, sorted.

    Equal texts are not returned. Among more than MAX_BUCKET_ROWS texts that are all candidates of each other, each is
    paired with only some of the others: enough to put all of them into one cluster. The similarity compares sets of
    44-bit hashes of the 5-grams, which differs from that of the 5-grams in about 1 of 10**9 pairs of short texts.
    """
    shingles = Shingles(texts)
    pairs_P2 = minhash_pairs(shingles, BANDS)
    if not len(pairs_P2):
        return []
    sizes = np.array([len(text) for text in texts], dtype=np.int64)
    chunk_P = np.cumsum(sizes[pairs_P2].sum(axis=1)) // CHUNK_CHARACTERS
    pairs = []
    for chunk_P2 in np.split(pairs_P2, np.flatnonzero(np.diff(chunk_P)) + 1):
        similarity_P = _jaccard(shingles, chunk_P2)
        for place in np.flatnonzero(similarity_P >= threshold).tolist():
            left, right = chunk_P2[place].tolist()
            if texts[left] != texts[right]:
                pairs.append(Pair(left, right, "near", float(similarity_P[place])))
    return pairs


def _jaccard(shingles: Shingles, pairs_P2: Integers) -> NDArray[np.float64]:
    """Returns the Jaccard similarity of each pair's sets of 5-grams."""
    rows_R = distinct(pairs_P2.ravel())
    places_P2 = np.searchsorted(rows_R, pairs_P2)
    hashes, starts = shingles.take(rows_R, is_sampled=False)
    ends = starts.astype(np.int64)
    n_R = ends[1:] - ends[:-1]
    row_of = np.repeat(np.arange(len(rows_R), dtype=np.uint64), n_R)
    own = distinct((row_of << np.uint64(44)) | (hashes >> np.uint64(20)))
    ends_R = np.cumsum(np.bincount((own >> np.uint64(44)).astype(np.int64), minlength=len(rows_R)))
    sizes_R = np.diff(ends_R, prepend=0)
    n_P2: Integers = sizes_R[places_P2]
    # look up each shingle of the left text among those of the right text
    n_P = n_P2[:, 0]
    pair_of = np.repeat(np.arange(len(pairs_P2)), n_P)
    first = np.repeat((ends_R - sizes_R)[places_P2[:, 0]] - (np.cumsum(n_P) - n_P), n_P)
    left = own[first + np.arange(len(first))] & np.uint64((1 << 44) - 1)
    wanted = (places_P2[pair_of, 1].astype(np.uint64) << np.uint64(44)) | left
    place = np.minimum(np.searchsorted(own, wanted), len(own) - 1)
    shared_P = np.bincount(pair_of[own[place] == wanted], minlength=len(pairs_P2))
    similarity_P: NDArray[np.float64] = shared_P / (n_P2.sum(axis=1) - shared_P)
    return similarity_P
