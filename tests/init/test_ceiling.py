"""`init` says which labels and items of the user's own test rows no training row has."""

import json

import pytest

N = 160
TAGS = ("tent", "boat", "stove", "rope")


def mails(first: int, n: int, answer):
    return [
        {"body": f"a mail with the number {i} about {TAGS[i % 4]}", "answer": answer(i)}
        for i in range(first, first + n)
    ]


def object_of(i: int) -> dict[str, object]:
    return {"kind": TAGS[i % 2], "parts": [TAGS[i % 4], TAGS[(i + 1) % 4]]}


@pytest.fixture
def said(ingested, tmp_path):
    def say(train, test):
        file = tmp_path / "test.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in test))
        return ingested(train, "body", "answer", test=file)[0]

    return say


def test_labels_in_the_fields_of_objects_have_a_ceiling(said):
    test = mails(1000, 60, lambda i: object_of(i) | ({"kind": "sail"} if i % 3 == 0 else {}))
    text = said(mails(0, N, object_of), test)
    assert (
        "Warning: labels or items of the test rows have no training row: 'kind: sail' (20). No rung can answer 20 of 60 "
        "rows fully, so the score is at most 0.83." in text
    )


def test_frequent_items_of_open_lists_are_named(said):
    def items(i):
        return [TAGS[i % 4], TAGS[(i + 1) % 4]]

    text = said(mails(0, N, items), mails(1000, 60, lambda i: ["sail"] if i % 3 == 0 else items(i)))
    assert (
        "Warning: frequent items of the test rows have no training row: 'sail' (20)." in text and "at most" not in text
    )
