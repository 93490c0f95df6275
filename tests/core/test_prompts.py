import pytest
from hypothesis import given
from hypothesis import strategies as st

from rungwise.core import prompts
from rungwise.core.errors import SettingsError


@given(st.text(), st.text())
def test_the_text_of_a_row_is_never_a_template(first, second):
    assert prompts.fill("<{a}|{b}>", {"a": first, "b": second}) == f"<{first}|{second}>"


def test_braces_are_escaped_and_slots_are_in_order():
    assert prompts.slots("{b} {{x}} {a} {b}") == ("b", "a")
    assert prompts.fill("{{{a}}}", {"a": "{b}"}) == "{{b}}"


@pytest.mark.parametrize("template", ["{", "a}", "{a.b}", "{0}", "{a!r}", "{}"])
def test_a_brace_outside_a_slot_is_an_error(template):
    with pytest.raises(SettingsError, match="brace"):
        prompts.slots(template)


def test_shown_examples_come_before_the_question():
    text = prompts.shown("{body}\nQueue:\n", [({"body": "x"}, "a"), ({"body": "y"}, "b")])
    assert text == "x\nQueue: a\n\ny\nQueue: b\n\n"
