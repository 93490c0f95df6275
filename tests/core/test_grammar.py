"""A grammar's answers equal those that `json.dumps` and `list_text` write, and every begun answer can be closed."""

import itertools
import json
import random
import re

import pytest

from rungwise.core.grammar import Grammar, grammar_of, is_closed
from rungwise.core.prompts import list_text, object_text, parse_object
from rungwise.core.records import AnswerForm

ODD = ("a", "ab", "a b", 'say "x"', "back\\slash", "two\nlines", "中文", "😀", "tab\there", "\x01", "a.b*(c)")
FORM = AnswerForm(
    "json",
    keys=("z", "items", "a"),
    fields={
        "a": AnswerForm("text"),
        "items": AnswerForm("list", ODD),
        "z": AnswerForm("label", ODD),
    },
)
OPEN = AnswerForm("json", keys=('k"ö', "t"), fields={"t": AnswerForm("text"), 'k"ö': AnswerForm("list")})
TEXTS = ["", "plain", *ODD, "\\", '"', "\\u0041", "\x7f", "\u2028", "ends\\\\", "𝄞", "\u00e9", *map(chr, range(32))]


def valid_objects():
    for label, items, text in itertools.product(ODD, [[], ["a"], ["ab", "a"], list(ODD)], TEXTS):
        yield FORM, {"z": label, "items": items, "a": text}
    for items, text in itertools.product([[], [""], TEXTS], TEXTS):
        yield OPEN, {'k"ö': items, "t": text}


def matches(grammar, text):
    return re.fullmatch(grammar.regex, text) is not None


def test_every_object_that_a_row_can_have_is_allowed():
    for form, values in valid_objects():
        assert matches(grammar_of(form), object_text(values)), values


@pytest.mark.parametrize(
    "text",
    [
        '{"z": "a", "items": [], "a": ""} ',
        ' {"z": "a", "items": [], "a": ""}',
        '{"z":"a", "items": [], "a": ""}',
        '{"a": "", "items": [], "z": "a"}',  # another order
        '{"z": "abc", "items": [], "a": ""}',
        '{"z": "a", "items": ["b"], "a": ""}',
        '{"z": "a", "items": ["a",], "a": ""}',
        '{"z": "a", "items": ["a" , "a"], "a": ""}',
        '{"z": "a", "items": [], "a": "\\/"}',
        '{"z": "a", "items": [], "a": "\\ud800"}',
        '{"z": "a", "items": [], "a": "\\u000a"}',
        '{"z": "a", "items": [], "a": "two\nlines"}',
        '{"z": "a", "items": [], "a": 1}',
        '{"z": "a", "items": [], "a": ""',
        '{"z": "a", "items": [], "a": "", "b": ""}',
        '{"z": null, "items": [], "a": ""}',
    ],
)
def test_everything_else_is_not(text):
    assert not matches(grammar_of(FORM), text)


def test_what_the_grammar_allows_is_what_the_project_writes():
    """The other direction, on texts near valid ones: an allowed text is the one spelling of a valid object."""
    alphabet = ['"', "\\", "n", "u", "0", "1", "a", "e", "中", "\n", "/"]
    grammar, n_allowed = grammar_of(AnswerForm("json", keys=("k",), fields={"k": AnswerForm("text")})), 0
    for length in range(5):
        for chars in itertools.product(alphabet, repeat=length):
            text = '{"k": "' + "".join(chars) + '"}'
            values = parse_object(AnswerForm("json", fields={"k": AnswerForm("text")}), text)
            is_spelling = values is not None and object_text(values) == text
            assert matches(grammar, text) == is_spelling, text
            n_allowed += is_spelling
    assert n_allowed > 1000


@pytest.mark.parametrize("separator", [";", ",", "||"])
def test_lists_of_closed_items(separator):
    form = AnswerForm("list", ("a", "a b", "ab", "(x)", "中"), separator)
    grammar = grammar_of(form)
    for n in range(4):
        for items in itertools.product(form.labels, repeat=n):
            if len(set(items)) == n:
                assert matches(grammar, list_text(items, separator))
    for text in ("b", "a" + separator, "a" + separator + "a", f"a {separator} a", "A", "ax", " a"):
        assert not matches(grammar, text)


def begun_answers():
    for form, values in valid_objects():
        if len(values.get("items", [])) < 3 and not (form is OPEN and len(values['k"ö']) > 1):
            yield grammar_of(form), object_text(values).encode()
    yield grammar_of(OPEN), object_text({'k"ö': TEXTS, "t": ""}).encode()
    form = AnswerForm("list", ("a", "a b", "ab", "(x)", "中文"), "||")
    for items in itertools.product(form.labels, repeat=2):
        yield grammar_of(form), list_text(items, "||").encode()


def test_a_begun_answer_is_closed_wherever_it_ends_also_inside_an_escape_or_a_character():
    n, draw = 0, random.Random(1)
    for grammar, whole in begun_answers():
        if draw.random() > 0.4:
            continue
        closings = [grammar.closing(whole[:at]) for at in range(len(whole) + 1)]
        assert closings[-1] == b""
        for at, closing in enumerate(closings):
            if draw.random() > 0.1 and at + 8 < len(whole):
                continue  # a tenth of the places, and all near the end
            assert matches(grammar, (whole[:at] + closing).decode()), (whole[:at], closing)
            assert len(closing) <= grammar.longest_closing
            assert len(closing) <= len(whole) - at or at + len(closing) <= len(whole) + 4  # never longer than needed
            n += 1
            rest = closing
            for k in range(len(closing)):  # a begun closing is closed by its own rest
                assert grammar.closing(whole[:at] + closing[:k]) == rest[k:]
    assert n > 500


def test_the_shortest_answer():
    assert grammar_of(FORM).closing(b"") == b'{"z": "a", "items": [], "a": ""}'
    assert grammar_of(AnswerForm("list", ("a",))).closing(b"") == b""
    assert isinstance(grammar_of(FORM), Grammar)


def test_a_field_without_known_labels_is_any_string():
    grammar = grammar_of(AnswerForm("json", fields={"q": AnswerForm("label"), "l": AnswerForm("list")}))
    assert matches(grammar, json.dumps({"q": "anything", "l": ["at", "all"]}))


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (AnswerForm("label", ("a", "b")), False),
        (AnswerForm("text"), False),
        (AnswerForm("list"), False),
        (AnswerForm("list", ("a",)), True),
        (AnswerForm("json", fields={"a": AnswerForm("text")}), True),
    ],
)
def test_which_forms_are_closed(form, expected):
    assert is_closed(form) is expected
