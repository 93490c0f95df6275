"""What is read from free text, and what is not."""

import json

import pytest

from rungwise.core.records import AnswerForm
from rungwise.endpoint.answers import read_answer

QUEUES = AnswerForm("label", labels=("billing", "card", "card_payment", "other issue", "no", "Élan"))
LIST = AnswerForm("list", separator=";")
OBJECT = AnswerForm("json", fields={"queue": QUEUES, "items": LIST})


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("billing", "billing"),
        (" Billing.\n", "billing"),
        ('"billing"', "billing"),
        ("**Billing**", "billing"),
        ("```\nbilling\n```", "billing"),
        ("card payment", "card_payment"),
        ("CARD-PAYMENT", "card_payment"),
        ("Label: other_issue", "other issue"),
        ("The label is billing.", "billing"),
        ('The mail is about money, so the answer is "billing" here', "billing"),
        ("<think>card? no, billing</think>\nbilling", "billing"),
        ("billing\n\nThe customer asks about a refund on a card", "billing"),
        ("Billing. The customer asks about a refund on a card", "billing"),
        ("billing - the customer asks about a card", "billing"),
        ("élan", "Élan"),
    ],
)
def test_a_label_is_read_as_a_person_would(written, label):
    assert read_answer(QUEUES, written) == (label, "")


@pytest.mark.parametrize(
    "written",
    [
        "I have no idea",
        "billing or card",
        "refunds",
        'either "billing" or "card"',
        "cardboard",
        "it is not billing, I guess",
    ],
)
def test_what_names_no_label_or_several_is_a_wrong_answer(written):
    assert read_answer(QUEUES, written) == (written, "not_a_label")


def test_labels_of_other_scripts_and_with_signs_are_read():
    form = AnswerForm("label", labels=("账单", "物流", "C", "C++", "C#"))
    for written, label in (
        ("标签是账单。", "账单"),
        ("「账单」", "账单"),
        ("c++.", "C++"),
        ("Label: C#", "C#"),
        ("C", "C"),
    ):
        assert read_answer(form, written) == (label, "")
    assert read_answer(form, "账单和物流都可以")[1] == "not_a_label"


def test_labels_that_differ_in_case_alone_are_distinguished_by_it():
    form = AnswerForm("label", labels=("NO", "no"))
    assert read_answer(form, "no") == ("no", "") and read_answer(form, "No")[1] == "not_a_label"


@pytest.mark.parametrize("written", ["", "  \n", "<think>so many words", "```\n```"])
def test_nothing_is_an_empty_answer(written):
    assert read_answer(QUEUES, written) == ("", "empty")


@pytest.mark.parametrize(
    "written", ["zip; tent", "zip;tent", "- zip\n- tent", "1. zip\n2. tent", '["zip", "tent"]', "```\nzip; tent\n```"]
)
def test_a_list_is_read_from_lines_bullets_and_json(written):
    assert read_answer(LIST, written) == ("zip; tent", "")


def test_an_object_is_found_in_its_fence_or_sentence():
    value = {"items": ["zip"], "queue": "billing"}
    wanted = (json.dumps({"queue": "billing", "items": ["zip"]}), "")  # in the order of the form
    for written in (json.dumps(value), f"```json\n{json.dumps(value, indent=2)}\n```", f"Here: {json.dumps(value)}."):
        assert read_answer(OBJECT, written) == wanted
    for wrong in ('{"queue": "billing"}', "sorry", '{"queue": "billing", "items": "zip"}', "[" * 100_000):
        assert read_answer(OBJECT, wrong) == (wrong, "not_an_object")


def test_a_text_stays_as_it_is():
    assert read_answer(AnswerForm("text"), " Dear Ann,\nthanks: ok. ") == ("Dear Ann,\nthanks: ok.", "")
