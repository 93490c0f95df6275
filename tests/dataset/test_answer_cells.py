import pytest

from rungwise.config import AnswerSettings
from rungwise.core.errors import RungwiseError
from rungwise.dataset.answer_cells import NoAnswer, answer_in, items_in


def value(cell, **settings):
    field = AnswerSettings.model_validate({"column": "c", **settings}, strict=False)
    return answer_in(field, {"c": cell}, lambda text: text.replace("secret", "[X]"))


def reason(cell, **settings):
    with pytest.raises(NoAnswer) as error:
        value(cell, **settings)
    return error.value.reason


def test_labels_and_texts():
    assert value(" a secret ") == "a secret" and value("a secret", format="text") == "a [X]"
    assert value("Answer: yes</s></s>", format="text", strip=["</s>", "Answer:"]) == "yes"
    assert value(("a", "b"), format="text") == "a; b"
    assert {reason(None), reason(" "), reason("n/a", no_value=["N/A"]), reason("</s>", strip=["</s>"])} == {"no_answer"}


def test_lists():
    assert value("a; b ;a", format="list") == ["a", "b"] == value("['a', 'b']", format="list")
    assert value(("a secret", "b"), format="list") == ["a [X]", "b"]
    assert value(("a</s>", "None", "b"), format="list", strip=["</s>"], no_value=["none"]) == ["a", "b"]
    assert reason(("a; b", "c"), format="list") == "separator_in_item"
    assert value(("a; b", "c"), format="list", separator="|") == ["a; b", "c"]


def test_an_empty_list_is_an_answer_only_if_it_may_be_one_and_an_empty_cell_never_is():
    for empty in ((), "[]"):
        assert reason(empty, format="list") == "empty_list"
        assert value(empty, format="list", may_be_empty=True) == []
    for nothing in (None, "", "; ;"):
        assert reason(nothing, format="list", may_be_empty=True) == "no_answer"


def test_items_of_other_columns():
    assert items_in(None, ";") == [] and items_in("a;b", ";") == ["a", "b"] == items_in(("a", "b", "a"), ";")


@pytest.mark.parametrize("settings", [{"may_be_empty": True}, {"format": "text", "merge_labels": True}])
def test_settings_of_other_formats_are_errors(settings):
    with pytest.raises((RungwiseError, ValueError), match="may_be_empty|merge_labels"):
        AnswerSettings.model_validate({"column": "c", **settings})
