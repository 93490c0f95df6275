import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from rungwise.core.errors import ModelError
from rungwise.core.prompts import object_text
from rungwise.core.records import AnswerForm, Base
from rungwise.evidence.metrics import Metric, estimate
from rungwise.model import embed
from rungwise.model.encoder import load_encoder
from rungwise.model.vectors import vectors_of
from tests.conftest import examples
from tests.model.tiny_encoder import LABELS, make_encoder, rows_with, spec

ITEMS = AnswerForm("list")
OBJECT = AnswerForm("json", fields={"queue": LABELS, "words": ITEMS, "reply": AnswerForm("text")})


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = make_encoder(tmp_path_factory.mktemp("encoders") / "tiny")
    return load_encoder(Base(str(folder)), folder.parent)


def fitted(folder, encoder, form, rows):
    vectors = vectors_of(encoder, embed.texts_of(spec(form), rows))
    n, why_not = embed.fit(folder, spec(form), rows, vectors)
    assert not why_not
    return embed.Embedded(folder, spec(form), encoder), n


def words_of(text):
    return "; ".join(sorted({"box", "order", "phone"} & set(text.split())) or ["nothing"])


def test_it_learns_labels_and_gives_equal_answers_after_a_reload(tmp_path, encoder):
    model, n = fitted(tmp_path, encoder, LABELS, examples(300))
    rows = examples(100, 2)
    score = estimate(Metric("accuracy", LABELS), model.predict(rows), 0.95)
    assert score.value > 0.9 and n == 4 * 48 + 4
    again = embed.Embedded(tmp_path, spec(), encoder)
    assert again.predict(rows) == model.predict(rows)
    one, two = (m.probe([{"body": "a broken parcel"}]) for m in (model, again))
    assert set(one) == {"probe-vectors", "probe-scores"} and all((one[name] == two[name]).all() for name in one)
    assert model.predict([]) == () and model.slots == ("body",) and model.digest == encoder.digest


def test_a_list_holds_the_items_that_training_rows_share(tmp_path, encoder):
    rows = [(e.fields["body"], words_of(e.fields["body"])) for e in examples(400)]
    model, _ = fitted(tmp_path, encoder, ITEMS, rows_with(rows))
    new = [(e.fields["body"], words_of(e.fields["body"])) for e in examples(100, 2)]
    predictions = model.predict(rows_with(new))
    assert estimate(Metric("set_f1", ITEMS), predictions, 0.95).value > 0.75
    assert all(0 <= p.probability <= 1 for p in predictions)


def test_a_text_is_the_answer_of_the_most_similar_row(tmp_path, encoder):
    rows = [("my parcel please", "on its way"), ("when is the refund", "next week"), ("old login", "reset it")]
    model, _ = fitted(tmp_path, encoder, AnswerForm("text"), rows_with(rows))
    new = ["my parcel today", "old login", "when is the refund please"]
    predictions = model.predict(rows_with([(text, "") for text in new]))
    vectors_ND = vectors_of(encoder, [text for text, _ in rows] + new).rows_ND
    units_ND = vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    expected = [rows[k][1] for k in (units_ND[3:] @ units_ND[:3].T).argmax(1)]
    assert [p.answer for p in predictions] == expected and expected[1] == "reset it"
    assert predictions[1].probability == pytest.approx(1, abs=1e-5)
    assert json.loads((tmp_path / embed.ANSWERS).read_text()) == {"": [answer for _, answer in rows]}


def test_an_object_is_answered_field_by_field(tmp_path, encoder):
    def answer(example):
        text = example.fields["body"]
        return object_text({"queue": example.answer, "words": words_of(text).split("; "), "reply": f"re: {text}"})

    broken = [("a broken row", "no object")]
    model, _ = fitted(
        tmp_path, encoder, OBJECT, [*rows_with([(e.fields["body"], answer(e)) for e in examples(300)] + broken)]
    )
    predictions = model.predict(rows_with([(e.fields["body"], answer(e)) for e in examples(60, 2)]))
    assert estimate(Metric("fields", OBJECT), predictions, 0.95).value > 0.7
    assert set(json.loads(predictions[0].answer)) == {"queue", "words", "reply"}
    alone, _ = fitted(tmp_path, encoder, LABELS, examples(300))
    assert [json.loads(p.answer)["queue"] for p in predictions] == [p.answer for p in alone.predict(examples(60, 2))]


def test_all_fields_of_the_prompt_are_read():
    from rungwise.core.records import Example

    row = Example("r", {"title": "T", "body": "B", "other": "O"}, "", "s", 1, "g")
    assert embed.texts_of(spec(prompt="{title} by {body}"), [row]) == ["B\nT"]


def test_nothing_to_fit_is_a_reason_that_names_the_field(tmp_path, encoder):
    rows = rows_with([("box", object_text({"queue": "repair", "words": ["a"], "reply": "x"}))] * 3)
    vectors = vectors_of(encoder, embed.texts_of(spec(OBJECT), rows))
    assert embed.fit(tmp_path, spec(OBJECT), rows, vectors) == (
        0,
        "nothing to fit: queue: the training rows have 1 label",
    )
    assert embed.fit(tmp_path, spec(), [], vectors)[1] == "nothing to fit: no training rows"


@pytest.mark.parametrize("form", [LABELS, AnswerForm("text"), ITEMS])
def test_the_files_of_a_model_from_elsewhere_are_checked(tmp_path, encoder, form):
    rows = examples(30)
    fitted(tmp_path, encoder, form, rows)
    embed.check(tmp_path, spec(form))
    weights = load_file(tmp_path / embed.WEIGHTS)
    for name, array in weights.items():
        for other in (np.full_like(array, np.nan), array[:-1].copy(), array.astype(np.float64)):
            save_file({**weights, name: other}, tmp_path / embed.WEIGHTS)
            with pytest.raises(ModelError, match="not those of its settings"):
                embed.check(tmp_path, spec(form))
    save_file(weights, tmp_path / embed.WEIGHTS)
    (tmp_path / embed.MODEL).write_text("[]")
    with pytest.raises(ModelError, match="not those of its settings"):
        embed.check(tmp_path, spec(form))
