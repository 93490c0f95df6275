"""Verifies candidate pairs across two collections by comparing the two texts."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from rungwise.core.texts import has_words
from rungwise.dataset.similar.candidates import RUN_WORDS
from rungwise.dataset.similar.text import plain
from rungwise.dataset.similar.words import WordIds

LONG_PHRASE_WORDS: Final = 10
"""A text of at least this many words inside another text is not just a common phrase. Of 23,700 questions to an
assistant, 70 occur inside a question to a bank, most of them as a phrase such as `i don't know`."""
WHOLE_TEXT_SHARE: Final = 0.8
"""A contained text that makes up at least this share of the other is a duplicate of it."""
SENTENCE_SHARE: Final = 0.1
"""A contained text of at least this share is a duplicate if it is one or more whole sentences of the other."""
MIN_CHARACTERS: Final = 8
"""Shorter texts are duplicates only if they are equal, because one letter makes another word."""
CHARACTERS_PER_EDIT: Final = 20
"""One inserted, deleted, changed or transposed letter per this many characters counts as a typing error."""
MIN_SHARED_WEIGHT: Final = 0.86
"""Texts with equally many words that share at least this much of their words' weight are paraphrases."""
_SENTENCE_END: Final = re.compile(r"[.!?;:,()\[\]\"\n\u2026\u3002\uff01\uff1f]+")


class Verifier:
    """Compares candidates one by one, then reports which of them are duplicates."""

    def __init__(self, left: Sequence[str], right: Sequence[str], words: WordIds) -> None:
        from rapidfuzz.distance import OSA

        self._left, self._right, self._words, self._distance = left, right, words, OSA.distance
        self._duplicates: list[tuple[int, int, str, float]] = []
        self._inside: dict[str, list[tuple[int, int, bool, float]]] = defaultdict(list)

    def add(self, left: int, right: int) -> None:
        """Compares row `left` of the left texts with row `right` of the right texts."""
        a, b = self._words.texts[left], self._words.texts[self._words.n_left + right]
        letters_a, letters_b = a.replace(" ", ""), b.replace(" ", "")  # ignores spaces, as in `can not`
        longer = max(len(letters_a), len(letters_b))
        allowed = max(1, longer // CHARACTERS_PER_EDIT)
        if abs(len(letters_a) - len(letters_b)) <= allowed and longer >= MIN_CHARACTERS:
            distance = self._distance(letters_a, letters_b, score_cutoff=allowed)
            if distance <= allowed:
                self._duplicates.append((left, right, "near", 1 - distance / longer))
                return
        if (shared := self._shared(left, right)) >= MIN_SHARED_WEIGHT:
            self._duplicates.append((left, right, "near", shared))
            return
        inner, outer, written = (a, b, self._right[right]) if len(a) < len(b) else (b, a, self._left[left])
        if (n_words := inner.count(" ") + 1) >= RUN_WORDS and f" {inner} " in f" {outer} ":
            ratio = len(inner) / len(outer)
            if ratio >= SENTENCE_SHARE and _is_sentences(inner, written):
                self._duplicates.append((left, right, "contained", ratio))
            else:
                self._inside[inner].append(
                    (left, right, n_words >= LONG_PHRASE_WORDS or ratio >= WHOLE_TEXT_SHARE, ratio)
                )

    def duplicates(self) -> Iterator[tuple[int, int, str, float]]:
        """Yields (left, right, kind, similarity) of the added candidates that are duplicates."""
        yield from self._duplicates
        for matches in self._inside.values():
            whole = [(left, right, ratio) for left, right, is_whole, ratio in matches if is_whole]
            if 2 * len(whole) >= len(matches):  # otherwise it is a phrase that occurs in many longer sentences
                yield from ((left, right, "contained", ratio) for left, right, ratio in whole)

    def _shared(self, left: int, right: int) -> float:
        """Returns the share of the two texts' words that they have in common, each word weighted by its rarity.

        0 if one text has more words than the other: an added word changes the meaning more often than a replaced one.
        """
        bags = [self._words.words(row).tolist() for row in (left, self._words.n_left + right)]
        if len(bags[0]) != len(bags[1]) or len(bags[0]) < RUN_WORDS:
            return 0.0
        weights = self._words.weights
        total = sum(weights[w] for bag in bags for w in bag)
        return float(2 * sum(weights[w] * n for w, n in (Counter(bags[0]) & Counter(bags[1])).items()) / total)


def _is_sentences(inner: str, written: str) -> bool:
    """Whether a plain text consists of whole sentences of another text, given as it was written."""
    begins = {0}
    place = 0
    sentences = [plain(part) for part in _SENTENCE_END.split(written) if has_words(part)]
    for sentence in sentences:
        place += len(sentence) + 1
        begins.add(place)
    text = " ".join(sentences)
    at = f" {text} ".find(f" {inner} ")
    return at in begins and at + len(inner) + 1 in begins
