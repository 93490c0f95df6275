import pytest

from rungwise.config import AnswerSettings
from rungwise.core.errors import RungwiseError
from rungwise.dataset.answer_cells import NoAnswer, answer_in, items_in, looks_one_hot, one_hot_in, texts_in


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


def test_a_text_can_have_several_right_answers():
    answer = AnswerSettings(column="c", format="text", any_of=True, no_value=("none",), strip=("</s>",))
    for cell in (("a secret</s>", "b", " ", "None", "b"), '["a secret", "b"]', "['a secret</s>', 'b']"):
        assert texts_in(answer, {"c": cell}, lambda text: text.replace("secret", "[X]")) == ["a [X]", "b"]
    assert texts_in(answer, {"c": "one; text"}, str) == ["one; text"]
    for nothing in (None, "", (), ("none",), "[]"):
        with pytest.raises(NoAnswer, match="no_answer"):
            texts_in(answer, {"c": nothing}, str)


def test_right_answers_in_several_columns_are_each_read_and_empty_cells_are_none():
    answer = AnswerSettings(column="ref1", others=("ref2", "ref3"), format="text", no_value=("none",), strip=("</s>",))
    assert answer.columns() == ("ref1", "ref2", "ref3")
    cells = {"ref1": "a secret</s>", "ref2": None, "ref3": "[b, c]"}
    assert texts_in(answer, cells, lambda text: text.replace("secret", "[X]")) == ["a [X]", "[b, c]"]
    assert texts_in(answer, {"ref1": " ", "ref2": ("b", "c"), "ref3": "b"}, str) == ["b", "c"]
    with pytest.raises(NoAnswer, match="no_answer") as caught:
        texts_in(answer, {"ref1": "", "ref2": None, "ref3": "none"}, str)
    assert caught.value.detail == "columns ref1, ref2, ref3 are empty"
    lists = answer.model_copy(update={"any_of": True})
    assert texts_in(lists, {"ref1": "a", "ref2": "['b', 'c']", "ref3": None}, str) == ["a", "b", "c"]


def test_one_hot_columns_are_a_label_or_items():
    label = AnswerSettings(one_hot=("billing", "tech"))
    items = AnswerSettings(one_hot=("billing", "tech"), format="list")
    assert label.labels == items.labels == ("billing", "tech") and items.is_closed
    for yes, no in (("1", "0"), ("True", "False"), ("1.0", "0.0"), (" yes ", None)):
        assert one_hot_in(label, {"billing": no, "tech": yes}) == "tech"
        assert one_hot_in(items, {"billing": yes, "tech": yes}) == ["billing", "tech"]
    for cells, of, reason_ in [
        (("1", "1"), label, "not_one_hot"), (("0", "0"), label, "not_one_hot"), (("2", "0"), items, "not_one_hot"),
        ((None, ""), items, "no_answer"), (("0", "0"), items, "empty_list"),
    ]:  # fmt: skip
        with pytest.raises(NoAnswer, match=reason_):
            one_hot_in(of, dict(zip(("billing", "tech"), cells, strict=True)))
    assert one_hot_in(items, {"billing": "X", "tech": ""}) == ["billing"]
    assert looks_one_hot(["x", "", "X"]) and looks_one_hot(["✓", None]) and not looks_one_hot(["x"])
    assert not looks_one_hot(["", None])
    assert one_hot_in(items.model_copy(update={"may_be_empty": True}), {"billing": "0", "tech": ""}) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"column": "c", "may_be_empty": True}, "may_be_empty"),
        ({"column": "c", "format": "text", "merge_labels": True}, "merge_labels"),
        ({"column": "c", "any_of": True}, "any_of"),
        ({"column": "c", "others": ("d",)}, "others"),
        ({"column": "c", "others": ("d", "c"), "format": "text"}, "others: a column is named twice"),
        ({}, "column"),
        ({"column": "c", "one_hot": ("a", "b")}, "either"),
        ({"one_hot": ("a", "b"), "format": "text"}, "one_hot"),
        ({"one_hot": ("a",)}, "at least two"),
        ({"one_hot": ("a", "b"), "labels": ("a", "c")}, "the same names"),
        ({"one_hot": ("a;b", "c"), "format": "list"}, "separator"),
    ],
)
def test_settings_that_do_not_fit_are_errors(settings, message):
    with pytest.raises((RungwiseError, ValueError), match=message):
        AnswerSettings.model_validate(settings)
