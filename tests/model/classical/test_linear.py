import numpy as np
import pytest
from scipy.sparse import csr_matrix

from rungwise.model.classical import linear
from rungwise.model.classical.features import Features
from rungwise.model.classical.linear import choose, fit_items, fit_labels, folds, logistic, probability, within
from tests.conftest import planted_rows

TEXTS, ANSWERS = zip(*planted_rows(80), strict=True)
NAMES = sorted(set(ANSWERS))
PLACES = np.array([NAMES.index(answer) for answer in ANSWERS])
WEIGHTS = Features.fitted(TEXTS)(TEXTS)


def test_scores_are_those_of_scikit_learn_also_for_two_labels():
    from sklearn.svm import LinearSVC

    reference = LinearSVC(C=0.3, random_state=0).fit(WEIGHTS, PLACES)
    assert fit_labels(WEIGHTS, PLACES, 4, 0.3)(WEIGHTS) == pytest.approx(reference.decision_function(WEIGHTS), abs=1e-3)
    two = PLACES // 2
    reference = LinearSVC(C=0.3, random_state=0).fit(WEIGHTS, two)
    scores = fit_labels(WEIGHTS, two, 2, 0.3)(WEIGHTS)
    assert scores[:, 1] == pytest.approx(reference.decision_function(WEIGHTS), abs=1e-3)
    assert scores[:, 0] == pytest.approx(-scores[:, 1], abs=1e-5)


def test_items_have_a_column_each_and_labels_without_a_row_the_lowest_score():
    hot = np.stack([PLACES == 0, PLACES >= 0, PLACES < 0, PLACES == 2], axis=1)
    scores = fit_items(WEIGHTS, hot, 1.0)(WEIGHTS)
    assert ((scores[:, [0, 3]] > 0) == hot[:, [0, 3]]).all()
    assert (scores[:, 1] == -linear.LOWEST).all() and (scores[:, 2] == linear.LOWEST).all()
    assert (fit_labels(WEIGHTS, PLACES, 6, 1.0)(WEIGHTS)[:, 4:] == linear.LOWEST).all()


def test_held_out_rows_are_whole_groups():
    groups = [f"g{i // 3}" for i in range(30)]
    for fitted, rest in folds(groups):
        assert not {groups[i] for i in fitted} & {groups[i] for i in rest}
    assert sorted(i for _, rest in folds(groups) for i in rest) == list(range(30))
    assert folds(["one"] * 5) == []


def test_c_is_that_of_the_best_held_out_scores():
    asked = []

    def fit(x, y, c):
        asked.append(c)
        return lambda rest: np.full((rest.shape[0], 2), c)

    x, y, groups = csr_matrix(np.ones((6, 1))), np.zeros(6), list("aabbcc")
    best, scores = choose(x, y, groups, fit, lambda s, _: -abs(float(s[0, 0]) - 0.3))
    assert best == 0.3 and (scores == 0.3).all() and sorted(set(asked)) == sorted(linear.GRID)
    assert choose(x, y, ["a"] * 6, fit, lambda s, _: 0.0) == (linear.USUAL, None)
    assert choose(x, y, groups, fit, lambda s, _: 0.0)[0] == linear.GRID[0], "the first of equals"


def test_a_fit_costs_at_most_its_work():
    assert len(within(10**9, WEIGHTS, 4)) == 80
    assert len(within(WEIGHTS.nnz, WEIGHTS, 4)) == 20
    assert len(within(1, WEIGHTS, 4)) == 1


def test_probabilities_grow_with_the_score():
    scores = np.array([-1.2, -0.8, -1.0, 0.9, 1.1, 0.2])
    slope, shift = logistic(scores, scores > 0)
    chances = probability(scores, slope, shift)
    assert slope > 0 and (np.diff(chances[np.argsort(scores)]) > 0).all()
    assert logistic(scores, scores > 9) == logistic(scores, scores < 9) == (4.0, 0.0)
