import pytest

from rungwise.core.errors import SettingsError
from rungwise.core.instructions import instruction, is_code, label_words, readable
from rungwise.core.records import AnswerForm


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("card_arrival", "card arrival"),
        ("card-arrival", "card arrival"),
        ("cardArrival", "card arrival"),
        ("AddToPlaylist", "add to playlist"),
        ("CANCELLATION_FEE", "cancellation FEE"),
        ("Refund not showing up", "refund not showing up"),
        ("DESC", "DESC"),
        ("3", "3"),
        ("请求", "请求"),
        ("__", "__"),
    ],
)
def test_a_label_is_read_as_words(label, words):
    assert readable(label) == words


def test_codes_differ_from_words():
    assert all(map(is_code, ("DESC", "3", "A12", "Q1", "NUM_1")))
    assert not any(map(is_code, ("billing", "card_arrival", "ACCOUNT", "请求", "Delivery")))


def test_own_words_replace_those_of_the_label():
    assert label_words(["DESC", "card_arrival"], {"DESC": "description"}) == {
        "DESC": "description",
        "card_arrival": "card arrival",
    }


def test_labels_that_would_read_alike_stay_as_they_are():
    assert label_words(["a_b", "a-b", "c_d"], {}) == {"a_b": "a_b", "a-b": "a-b", "c_d": "c d"}


def test_words_of_an_unknown_label_and_equal_words_are_errors():
    with pytest.raises(SettingsError, match=r"(?s)does not exist.*DESK.*DESC, NUM"):
        label_words(["DESC", "NUM"], {"DESK": "description"})
    with pytest.raises(SettingsError, match=r"(?s)the same words.*'number' for DESC, NUM"):
        label_words(["DESC", "NUM"], {"DESC": "number", "NUM": "number"})
    with pytest.raises(SettingsError, match=r"(?s)the same words"):
        label_words(["DESC", "NUM"], {"DESC": "NUM"})


def test_the_instruction_follows_from_the_form():
    form = AnswerForm("label", ("b", "a"))
    assert instruction(form, {"a": "first", "b": "second"}) == "Classify the text. Answer with one of: first, second."
    assert "first" not in instruction(form, {"a": "first", "b": "second"}, with_labels=False)
    assert "`;`" in instruction(AnswerForm("list"), {})
    fields = {"queue": form, "items": AnswerForm("list")}
    assert "keys items, queue." in instruction(AnswerForm("json", fields=fields), {})  # the order of a stored spec
    assert "keys queue, items." in instruction(AnswerForm("json", fields=fields, keys=("queue", "items")), {})
    assert instruction(AnswerForm("text"), {})
