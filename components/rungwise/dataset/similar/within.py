"""Near duplicates of one collection."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rungwise.dataset.similar.hashing import CHARACTERS_AT_ONCE, Numbers, distinct
from rungwise.dataset.similar.minhash import BANDS, Shingles, minhash_pairs
from rungwise.dataset.similar.pairs import Pair


def near_pairs(texts: Sequence[str], threshold: float) -> list[Pair]:
    """Returns pairs of `texts`, which are plain, with Jaccard similarity of 5-grams at or above `threshold`.

    The similarity is that of the sets of the 5-grams' hashes of 44 bits, which differs from that of the 5-grams once in
    about 10**9 pairs of short texts. Equal texts are not looked for. Of more than FULL_BUCKET texts that are candidates
    of each other not every pair is made, but each text with some: enough to put them into one cluster. Sorted.
    """
    grams = Shingles(texts)
    pairs_P2 = minhash_pairs(grams, BANDS)
    if not len(pairs_P2):
        return []
    sizes = np.array([len(text) for text in texts], dtype=np.int64)
    chunk_P = np.cumsum(sizes[pairs_P2].sum(axis=1)) // CHARACTERS_AT_ONCE
    found = []
    for some_P2 in np.split(pairs_P2, np.flatnonzero(np.diff(chunk_P)) + 1):
        similarity_P = _jaccard(grams, some_P2)
        for place in np.flatnonzero(similarity_P >= threshold).tolist():
            left, right = some_P2[place].tolist()
            if texts[left] != texts[right]:
                found.append(Pair(left, right, "near", float(similarity_P[place])))
    return found


def _jaccard(grams: Shingles, pairs_P2: Numbers) -> NDArray[np.float64]:
    """Returns the Jaccard similarity of each pair's sets of 5-grams."""
    rows_R = distinct(pairs_P2.ravel())
    places_P2 = np.searchsorted(rows_R, pairs_P2)
    hashes, starts = grams.of(rows_R, is_sampled=False)
    ends = starts.astype(np.int64)
    n_R = ends[1:] - ends[:-1]
    row_of = np.repeat(np.arange(len(rows_R), dtype=np.uint64), n_R)
    own = distinct((row_of << np.uint64(44)) | (hashes >> np.uint64(20)))
    ends_R = np.cumsum(np.bincount((own >> np.uint64(44)).astype(np.int64), minlength=len(rows_R)))
    sizes_R = np.diff(ends_R, prepend=0)
    n_P2: Numbers = sizes_R[places_P2]
    # of every pair the left text's grams, each looked for among the right text's
    n_P = n_P2[:, 0]
    pair_of = np.repeat(np.arange(len(pairs_P2)), n_P)
    first = np.repeat((ends_R - sizes_R)[places_P2[:, 0]] - (np.cumsum(n_P) - n_P), n_P)
    left = own[first + np.arange(len(first))] & np.uint64((1 << 44) - 1)
    wanted = (places_P2[pair_of, 1].astype(np.uint64) << np.uint64(44)) | left
    place = np.minimum(np.searchsorted(own, wanted), len(own) - 1)
    shared_P = np.bincount(pair_of[own[place] == wanted], minlength=len(pairs_P2))
    similarity_P: NDArray[np.float64] = shared_P / (n_P2.sum(axis=1) - shared_P)
    return similarity_P
