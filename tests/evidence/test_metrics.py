from dataclasses import replace

import pytest

from rungwise.core.records import AnswerForm, Prediction
from rungwise.evidence.metrics import Metric, coverage, difference, estimate, other_metrics, set_f1

LIST = AnswerForm("list")
TEXT = AnswerForm("text")
OBJECT = AnswerForm(
    "json", fields={"queue": AnswerForm("label"), "words": AnswerForm("list"), "reply": AnswerForm("text")}
)
WHOLE = '{"queue": "a", "words": ["tent", "zip"], "reply": "We repair it."}'


def row(expected, answer, facts=(), number=0):
    return Prediction(f"r{number}", f"g{number}", expected, answer, 0.5, facts=facts)


def test_set_f1_ignores_case_order_and_duplicates():
    score = Metric("set_f1", LIST)
    assert score(row("tent; zip", "ZIP;tent; tent")) == 1.0
    assert score(row("tent; zip", "tent; pole; rope")) == pytest.approx(2 * 1 / 5)
    assert score(row("tent", "")) == 0.0 and set_f1([], []) == 1.0


def test_chrf_equals_sacrebleu_from_0_to_1():
    from sacrebleu import sentence_chrf

    score = Metric("chrf", TEXT)
    assert score(row("We repair your tent.", "We repair your tent.")) == pytest.approx(1.0)
    other = "We will repair the tent"
    assert score(row("We repair your tent.", other)) == pytest.approx(
        sentence_chrf(other, ["We repair your tent."]).score / 100
    )
    assert score(row("We repair your tent.", "")) == 0.0


def test_good_wording_does_not_compensate_for_a_missing_fact():
    facts = ("30  days", "Order 4711")
    assert coverage(facts, "within 30 days, order 4711") == 1.0 and coverage(facts, "30 days") == 0.5
    assert coverage((), "anything") == 1.0
    right = "Send order 4711 back within 30 days."
    assert Metric("chrf_facts", TEXT)(row(right, right, facts)) == pytest.approx(1.0)
    wrong = row(right, "Send order 4712 back within 20 days.", facts)
    assert Metric("chrf", TEXT)(wrong) > 0.6 and Metric("chrf_facts", TEXT)(wrong) == 0.0


def test_of_several_right_answers_the_best_match_counts():
    two = Prediction("r", "g", "We repair it.", "Please send it back.", references=("Please send it back.", "No."))
    assert Metric("chrf", TEXT)(two) == pytest.approx(1.0)
    assert other_metrics(TEXT, [two], 0.95)["chrF"].value == pytest.approx(1.0)
    assert Metric("chrf", TEXT)(replace(two, references=())) < 0.3


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "no object",
        '{"queue": "a"}',
        WHOLE[:-1],
        WHOLE.replace('["tent", "zip"]', '"tent"'),
        WHOLE.replace('"a"', "1"),
        WHOLE.replace("}", ', "more": ""}'),
        "[" * 100_000,
    ],
)
def test_an_invalid_object_scores_0(broken):
    assert Metric("fields", OBJECT)(row(WHOLE, broken)) == 0.0


def test_the_score_of_an_object_is_the_mean_of_its_fields():
    actual = WHOLE.replace('"a"', '"b"').replace('"zip"', '"pole"')
    assert Metric("fields", OBJECT)(row(WHOLE, actual)) == pytest.approx((0 + 0.5 + 1) / 3)
    others = other_metrics(OBJECT, [row(WHOLE, actual), row(WHOLE, "broken", number=1)], 0.95)
    assert {name: i.value for name, i in others.items()} == pytest.approx(
        {"valid objects": 0.5, "queue": 0.0, "words": 0.25, "reply": 0.5}
    )


def test_labels_also_have_macro_f1_and_rows_without_an_answer_are_never_right():
    rows = [row("a", "a", number=1), row("b", "a", number=2), row("b", None, number=3)]
    actual = estimate(Metric("accuracy", AnswerForm("label", ("a", "b"))), rows, 0.95)
    assert actual.n == 3 and actual.value == pytest.approx(1 / 3)
    assert other_metrics(AnswerForm("label"), rows, 0.95)["macro F1"].value == pytest.approx(1 / 3)
    assert other_metrics(TEXT, rows[2:], 0.95) == {} and estimate(Metric("chrf", TEXT), [], 0.95) is None


def test_a_difference_is_paired_and_rows_without_an_answer_score_0():
    metric = Metric("set_f1", LIST)
    first = [row("a; b", "a", number=n) for n in range(30)]
    second = [row("a; b", "a; b" if n else None, number=n) for n in range(30)]
    actual = difference(metric, first, second, 0.95)
    assert actual.n == 30 and actual.value == pytest.approx((30 * 2 / 3 - 29) / 30) and actual.high < 0
    silent = [row("a; b", None, number=n) for n in range(30)]
    assert difference(metric, silent, silent, 0.95) is None and difference(metric, first, silent, 0.95).value > 0.5
    assert difference(metric, first, [row("a", "a", number=99)], 0.95) is None  # no row is common
