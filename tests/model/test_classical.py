import pytest

from rungwise.core.records import AnswerForm, AttemptSpec, Example
from rungwise.evidence.metrics import Metric, estimate
from rungwise.model import classical
from tests.conftest import examples

LABELS = AnswerForm("label", ("account", "billing", "delivery", "repair"))
TEXT = "{body}"


def spec(form):
    return AttemptSpec(None, "classical", TEXT, form)


def rows_with(answers):
    return [Example(f"r{i}", {"body": text}, answer, "s", i, f"g{i}") for i, (text, answer) in enumerate(answers)]


def test_it_learns_labels_and_gives_equal_answers_after_a_reload(tmp_path):
    n, why_not = classical.fit(tmp_path, spec(LABELS), examples(200))
    model = classical.Classical(tmp_path, spec(LABELS))
    rows = examples(100, 2)
    score = estimate(Metric("accuracy", LABELS), model.predict(rows), 0.95)
    assert score.value == 1.0 and n > 100 and not why_not
    again = classical.Classical(tmp_path, spec(LABELS))
    assert again.predict(rows) == model.predict(rows)
    fields = [{"body": "a broken parcel"}]
    assert (again.probe(fields)["probe-labels"] == model.probe(fields)["probe-labels"]).all()
    assert model.predict([]) == () and model.slots == ("body",) and model.digest == ""


def test_its_probabilities_equal_those_of_scikit_learn(tmp_path):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    for form, rows in (
        (LABELS, examples(80)),
        (LABELS, [e for e in examples(80) if e.answer in ("repair", "account")]),
    ):
        classical.fit(tmp_path, spec(form), rows)
        pipeline = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+"),
            LogisticRegression(C=30.0, max_iter=300),
        ).fit([e.fields["body"] for e in rows], [e.answer for e in rows])
        expected = pipeline.predict_proba([e.fields["body"] for e in examples(30, 3)]).max(1)
        actual = [p.probability for p in classical.Classical(tmp_path, spec(form)).predict(examples(30, 3))]
        assert actual == pytest.approx(list(expected), abs=1e-5)


def test_rules_list_recurring_items_or_report_that_there_are_none(tmp_path):
    form = AnswerForm("list")
    training = [("my tent has a broken zip", "tent; zip"), ("the tent leaks", "tent; leak")] * 3
    classical.fit(tmp_path, spec(form), rows_with(training))
    model = classical.Classical(tmp_path, spec(form))
    actual = model.predict(rows_with([("a tent whose zip is stuck", "tent; zip"), ("nothing of it", "boots")]))
    assert [p.answer for p in actual] == ["tent; zip", ""]
    assert model.probe([{"body": "tent"}])["probe-lists"].size > 0
    assert "no item ever recurs" in classical.fit(tmp_path, spec(form), rows_with([("one", "x"), ("two", "y")]))[1]
    assert classical.fit(tmp_path, spec(form), rows_with([("one tent", "tent"), ("two", "y")])) == (
        1,
        "",
    )  # named itself


@pytest.mark.parametrize(
    ("rows", "why"),
    [(rows_with([("one", "a"), ("two", "a")]), "nothing to fit"), (rows_with([("?", "a"), ("!", "b")]), "nothing")],
)
def test_the_reason_is_returned_if_nothing_can_be_fitted(tmp_path, rows, why):
    assert why in classical.fit(tmp_path, spec(LABELS), rows)[1]


def test_texts_and_objects_do_not_have_such_a_rung():
    assert "can write an answer of format text" in classical.fits(spec(AnswerForm("text")))
    assert classical.fits(spec(LABELS)) == ""
