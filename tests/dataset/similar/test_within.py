import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from rungwise.dataset.similar import near_pairs
from tests.dataset.conftest import edited


def jaccard(a: str, b: str) -> float:
    grams = [{f" {t} ".ljust(5)[i : i + 5] for i in range(max(1, len(t) - 2))} for t in (a, b)]
    return len(grams[0] & grams[1]) / len(grams[0] | grams[1])


def test_near_pairs_equal_those_of_a_comparison_of_every_pair():
    texts = edited(800, 1)
    every = {
        (i, j): value
        for i in range(len(texts))
        for j in range(i + 1, len(texts))
        if texts[i] != texts[j] and (value := jaccard(texts[i], texts[j])) >= 0.8
    }
    result = {(p.left, p.right): p.similarity for p in near_pairs(texts, 0.8)}
    assert len(every) > 50 and result.keys() <= every.keys()
    assert all(result[pair] == pytest.approx(every[pair]) for pair in result)
    assert len(result) >= 0.97 * len(every)


def test_many_equal_candidates_form_one_cluster_without_every_pair():
    texts = [f"the same long sentence about a lost parcel and its driver, seen {chr(97 + i % 26)}" for i in range(200)]
    pairs = near_pairs(texts, 0.8)
    assert len(pairs) < 200 * 33
    joined = csr_array((np.ones(len(pairs)), ([p.left for p in pairs], [p.right for p in pairs])), (200, 200))
    assert connected_components(joined, directed=False)[0] <= 3
