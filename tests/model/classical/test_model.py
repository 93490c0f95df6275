import json

import numpy as np
import pytest

from rungwise.core.errors import ModelError
from rungwise.core.folders import read_json, write_json
from rungwise.core.records import AnswerForm, AttemptSpec
from rungwise.evidence.metrics import Metric, estimate
from rungwise.model import classical
from rungwise.model.classical.features import Features
from rungwise.model.classical.labels import Labels
from rungwise.model.classical.replies import Replies
from tests.conftest import examples
from tests.model.classical.made_up import LANGUAGES, mails, rows_with

LABELS = AnswerForm("label", ("account", "billing", "delivery", "repair"))
OBJECT = AnswerForm("json", fields={"queue": LABELS, "items": AnswerForm("list"), "reply": AnswerForm("text")})


def spec(form):
    return AttemptSpec(None, "classical", "{body}", form)


def objects(n, seed=1):
    values = [(e.fields["body"], e.answer) for e in examples(n, seed)]
    return rows_with(
        [(t, json.dumps({"queue": a, "items": [a, "mail"], "reply": f"We look at {a}."})) for t, a in values]
    )


def test_it_learns_labels_and_gives_equal_answers_after_a_reload(tmp_path):
    fitted = classical.fit(tmp_path, spec(LABELS), examples(200))
    model = classical.Classical(tmp_path, spec(LABELS))
    rows = examples(100, 2)
    score = estimate(Metric("accuracy", LABELS), model.predict(rows), 0.95)
    assert score.value == 1.0 and fitted.parameters > 100 and fitted.rows == 200 and not fitted.note
    assert classical.Classical(tmp_path, spec(LABELS)).predict(rows) == model.predict(rows)
    assert model.predict([]) == () and model.slots == ("body",) and model.digest == ""


def test_fitting_is_deterministic(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        classical.fit(tmp_path / name, spec(OBJECT), objects(80))
    for file in (classical.MODEL, classical.WEIGHTS):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_probabilities_are_those_that_held_out_rows_earn():
    """A third of the labels is wrong, so the likeliest label has a probability of about two thirds."""
    rows = examples(600)
    texts = [e.fields["body"] for e in rows]
    answers = [e.answer if i % 3 else LABELS.labels[i % 4] for i, e in enumerate(rows)]
    features = Features.fitted(texts)
    model = Labels.fitted(features(texts), answers, [e.group for e in rows])
    others = [e.fields["body"] for e in examples(200, 2)]
    chances = np.array([p for _, p in model.answers(features(others))])
    assert 0.55 < chances.mean() < 0.85
    assert model.shares(features(others)).sum(1) == pytest.approx(np.ones(200))


@pytest.mark.parametrize("language", LANGUAGES)
def test_mails_in_every_script_go_to_their_queue(tmp_path, language):
    train, test = ([(t, q) for t, q, _ in mails(language, n, seed)] for n, seed in ((200, 1), (100, 2)))
    classical.fit(tmp_path, spec(LABELS), rows_with(train))
    model = classical.Classical(tmp_path, spec(LABELS))
    score = estimate(Metric("accuracy", LABELS), model.predict(rows_with(test)), 0.95)
    assert score.value > 0.99, language


def test_a_text_is_the_reply_of_the_most_similar_training_row(tmp_path):
    form = AnswerForm("text")
    train = [("where is my parcel", "It comes."), ("refund me now", "You get it."), ("where is my parcel", "Again.")]
    classical.fit(tmp_path, spec(form), rows_with(train))
    model = classical.Classical(tmp_path, spec(form))
    asked = model.predict(rows_with([("where is my parcel", ""), ("a refund please", ""), ("0", "")]))
    assert [p.answer for p in asked] == ["It comes.", "You get it.", "It comes."], "the first of equals"
    assert asked[0].probability == pytest.approx(1.0, abs=1e-6) and 0 < asked[1].probability < 1
    assert asked[2].probability == 0.0


def test_similarities_are_cosines_also_in_several_blocks(monkeypatch):
    from rungwise.model.classical import replies

    monkeypatch.setattr(replies, "AT_ONCE", 7)
    texts, others = ([e.fields["body"] for e in examples(n, n)] for n in (40, 23))
    features = Features.fitted(texts)
    known, asked = features(texts).toarray(), features(others).toarray()
    cosines = asked @ known.T
    model = Replies.fitted(features(texts), [str(i) for i in range(40)])
    assert [int(reply) for reply, _ in model.answers(features(others))] == cosines.argmax(1).tolist()
    assert [p for _, p in model.answers(features(others))] == pytest.approx(cosines.max(1).tolist(), abs=1e-5)
    again = Replies.unpacked(*model.packed())
    assert again.answers(features(others)) == model.answers(features(others))


def test_an_object_has_every_field_by_its_own_format(tmp_path):
    fitted = classical.fit(tmp_path, spec(OBJECT), [*objects(120), *rows_with([("broken", "not an object")])])
    assert fitted.rows == 120, "an answer that is not an object can't be learnt from"
    model = classical.Classical(tmp_path, spec(OBJECT))
    test = objects(40, 2)
    answered = model.predict(test)
    assert estimate(Metric("fields", OBJECT), answered, 0.95).value > 0.95
    assert list(json.loads(answered[0].answer)) == ["queue", "items", "reply"] and 0 < answered[0].probability <= 1
    again = classical.Classical(tmp_path, spec(OBJECT))
    probe = [{"body": "a broken parcel"}, {"body": "漢字"}]
    first, second = model.probe(probe), again.probe(probe)
    assert set(first) == {"probe-queue", "probe-items", "probe-reply"}
    assert all((first[name] == second[name]).all() for name in first)


def test_a_list_is_written_with_its_separator(tmp_path):
    form = AnswerForm("list", separator="|")
    rows = [("my tent has a broken zip", "tent | zip"), ("the tent leaks", "tent | leak"), ("hello", "")] * 20
    classical.fit(tmp_path, spec(form), rows_with(rows, per_group=3))
    answered = classical.Classical(tmp_path, spec(form)).predict(rows_with([(t, "") for t, _ in rows[:3]]))
    assert [p.answer for p in answered] == ["tent| zip", "leak| tent", ""]


@pytest.mark.parametrize(
    ("form", "rows", "why"),
    [
        (LABELS, [("one", "a"), ("two", "a")], "the same label"),
        (LABELS, [("", "a"), (" ", "b")], "no training row has a text"),
        (AnswerForm("list"), [("one", ""), ("two", "")], "no training row has an item"),
        (OBJECT, [("one", "x"), ("two", "{}")], "no training row has a text"),
    ],
)
def test_the_reason_is_returned_if_nothing_can_be_fitted(tmp_path, form, rows, why):
    note = classical.fit(tmp_path, spec(form), rows_with(rows)).note
    assert note.startswith("nothing to fit") and why in note and not list(tmp_path.iterdir())


def test_a_model_of_another_version_is_refused(tmp_path):
    classical.fit(tmp_path, spec(LABELS), examples(40))
    path = tmp_path / classical.MODEL
    write_json(path, {k: v for k, v in read_json(path).items() if k != "version"})
    with pytest.raises(ModelError, match="another version of Rungwise(.|\n)*version 1"):
        classical.Classical(tmp_path, spec(LABELS))
