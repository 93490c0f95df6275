"""Words in scripts with and without spaces. The expected words were written by hand."""

import json
import unicodedata

import pytest

from rungwise.core.texts import (
    has_words,
    is_unspaced,
    n_words,
    normalised,
    number_of,
    on_one_line,
    terms_of,
    tokens_of,
    visible,
    word_spans,
    words_of,
)

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


def test_tokens_are_words_and_punctuation_marks():
    assert tokens_of("e-mail to Zo!") == ["e", "-", "mail", "to", "Zo", "!"]
    assert tokens_of("Zoë: 包裹, ok") == ["Zoë", ":", "包", "裹", ",", "ok"]
    assert tokens_of("हिन्दी भाषा।") == ["हिन्दी", "भाषा", "।"], "vowel signs do not split a word"


def test_spans_are_those_of_the_words():
    for text in ("two words.", "Zoë ถุง 包裹"):
        assert [text[start:end] for start, end in word_spans(text)] == words_of(text)
    assert is_unspaced("包") and is_unspaced("ซ") and not is_unspaced("ë") and not is_unspaced("a")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, Zoë 包裹 😀👍🏽 می\u200cخواهم", "plain, Zoë 包裹 😀👍🏽 می\u200cخواهم"),
        ("two\nlines", "two\nlines"),
        ("\x1b]0;title\x07\x1b[2J", "\\u001b]0;title\\u0007\\u001b[2J"),
        ("\x9b31m \x7f \r \t \0", "\\u009b31m \\u007f \\r \\t \\u0000"),
        ("gpj.\u202eexe \u2066 \u200f", "gpj.\\u202eexe \\u2066 \\u200f"),
        ("a\u200bb \ufeff \u2028 \U000e0041 \ud800", "a\\u200bb \\ufeff \\u2028 \\udb40\\udc41 \\ud800"),
    ],
)
def test_what_controls_a_terminal_is_made_visible(text, shown):
    assert visible(text) == shown
    assert json.loads(visible(json.dumps(text, ensure_ascii=False))) == text


def test_a_text_within_a_line_keeps_no_newline():
    assert on_one_line("billing\nchampion: version 9") == "billing\\nchampion: version 9"


def test_a_noun_and_its_verb_agree_with_the_number():
    assert [number_of(n, "row") for n in (0, 1, 2, 1000)] == ["0 rows", "1 row", "2 rows", "1,000 rows"]
    assert [number_of(n, "row", "is", "are") for n in (1, 2)] == ["1 row is", "2 rows are"]
