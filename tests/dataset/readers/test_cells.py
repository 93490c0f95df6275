from datetime import date
from decimal import Decimal

import pytest

from rungwise.dataset.readers.cells import MAX_LIST_CHARACTERS, as_cell, list_in, object_in, text_of


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("a", "a"),
        ("", None),
        (None, None),
        (float("nan"), None),
        (3, "3"),
        (1.5, "1.5"),
        (True, "true"),
        (date(2026, 1, 2), "2026-01-02"),
        (Decimal("1.20"), "1.20"),
        ([], ()),
        (["a", None, "", 2], ("a", "2")),
        ([["a", "b"], ["c", 1]], ("a | b", "c | 1")),
        ({"a": ["\u00e9"]}, '{"a": ["\u00e9"]}'),
    ],
)
def test_a_value_becomes_a_cell(value, cell):
    assert as_cell(value) == cell


def test_bytes_are_no_cell():
    with pytest.raises(TypeError, match="bytes, wanted text"):
        as_cell([b"a"])


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("['a', 'b']", ("a", "b")),
        ('["a", "b; c"]', ("a", "b; c")),
        ("['it\\'s', \"no, not [so]\"]", ("it's", "no, not [so]")),
        ("['a' 'b'\n 'c']", ("a", "b", "c")),
        ("('a', 'b')", ("a", "b")),
        ("('a',)", ("a",)),
        ("[1, 2.5]", ("1", "2.5")),
        ("[1 2]", ("1", "2")),
        ('[["a", "b"], ["c"]]', ("a | b", "c")),
        ("[]", ()),
        ("()", None),
        ("(a, b)", None),
        ("[sic] he said [so]", None),
        ("[__import__('os')]", None),
        ('[{"a": 1}]', None),
        ("['a', ['b']]", None),
        ("a, b", None),
        ("", None),
        ("[" * 5_000 + "]" * 5_000, None),
        ("['" + "a" * MAX_LIST_CHARACTERS + "']", None),
    ],
)
def test_a_list_that_stands_in_a_text_is_found(text, items):
    assert list_in(text) == items


def test_a_hostile_text_is_searched_in_linear_time():
    assert list_in("['" + "\\'" * 40_000 + "]") is None
    assert list_in("[" + "'a' " * 20_000 + "x]") is None


def test_objects_and_texts():
    assert object_in(' {"a": 1}') == {"a": 1} and object_in("{a}") is None and object_in("[1]") is None
    assert text_of(("a", "b")) == "a; b" and text_of(None) == ""
