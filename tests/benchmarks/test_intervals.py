"""The benchmark of intervals on few repetitions."""

import numpy as np
import pytest

from benchmarks.intervals import KINDS, SIZES, above, groups_of, scores, table


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_the_scores_have_the_stated_truth(kind, size):
    draw = np.random.default_rng(1)
    means = [np.mean(scores(kind, groups_of(1000, size, draw), draw)) for _ in range(60)]
    assert np.mean(means) == pytest.approx(KINDS[kind], abs=0.006)


def test_the_plain_rule_misses_where_low_scores_are_rare_and_ours_does_not():
    ours, plain = above("rarely low", 104, 1, 200) or (1, 0)
    assert ours < 0.03 and plain > 0.05
    assert above("rarely low", 104, 8, 2) is None


def test_the_table_says_which_rows_no_gate_judges():
    shown = table({"right on 0.90, 304 rows, groups of 8": (0.0213, 0.031)})
    assert "| right on 0.90 | groups of 8 | not judged | not judged | 2.1% (3.1%) | not judged |" in shown
