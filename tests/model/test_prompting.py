from dataclasses import replace

import pytest
import torch

from rungwise.core.prompts import prompt_text
from rungwise.core.records import AnswerForm, AttemptSpec, Base, Prompting
from rungwise.model.answers import Written
from rungwise.model.language_model import load
from rungwise.model.prompting import PromptForm, Untuned, head_text
from tests.conftest import examples

FORM = AnswerForm("label", ("ACC", "BIL"))
SHOWN = [({"body": "my login fails"}, "ACC"), ({"body": "the invoice is wrong"}, "BIL")]


@pytest.fixture(scope="module")
def lm(base_folder):
    return load(Base(str(base_folder)), base_folder)


@pytest.fixture
def spec(lm):
    words = {"ACC": "account", "BIL": "billing"}
    return AttemptSpec(lm.base, "prompt", "{body}\nQueue:", FORM, prompting=Prompting("Sort the mail.", words))


def test_a_prompt_is_the_instruction_the_solved_examples_and_the_row(lm, spec):
    model = Untuned(lm, spec, PromptForm("plain", 2), SHOWN)
    (prompt,) = model.prompts(["x\nQueue:"])
    assert lm.tokenizer.decode(prompt) == (
        "Sort the mail.\n\nmy login fails\nQueue: account\n\nthe invoice is wrong\nQueue: billing\n\nx\nQueue:"
    )


def test_labels_have_an_end_only_where_one_begins_with_another(lm, spec):
    def ends(*labels):
        form = replace(spec, form=AnswerForm("label", labels), prompting=None)
        model = Untuned(lm, form, PromptForm("plain", 0), ())
        return [tokens[-1] == model.frame.end for tokens in model.label_tokens]

    assert ends("account", "billing") == [False, False]
    assert ends("account", "billing", "account closed") == [True, True, True]


def by_hand(model, row):
    """The log-likelihood of each label's words and their end if it is read, by one full pass each."""
    (prompt,) = model.prompts([prompt_text(model.spec.prompt, row.fields)])
    scores = []
    for label in model.label_tokens:
        with torch.inference_mode():
            logits = model.lm.model(torch.tensor([[*prompt, *label]])).logits[0].double().log_softmax(-1)
        scores.append(sum(float(logits[len(prompt) - 1 + i, token]) for i, token in enumerate(label)))
    return torch.tensor(scores)


@pytest.mark.parametrize("offsets", [None, {"ACC": 3.0, "BIL": -3.0}, {"ACC": -3.0, "BIL": 3.0}])
def test_predictions_are_labels_by_likelihood_plus_offset(lm, spec, offsets):
    model = Untuned(lm, spec, PromptForm("plain", 2, offsets=offsets), SHOWN)
    rows = examples(12)
    added = torch.tensor([(offsets or {}).get(label, 0.0) for label in model.labels])
    for row, actual in zip(rows, model.predict(rows), strict=True):
        shares = torch.softmax(by_hand(model, row) + added, dim=0)
        assert actual.answer == model.labels[int(shares.argmax())]
        assert actual.probability == pytest.approx(float(shares.max()), abs=2e-3)


def test_similar_examples_come_before_the_row_the_most_similar_last(lm, spec):
    similar = replace(spec, prompting=Prompting("Sort.", {"ACC": "account", "BIL": "billing"}, "similar"))
    pool = [*SHOWN, ({"body": "a tent is torn"}, "BIL")]
    model = Untuned(lm, similar, PromptForm("plain", 2), pool)
    (prompt,) = model.prompts(["the login fails, my invoice\nQueue:"])
    assert lm.tokenizer.decode(prompt) == (
        "Sort.\n\nthe invoice is wrong\nQueue: billing\n\nmy login fails\nQueue: account\n\n"
        "the login fails, my invoice\nQueue:"
    )
    short = replace(model, lm=replace(lm, context_tokens=len(prompt) - 5 + model.room))
    assert lm.tokenizer.decode(short.prompts(["the login fails, my invoice\nQueue:"])[0]).count("Queue:") == 2


def test_an_instruction_that_was_not_given_takes_little_of_the_context(lm, spec):
    labels = AnswerForm("label", tuple(f"label number {i}" for i in range(40)))
    made = replace(spec, prompting=None, form=labels)
    assert "label number 39" in head_text(replace(lm, context_tokens=10_000), made)
    assert "label number" not in head_text(replace(lm, context_tokens=200), made) != ""
    assert head_text(replace(lm, context_tokens=20), made) == ""
    assert head_text(replace(lm, context_tokens=20), spec) == "Sort the mail.\n\n"


def test_a_written_answer_is_cut_where_the_base_makes_up_a_row(lm, spec, monkeypatch):
    texts = iter(["fleece; size\n\nMail: I", "tent; zip", "pole"])
    written = [Written(next(texts), 0.5, True), Written(next(texts), 0.5, True), Written(next(texts), 0.5, False)]
    monkeypatch.setattr("rungwise.model.prompting.write_answers", lambda *a, **k: written)
    model = Untuned(lm, replace(spec, form=AnswerForm("list")), PromptForm("plain", 2, stop="\n"), SHOWN, 8)
    answers = [(p.answer, p.is_cut) for p in model.predict(examples(3))]
    assert answers == [("fleece; size", False), ("tent; zip", True), ("pole", False)]


def test_a_probe_has_the_logits_of_the_whole_prompt(lm, spec):
    model = Untuned(lm, spec, PromptForm("plain", 2), SHOWN)
    (logits,) = model.probe([{"body": "x"}]).values()
    (prompt,) = model.prompts(["x\nQueue:"])
    assert logits.shape == (len(prompt), lm.model.config.vocab_size)
    assert model.slots == ("body",) and model.digest == lm.digest


def test_no_rows_have_no_predictions(lm, spec):
    assert Untuned(lm, spec, PromptForm("plain", 0), ()).predict([]) == ()
