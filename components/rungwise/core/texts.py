"""Normalises texts, finds their words in any script, and makes what a terminal would act on visible.

Chinese, Japanese, Korean, Thai, Lao, Burmese and Khmer write few or no spaces between words: there, every character
with its marks counts as a word. In all scripts a mark (an accent, a vowel sign) belongs to its letter.
"""

import functools
import json
import re
import unicodedata
from typing import Final

_UNSPACED: Final = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # kana
    "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese characters
    "\uac00-\ud7af"  # Korean syllables
)
_ASCII_WORD: Final = re.compile(r"\w+", re.ASCII)
_ASCII_TOKEN: Final = re.compile(r"\w+|[^\w\s]", re.ASCII)
_IS_UNSPACED: Final = re.compile(f"[{_UNSPACED}]")
_CHARACTERS_PER_WORD: Final = 2
"""A word of these scripts has about two characters."""
_UNSEEN: Final = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f"  # control characters but the newline; escape sequences begin with one
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that turn the direction of the text
    "\u180e\u200b\u2028\u2029\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"  # without a width
    "\U000e0000-\U000e0fff"  # tags
    "\ud800-\udfff]"  # halves of a pair, which no terminal takes
)


def visible(text: str) -> str:
    """Returns text in which characters that control a terminal, or that nobody sees, are JSON escapes; lines stay."""
    return _UNSEEN.sub(lambda found: json.dumps(found[0])[1:-1], text)


def on_one_line(text: str) -> str:
    """Returns text for a place within a line: as `visible`, with newlines as escapes too."""
    return visible(text).replace("\n", "\\n")


def markdown(text: str) -> str:
    """Returns text so that Markdown shows it as it is, also in a cell of a table."""
    line = on_one_line(text)
    for mark in "\\`*_[]<>|":
        line = line.replace(mark, f"\\{mark}")
    return line


def number_of(n: int, noun: str, verb: str = "", verbs: str = "") -> str:
    """Returns a number with its noun, which takes an s unless the number is 1, and the verb (`is`, `are`) that fits."""
    counted = f"{n:,} {noun}{'' if n == 1 else 's'}"
    return f"{counted} {verb if n == 1 else verbs}" if verb else counted


def normalised(text: str) -> str:
    """Returns text in NFKC, case-folded, with each run of white space as one space."""
    return " ".join(folded(text).split())


def folded(text: str) -> str:
    """Returns text in NFKC, case-folded."""
    return (text if text.isascii() else unicodedata.normalize("NFKC", text)).casefold()


def words_of(text: str) -> list[str]:
    """Returns the words of a text in order, without punctuation."""
    words: list[str] = (_ASCII_WORD if text.isascii() else _word()).findall(text)
    return words


def word_spans(text: str) -> list[tuple[int, int]]:
    """Returns start and end of each word of a text, in order."""
    return [match.span() for match in (_ASCII_WORD if text.isascii() else _word()).finditer(text)]


def tokens_of(text: str) -> list[str]:
    """Returns the words and the punctuation marks of a text in order; every mark is one token."""
    tokens: list[str] = (_ASCII_TOKEN if text.isascii() else _token()).findall(text)
    return tokens


def is_unspaced(character: str) -> bool:
    """Whether a character belongs to a script that writes few or no spaces between words."""
    return _IS_UNSPACED.match(character) is not None


def terms_of(text: str) -> list[str]:
    """Returns the words of a text for a bag of words: without single ASCII letters and digits."""
    return [word for word in words_of(text) if len(word) > 1 or not word.isascii()]


def has_words(text: str) -> bool:
    """Whether a text has a letter or a digit."""
    return (_ASCII_WORD if text.isascii() else _word()).search(text) is not None


def n_words(text: str) -> int:
    """Returns about how many words a text has: runs between white space; two characters without spaces are a word."""
    if text.isascii() or not _IS_UNSPACED.search(text):
        return len(text.split())
    n_unspaced = len(_IS_UNSPACED.findall(text))
    return -(-n_unspaced // _CHARACTERS_PER_WORD) + len(_IS_UNSPACED.sub(" ", text).split())


@functools.cache
def _word() -> re.Pattern[str]:
    """Returns the pattern of a word: a character of an unspaced script, or a run of letters and digits, with marks."""
    marks = "".join(_ranges([c for c in range(0x10000) if unicodedata.category(chr(c)).startswith("M")]))
    letter = rf"[^\W{_UNSPACED}]"
    unspaced_letter = rf"(?=[^\W{marks}])[{_UNSPACED}]"
    return re.compile(f"{unspaced_letter}[{marks}]*|{letter}(?:{letter}|[{marks}])*")


@functools.cache
def _token() -> re.Pattern[str]:
    return re.compile(rf"{_word().pattern}|[^\w\s]")


def _ranges(codes: list[int]) -> list[str]:
    """Returns sorted code points as ranges of a character class."""
    starts = [c for i, c in enumerate(codes) if not i or codes[i - 1] != c - 1]
    ends = [c for i, c in enumerate(codes) if i + 1 == len(codes) or codes[i + 1] != c + 1]
    return [rf"\u{first:04x}-\u{last:04x}" for first, last in zip(starts, ends, strict=True)]
