"""The phrases of a text that could be items of its list, and what describes each of them.

A candidate is a run of words of one sentence, as it is written there. In scripts without spaces it is a run of
characters.
"""

import functools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from rungwise.core.texts import folded, is_unspaced, normalised, word_spans
from rungwise.model.classical.features import Array

MAX_WORDS: Final = 600
"""Candidates come from the first so many words of a text."""
TRAITS: Final = (
    "phrase", "first", "last", "before", "after", "ending", "shape", "place", "times", "inside"
)  # fmt: skip
"""What a candidate is described by: the phrase, its first and last word, the words or the punctuation around it, the
last letters, its capitals and digits, its place in the text, how often it occurs, and how often a longer candidate
contains it."""

_JOINED: Final = re.compile(r"[-'’/.&+]")
"""Between two words without white space, these make one word of them: `e-mail`."""
_SPACED: Final = re.compile("[\uac00-\ud7af]")
"""Korean, which writes spaces, though each of its syllables counts as a word."""


@dataclass(frozen=True)
class Candidate:
    """A phrase of a text with its traits."""

    phrase: str
    """As it is written where it first occurs, each run of white space as one space."""
    key: str
    """The phrase without upper case: equal phrases have equal keys."""
    traits: tuple[str, ...]
    """One text for each of TRAITS."""


def key_of(phrase: str) -> str:
    """Returns what two phrases that count as equal have in common."""
    return normalised(phrase)


def n_words(phrase: str) -> int:
    """Returns the number of words of a phrase; every character of a script without spaces is one."""
    return len(_words(phrase))


def candidates(text: str, longest: int, separator: str) -> list[Candidate]:
    """Returns a text's candidates of at most `longest` words, in the order of their first occurrence."""
    words = _words(text)[:MAX_WORDS]
    written = [folded(text[start:end]) for start, end in words]
    ends = [(0, 0), *words, (len(text), len(text))]
    gaps = [text[one[1] : other[0]].strip() for one, other in zip(ends, ends[1:], strict=False)]
    joins = [_joins(text, words[i], words[i + 1]) for i in range(len(words) - 1)]
    keys: dict[tuple[int, int], str] = {}
    places: dict[str, list[tuple[int, int]]] = {}
    for first, word in enumerate(written):
        key = word
        for last in range(first, min(first + longest, len(words))):
            if last > first:
                if not joins[last - 1]:
                    break
                key += (" " if words[last - 1][1] < words[last][0] else "") + written[last]
            keys[first, last] = key
            places.setdefault(key, []).append((first, last))
    longer = dict.fromkeys(places, 0)
    for spans in places.values():
        first, last = spans[0]
        for inner in ((first + 1, last), (first, last - 1)) if first < last else ():
            longer[keys[inner]] = max(longer[keys[inner]], len(spans))
    listed = []
    for key, spans in places.items():
        first, last = spans[0]
        phrase = " ".join(text[words[first][0] : words[last][1]].split())
        if separator in phrase:
            continue
        before = written[first - 1] if first and joins[first - 1] else gaps[first][-1:] or " "
        after = written[last + 1] if last < len(joins) and joins[last] else gaps[last + 1][:1] or " "
        times = len(spans)
        traits = (
            key,
            written[first],
            written[last],
            before,
            after,
            written[last][-3:],
            f"{last - first} {_shape(phrase)}",
            str(int(np.log2(1 + first))),
            f"{last - first} {min(times, 5)}",
            f"{last - first} {min(times, 3)} {min(longer[key], 3)}",
        )
        listed.append(Candidate(phrase, key, traits))
    return listed


def _words(text: str) -> list[tuple[int, int]]:
    """Returns start and end of each word; words that a hyphen or the like joins are one."""
    spans: list[tuple[int, int]] = []
    for start, end in word_spans(text):
        gap = text[spans[-1][1] : start] if spans else " "
        if len(gap) == 1 and _JOINED.match(gap) and not is_unspaced(text[start]):
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans


def _joins(text: str, one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Returns whether two neighbouring words can be in one phrase.

    There is nothing between them, or white space; in scripts without spaces, white space ends a phrase.
    """
    gap = text[one[1] : other[0]]
    ends_there = is_unspaced(text[one[0]]) and is_unspaced(text[other[0]]) and not _SPACED.match(text[one[0]])
    return not gap or (gap.isspace() and "\n\n" not in gap and not ends_there)


def _shape(phrase: str) -> str:
    """Returns what kinds of letters a phrase has: `Xx`, `A`, `x9` ..."""
    kinds = [kind for kind in map(_kind, phrase) if kind]
    return "".join(kind for i, kind in enumerate(kinds) if not i or kind != kinds[i - 1])[:6]


@functools.cache
def _kind(character: str) -> str:
    """Returns the kind of a character; empty for a space and for a mark, which belongs to its letter."""
    if character == " " or unicodedata.category(character).startswith("M"):
        return ""
    return "9" if character.isdigit() else "X" if character.isupper() else "x" if character.isalpha() else "-"


def numbered(rows: Sequence[Sequence[Candidate]], known: dict[tuple[int, str], int], is_new: bool) -> Array:
    """Returns the place of each trait of each candidate in `known`, shape (candidates, traits); -1: it is not there.

    `is_new`: adds traits that are not there.
    """
    size = sum(map(len, rows))
    traits = ((trait, text) for row in rows for one in row for trait, text in enumerate(one.traits))
    ids = (known.setdefault(key, len(known)) for key in traits) if is_new else (known.get(key, -1) for key in traits)
    return np.fromiter(ids, dtype=np.int64, count=size * len(TRAITS)).reshape(size, len(TRAITS))
