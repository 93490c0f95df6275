import numpy as np
import pytest

from rungwise.model import linear
from rungwise.model.linear import Fitted, fit_items, fit_labels, label_shares, sigmoid


def planted(n: int = 240, width: int = 12, seed: int = 3):
    """Vectors, and three scores of each that a label or items follow."""
    draw = np.random.default_rng(seed)
    vectors_ND = draw.standard_normal((n, width)).astype(np.float32)
    return vectors_ND, vectors_ND @ draw.standard_normal((width, 3)), [f"g{i}" for i in range(n)]


def test_labels_equal_those_of_scikit_learn_at_the_chosen_strength():
    from sklearn.linear_model import LogisticRegression

    vectors_ND, scores_NK, groups = planted()
    for labels in ([str(k) for k in scores_NK.argmax(1)], ["yes" if s > 0 else "no" for s in scores_NK[:, 0]]):
        fitted = fit_labels(vectors_ND, labels, groups, 1)
        assert isinstance(fitted, Fitted) and fitted.head["C"] in linear.STRENGTHS
        reference = LogisticRegression(C=fitted.head["C"], max_iter=200).fit(vectors_ND, labels)
        shares_NK = label_shares(vectors_ND @ fitted.coefficients_KD.T + fitted.intercepts_K)
        assert list(reference.classes_) == fitted.head["labels"]
        assert shares_NK == pytest.approx(reference.predict_proba(vectors_ND), abs=1e-5)


def test_items_are_those_of_one_regression_each():
    from sklearn.linear_model import LogisticRegression

    vectors_ND, scores_NK, groups = planted()
    is_item_NK = scores_NK > 1
    lists = [[f"i{k}" for k in row.nonzero()[0]] for row in is_item_NK]
    fitted = fit_items(vectors_ND, lists, groups, 1)
    assert isinstance(fitted, Fitted) and fitted.head["items"] == ["i0", "i1", "i2"]
    shares_NK = sigmoid(vectors_ND @ fitted.coefficients_KD.T + fitted.intercepts_K)
    for k in range(3):
        reference = LogisticRegression(C=fitted.head["C"], max_iter=500).fit(vectors_ND, is_item_NK[:, k])
        assert shares_NK[:, k] == pytest.approx(reference.predict_proba(vectors_ND)[:, 1], abs=0.02)
    written = shares_NK >= fitted.head["threshold"]
    assert (written == is_item_NK).mean() > 0.9


def test_the_threshold_is_lower_where_items_are_rare_but_expected():
    """With an item that no vector shows, set F1 is best if a common item is always written."""
    draw = np.random.default_rng(0)
    vectors_ND = draw.standard_normal((300, 4)).astype(np.float32)
    lists = [["common"] if draw.random() < 0.4 else ["x", "y"] if draw.random() < 0.5 else ["z"] for _ in range(300)]
    fitted = fit_items(vectors_ND, lists, [f"g{i}" for i in range(300)], 1)
    assert isinstance(fitted, Fitted) and fitted.head["threshold"] < 0.4


def test_rows_of_a_group_are_in_one_fold():
    groups = [f"g{i % 30}" for i in range(300)]
    for labels in (None, np.array([str(i % 2) for i in range(300)])):
        folds = linear._folds(labels, groups, 1)
        assert len(folds) == linear.FOLDS
        for train, test in folds:
            assert not {groups[i] for i in train} & {groups[i] for i in test}
        assert sorted(i for _, test in folds for i in test) == list(range(300))


def test_the_same_rows_give_the_same_model_and_few_groups_the_default():
    vectors_ND, scores_NK, groups = planted()
    labels = [str(k) for k in scores_NK.argmax(1)]
    one, two = (fit_labels(vectors_ND, labels, groups, 1) for _ in range(2))
    assert isinstance(one, Fitted) and isinstance(two, Fitted)
    assert (one.coefficients_KD == two.coefficients_KD).all() and one.head == two.head
    alone = fit_labels(vectors_ND, labels, ["one"] * len(labels), 1)
    assert isinstance(alone, Fitted) and alone.head["C"] == linear.DEFAULT
    lists = fit_items(vectors_ND, [[label] for label in labels], ["one"] * len(labels), 1)
    assert isinstance(lists, Fitted) and (lists.head["C"], lists.head["threshold"]) == (linear.DEFAULT, 0.5)


def test_many_rows_are_sampled_evenly_for_cross_validation(monkeypatch):
    monkeypatch.setattr(linear, "MOST_ROWS", 50)
    folds = linear._folds(None, [f"g{i}" for i in range(120)], 1)
    assert sorted(int(i) for _, test in folds for i in test) == list(range(0, 120, 3))


def test_nothing_to_fit_is_a_reason():
    vectors_ND, _, groups = planted(10)
    assert fit_labels(vectors_ND, ["a"] * 10, groups, 1) == "the training rows have 1 label"
    assert fit_items(vectors_ND, [[f"i{i}"] for i in range(10)], groups, 1) == "no item is in two training rows"
