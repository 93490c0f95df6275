import json
from dataclasses import replace

from rungwise.core.records import AnswerForm, Example
from rungwise.dataset.redact import redactor
from rungwise.endpoint.messages import instruction, messages, shown_examples
from tests.conftest import examples

QUEUES = AnswerForm("label", labels=("billing", 'a "b"'))
ROW = Example("r", {"body": "write to ann@example.com {x}", "more": "secret"}, "billing", "s", 1, "g")


def redact(text):
    return redactor(("email",), None)(text)


def test_the_instruction_says_what_answers_look_like():
    assert instruction(QUEUES) == 'Answer with one of these labels and nothing else: "billing", "a \\"b\\"".'
    assert '";"' in instruction(AnswerForm("list", separator=";"))
    assert "text only" in instruction(AnswerForm("text"))
    both = instruction(
        AnswerForm("json", fields={"queue": QUEUES, "items": AnswerForm("list"), "x": AnswerForm("text")})
    )
    assert '"queue" (one of "billing", ' in both and '"items" (a list of texts)' in both and '"x" (a text)' in both


def test_a_row_is_sent_redacted_and_without_its_answer_or_unused_fields():
    sent = messages("Mail: {body}\nQueue:", QUEUES, (), ROW, redact, is_own=False)
    assert [m["role"] for m in sent] == ["system", "user"]
    assert sent[1]["content"] == "Mail: write to [EMAIL] {x}\nQueue:"
    assert "ann@" not in json.dumps(sent) and "secret" not in json.dumps(sent)


def test_an_own_prompt_is_sent_as_it_is():
    assert messages("Sort: {body}", QUEUES, (), ROW, redact, is_own=True) == (
        {"role": "user", "content": "Sort: write to [EMAIL] {x}"},
    )


def test_examples_come_before_as_turns_and_are_redacted():
    example = replace(ROW, answer="mail bob@example.com")
    sent = messages("{body}", AnswerForm("text"), (example,), ROW, redact, is_own=False)
    assert [m["role"] for m in sent] == ["system", "user", "assistant", "user"]
    assert sent[2]["content"] == "mail [EMAIL]" and "@" not in json.dumps(sent)


def test_examples_are_of_different_answers_and_do_not_depend_on_the_order_or_synthetic_rows():
    rows = examples(60)
    chosen = shown_examples(rows, 4)
    assert len({e.answer for e in chosen}) == 4
    synthetic = [replace(e, id=f"s{e.id}", fields={"body": f"hi {e.fields['body']}"}, parents=(e.id,)) for e in rows]
    assert [e.fields for e in shown_examples([*reversed(rows), *synthetic], 4)] == [e.fields for e in chosen]
    assert len(shown_examples(rows[:3], 9)) == 3 and shown_examples(rows, 0) == ()
