import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rungwise.dataset.similar.hashing import chunks, distinct, rolling_hashes


@given(st.lists(st.integers(0, 50)))
def test_distinct_values_equal_those_of_numpy(values):
    assert distinct(np.array(values, dtype=np.int64)).tolist() == np.unique(values).astype(int).tolist()


@given(st.lists(st.integers(0, 20)), st.integers(1, 40))
def test_chunks_cover_every_row_once_and_reach_their_limit(sizes, limit):
    result = list(chunks(sizes, limit))
    assert [row for begin, end in result for row in range(begin, end)] == list(range(len(sizes)))
    assert all(sum(sizes[begin : end - 1]) < limit for begin, end in result)
    assert all(sum(sizes[begin:end]) >= limit for begin, end in result[:-1])


def test_equal_runs_have_equal_hashes():
    hashes = rolling_hashes(np.array([1, 2, 3, 1, 2, 3, 2], dtype=np.uint64), 3)
    assert hashes[0] == hashes[3] and len(set(hashes.tolist())) == 4
    assert len(rolling_hashes(np.array([1], dtype=np.uint64), 3)) == 0
