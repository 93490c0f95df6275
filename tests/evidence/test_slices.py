"""Where a model falls short: slices that are shown to be below the bar, those that cost most first."""

from random import Random

from rungwise.core.records import AnswerForm, Example, Prediction
from rungwise.evidence.metrics import Metric
from rungwise.evidence.slices import LEAST, MOST, weak_slices

ACCURACY = Metric("accuracy", AnswerForm("label", ("a", "b", "c")))


def made(*parts):
    """Rows and predictions of (label, source, characters, rows, right) parts."""
    rows: list[Example] = []
    predictions: list[Prediction] = []
    for label, source, length, n, right in parts:
        for i in range(n):
            name = f"r{len(rows)}"
            rows.append(Example(name, {"body": "x" * length}, label, source, len(rows), name))
            predictions.append(Prediction(name, name, label, label if i < right else "wrong", 0.9))
    return predictions, rows


def named(*parts, target=0.85):
    predictions, rows = made(*parts)
    return [(one.kind, one.name) for one in weak_slices(ACCURACY, predictions, rows, target, 0.95)]


def test_a_label_far_below_the_bar_is_named_with_its_score_and_share():
    predictions, rows = made(("a", "s", 20, 100, 95), ("b", "s", 20, 60, 30), ("c", "s", 20, 100, 95))
    (weak,) = weak_slices(ACCURACY, predictions, rows, 0.85, 0.95)
    assert (weak.kind, weak.name, weak.score.value, weak.score.n, weak.rows) == ("label", "b", 0.5, 60, 260)


def test_sources_and_lengths_are_slices_too_and_the_one_that_costs_most_is_first():
    slices = named(("a", "mail", 10, 150, 145), ("b", "phone", 90, 150, 90), ("c", "mail", 30, 150, 145))
    assert slices[0] in (("label", "b"), ("source", "phone"), ("length", "longest third"))
    assert set(slices) == {("label", "b"), ("source", "phone"), ("length", "longest third")}


def test_small_slices_and_those_that_may_reach_the_bar_are_not_named():
    assert named(("a", "s", 20, 200, 190), ("b", "s", 20, LEAST - 1, 0)) == []
    assert named(("a", "s", 20, 200, 180), ("b", "s", 20, 20, 15)) == []
    assert named(("a", "s", 20, 200, 20)) == [], "one label is all of the rows, and thirds of equal length have no name"


def test_slices_that_are_as_bad_as_all_rows_are_not_named():
    assert named(*((label, label, 10 * place, 60, 20) for place, label in enumerate("abcde", 1))) == []


def test_at_most_so_many_are_named_and_texts_have_no_labels():
    labels = [*((label, "s", 20, 60, 20) for label in "abcde"), ("f", "s", 20, 900, 890)]
    assert len(named(*labels)) == MOST
    predictions, rows = made(("a", "s", 20, 60, 20), ("b", "t", 20, 60, 58))
    form = Metric("chrf", AnswerForm("text"))
    assert {one.kind for one in weak_slices(form, predictions, rows, 0.99, 0.95)} <= {"source", "length"}


def test_rows_without_a_prediction_are_left_out_and_no_rows_give_none():
    predictions, rows = made(("a", "s", 20, 100, 95), ("b", "s", 20, 60, 30))
    assert weak_slices(ACCURACY, predictions[:100], rows, 0.85, 0.95) == ()
    assert weak_slices(ACCURACY, [], rows, 0.85, 0.95) == ()


def test_where_all_slices_reach_the_bar_one_is_seldom_named():
    draw, wrong = Random(1), 0
    for _ in range(200):
        parts = [(label, source, draw.randrange(10, 90), 25, 0) for label in "abc" for source in "st"]
        predictions, rows = made(*parts)
        lucky = [Prediction(p.id, p.group, p.expected, p.expected if draw.random() < 0.85 else "x", 0.9)
                 for p in predictions]  # fmt: skip
        wrong += bool(weak_slices(ACCURACY, lucky, rows, 0.85, 0.95))
    assert wrong <= 0.05 * 200 + 5
