"""Candidates across two collections, held against each other text by text."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from rungwise.dataset.similar.candidates import RUN
from rungwise.dataset.similar.text import WORD, plain
from rungwise.dataset.similar.words import Words

LONG_ENOUGH: Final = 10
"""From so many words on a text inside another is no commonplace, wherever it stands. Of 23,700 questions to an
assistant 70 stand inside some question to a bank, most as a mere phrase (`i don't know`)."""
MOST: Final = 0.8
"""A text that makes up so much of another says what it says."""
SENTENCE: Final = 0.1
"""And so does a shorter one that is a sentence of its own there, or several."""
MIN_CHARACTERS: Final = 8
"""Shorter texts are copies only where they are equal: one letter makes another word."""
EDIT_CHARACTERS: Final = 20
"""A letter more, less, changed or exchanged with its neighbour is a slip once in so many characters."""
SHARED_WEIGHT: Final = 0.86
"""Texts of as many words that share so much of their words' weight are one text in other words."""
_SENTENCE: Final = re.compile(r"[.!?;:,()\[\]\"\n\u2026\u3002\uff01\uff1f]+")


class Verifier:
    """Looks at candidates, text against text, and says which are copies."""

    def __init__(self, left: Sequence[str], right: Sequence[str], both: Words) -> None:
        from rapidfuzz.distance import OSA

        self._left, self._right, self._both, self._distance = left, right, both, OSA.distance
        self._found: list[tuple[int, int, str, float]] = []
        self._inside: dict[str, list[tuple[int, int, bool, float]]] = defaultdict(list)

    def look(self, left: int, right: int) -> None:
        """Looks at row `left` of left and row `right` of right."""
        a, b = self._both.texts[left], self._both.texts[self._both.n_left + right]
        letters_a, letters_b = a.replace(" ", ""), b.replace(" ", "")  # `can not` is no slip, and some write no spaces
        longer = max(len(letters_a), len(letters_b))
        allowed = max(1, longer // EDIT_CHARACTERS)
        if abs(len(letters_a) - len(letters_b)) <= allowed and longer >= MIN_CHARACTERS:
            distance = self._distance(letters_a, letters_b, score_cutoff=allowed)
            if distance <= allowed:
                self._found.append((left, right, "near", 1 - distance / longer))
                return
        if (shared := self._shared(left, right)) >= SHARED_WEIGHT:
            self._found.append((left, right, "near", shared))
            return
        inner, outer, written = (a, b, self._right[right]) if len(a) < len(b) else (b, a, self._left[left])
        if (n_words := inner.count(" ") + 1) >= RUN and f" {inner} " in f" {outer} ":
            ratio = len(inner) / len(outer)
            if ratio >= SENTENCE and _is_sentences(inner, written):
                self._found.append((left, right, "contained", ratio))
            else:
                self._inside[inner].append((left, right, n_words >= LONG_ENOUGH or ratio >= MOST, ratio))

    def verdict(self) -> Iterator[tuple[int, int, str, float]]:
        """Yields (left, right, kind, similarity) of the candidates looked at that are copies."""
        yield from self._found
        for met in self._inside.values():
            whole = [(left, right, ratio) for left, right, is_whole, ratio in met if is_whole]
            if 2 * len(whole) >= len(met):  # otherwise it is a phrase that longer sentences are made of
                yield from ((left, right, "contained", ratio) for left, right, ratio in whole)

    def _shared(self, left: int, right: int) -> float:
        """Returns the share of the two texts' words that they have in common, each word weighed by its rarity.

        0 where the one has more words than the other: a word more or less says something else more often than a
        word for another.
        """
        words = [self._both.words(row).tolist() for row in (left, self._both.n_left + right)]
        if len(words[0]) != len(words[1]) or len(words[0]) < RUN:
            return 0.0
        weigh = self._both.weights
        total = sum(weigh[w] for bag in words for w in bag)
        return float(2 * sum(weigh[w] * n for w, n in (Counter(words[0]) & Counter(words[1])).items()) / total)


def _is_sentences(inner: str, written: str) -> bool:
    """Whether a plain text begins and ends where sentences of the other, as it was written, do."""
    begins = {0}
    place = 0
    sentences = [plain(part) for part in _SENTENCE.split(written) if WORD.search(part)]
    for sentence in sentences:
        place += len(sentence) + 1
        begins.add(place)
    text = " ".join(sentences)
    at = f" {text} ".find(f" {inner} ")
    return at in begins and at + len(inner) + 1 in begins
