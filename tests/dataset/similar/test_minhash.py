import numpy as np

from rungwise.dataset.similar import minhash
from tests.dataset.conftest import edited


def test_the_candidates_are_the_rows_that_the_library_flags():
    from rensa import RMinHash, RMinHashLSH

    texts = edited(600, 2)
    grams, (n_bands, width) = minhash.Shingles(texts), minhash.BANDS
    digests = RMinHash.digest_matrix_from_flat_token_hashes(grams.flat, grams.starts, n_bands * width, 7)
    flags = RMinHashLSH(0.5, n_bands * width, n_bands).query_duplicate_flags_matrix_one_shot(digests)
    assert set(minhash.minhash_pairs(grams, minhash.BANDS).ravel().tolist()) == set(np.flatnonzero(flags).tolist())
