from dataclasses import replace

import pytest
import torch

from rungwise.core.records import AnswerForm, AttemptSpec, Base, Prompting
from rungwise.model import prompt_choice
from rungwise.model.language_model import load
from rungwise.model.prompt_choice import balanced, choose, divided, longest_text, ranked
from rungwise.model.prompting import SHOWN_TOKENS, PromptForm, Untuned, prompting
from tests.conftest import examples, make_base
from tests.model.test_frames import CHAT

LABELS = ("account", "billing", "delivery", "repair")
FORM = AnswerForm("label", LABELS)


@pytest.fixture(scope="module")
def lm(base_folder):
    return load(Base(str(base_folder)), base_folder)


@pytest.fixture
def spec(lm):
    return AttemptSpec(lm.base, "prompt", "{body}\nQueue:", FORM, template="auto", seed=5, examples=6)


def test_the_order_depends_only_on_the_rows_texts(spec):
    renamed = [replace(e, id=f"other-{i}", source="mails") for i, e in enumerate(examples(40))]
    texts = [e.fields for e in ranked(spec, renamed)]
    assert texts == [e.fields for e in ranked(spec, examples(40)[::-1])]
    child = replace(examples(1)[0], id="child", parents=("row-0",), fields={"body": "made up"})
    assert texts == [e.fields for e in ranked(spec, [*renamed, child])]
    assert texts != [e.fields for e in ranked(replace(spec, seed=6), renamed)]


def test_shown_examples_have_all_labels_alike(spec):
    rows = ranked(spec, examples(200))
    assert sorted(e.answer for e in balanced(rows, 8)) == sorted(LABELS * 2)
    assert len({e.answer for e in balanced(rows, 4)}) == 4


def test_no_row_of_a_group_of_the_sample_is_shown(spec):
    rows = [replace(e, group=f"group-{i % 25}") for i, e in enumerate(examples(100))]
    sample, pool = divided(spec, rows)
    assert len(sample) == 8 == len({e.group for e in sample})  # a third of the groups, one row each
    assert not {e.group for e in sample} & {e.group for e in pool}
    assert len(pool) == 100 - 8 * 4


def test_the_sample_is_bounded(spec, monkeypatch):
    assert len(divided(spec, examples(900))[0]) == prompt_choice.LABEL_ROWS
    similar = replace(spec, prompting=Prompting(shown="similar"))
    assert len(divided(similar, examples(900))[0]) == prompt_choice.SIMILAR_ROWS
    many = replace(spec, form=AnswerForm("label", tuple(f"label {i}" for i in range(150))))
    assert len(divided(many, examples(900))[0]) == prompt_choice.SCORED_LABELS // 150
    assert len(divided(replace(spec, form=AnswerForm("text")), examples(900))[0]) == prompt_choice.WRITTEN_ROWS


def test_with_few_groups_there_is_no_sample_and_the_first_form_is_used(lm, spec):
    rows = [replace(e, group=f"group-{i % 5}") for i, e in enumerate(examples(40))]
    model, described = choose(lm, spec, rows, 0)
    assert described["sample_rows"] == 0 and len(described["tried"]) == 1
    assert model.form.calibration == "content_free" and model.form.offsets
    assert len(model.examples) == 6


def test_the_best_form_of_the_sample_is_chosen(lm, spec):
    model, described = choose(lm, spec, examples(120), 0)
    tried = described["tried"]
    assert [(t["examples"], t["calibration"]) for t in tried] == [
        (n, how) for n in (2, 6) for how in ("none", "content_free", "fitted")
    ]
    assert max(t["score"] for t in tried) == next(
        t["score"] for t in tried if t["calibration"] == model.form.calibration and t["examples"] == len(model.examples)
    )


def test_a_chat_template_is_one_of_the_forms(base_folder, spec):
    lm = load(Base(str(base_folder)), base_folder)
    lm.tokenizer.chat_template = CHAT
    _, described = choose(lm, spec, examples(60), 0)
    assert {t["template"] for t in described["tried"]} == {"chat", "plain"}
    only, described = choose(lm, replace(spec, template="chat"), examples(60), 0)
    assert {t["template"] for t in described["tried"]} == {"chat"} and only.form.template == "chat"


def test_shown_examples_leave_room_for_the_row(tmp_path, spec):
    long = replace(examples(1)[0], id="long", group="long", fields={"body": "please " * 400})
    rows = [*examples(200), long]

    def most(context):
        lm = load(Base(str(make_base(tmp_path / f"context-{context}", context=context))), tmp_path)
        model, described = choose(lm, replace(spec, examples=4), rows, 0)
        unscored = [p.id for p in model.predict(rows) if p.unscored]
        return max(t["examples"] for t in described["tried"]), unscored

    assert most(256) == (4, ["long"])
    few, unscored = most(52)
    assert 0 < few < 4 and unscored == ["long"]
    assert most(16)[0] == 0


def test_the_examples_have_a_limit_of_their_own(lm, spec, monkeypatch):
    wide = replace(lm, context_tokens=100_000)
    model = Untuned(wide, spec, PromptForm("plain", 400), ())
    shown = prompt_choice.shown_examples(model, ranked(spec, examples(400)), 20)
    tokens = sum(map(len, replace(model, examples=shown)._solved))
    assert SHOWN_TOKENS * 0.9 < tokens <= SHOWN_TOKENS and len(shown) < 400


def test_the_length_of_a_row_is_that_of_nearly_all(lm, spec):
    long = replace(examples(1)[0], id="long", fields={"body": "please " * 400})
    assert longest_text(lm, spec, [*examples(200), long]) == longest_text(lm, spec, examples(200))
    assert longest_text(lm, spec, []) == 0


def test_written_answers_are_compared_by_the_metric(lm, spec):
    rows = [replace(e, answer=f"{e.answer}; mail") for e in examples(60)]
    model, described = choose(lm, replace(spec, form=AnswerForm("list"), metric="set_f1"), rows, 8)
    assert {t["calibration"] for t in described["tried"]} == {"none"} and model.form.offsets is None
    assert model.form.stop == "\n" and len(described["tried"]) == 2


def test_similar_examples_are_chosen_from_all_rows_but_those_of_the_sample(lm, spec):
    similar = replace(spec, prompting=Prompting(shown="similar"), examples=2)
    model, described = choose(lm, similar, examples(90), 0)
    assert prompting(model.spec).shown == "similar" and len(model.examples) == 60
    assert {t["examples"] for t in described["tried"]} == {2}
    assert torch.isfinite(torch.tensor([p.probability for p in model.predict(examples(9, 3))])).all()
