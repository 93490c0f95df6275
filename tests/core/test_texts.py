"""Words in scripts with and without spaces. The expected words were written by hand."""

import unicodedata

import pytest

from rungwise.core.texts import has_words, n_words, normalised, terms_of, words_of

WORDS = {
    "english": ("Don't stop, it's A5!", ["Don", "t", "stop", "it", "s", "A5"]),
    "german": ("Grüße aus Köln", ["Grüße", "aus", "Köln"]),
    "decomposed": (unicodedata.normalize("NFD", "été"), [unicodedata.normalize("NFD", "été")]),
    "chinese": ("包裹 FW-1", ["包", "裹", "FW", "1"]),
    "japanese": ("テントです。", ["テ", "ン", "ト", "で", "す"]),
    "thai": ("ดี ดู", ["ดี", "ดู"]),
    "arabic": ("أين طَردي؟", ["أين", "طَردي"]),
    "hindi": ("कहाँ है", ["कहाँ", "है"]),
}


@pytest.mark.parametrize("language", WORDS)
def test_words_of_each_script(language):
    text, words = WORDS[language]
    assert words_of(text) == words
    assert has_words(text) and not has_words("?!… 。")


def test_number_of_words_is_comparable_between_scripts():
    assert n_words("don't stop") == 2 and n_words("Grüße aus Köln") == 3
    assert n_words("我的包裹还没到") == 4  # seven characters: I, of, parcel, not yet, arrived
    assert n_words("订单 FW-1 还没到 ok") == 3 + 2
    assert n_words("") == 0


def test_terms_leave_out_single_ascii_letters_only():
    assert terms_of("a tent 包 b") == ["tent", "包"]


def test_normalised():
    assert normalised("  Ｈello\tWORLD ") == "hello world" and normalised("cafe\u0301") == normalised("CAFÉ")
