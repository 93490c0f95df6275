"""Proposes words for labels that are codes: an untuned base reads and writes them in the labels' place."""

from collections import Counter
from collections.abc import Mapping, Sequence

from rungwise.core.folders import joined
from rungwise.core.instructions import is_code, readable
from rungwise.core.texts import folded, terms_of
from rungwise.init.setting_text import setting_text

MIN_ROWS = 2
"""A word is proposed only if at least this many rows of its label have it."""

_OPTIONS = set("ABCDEFGH")
"""Labels that are the letters of options, which abbreviate nothing."""


def proposed(rows: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Returns label -> words for all labels of `rows` (text, label) if one of them is a code; otherwise nothing.

    A code gets the word that begins with it in most of its own rows (`ABBR`: abbreviation), each word once. A code
    without such a word stays as it is, as the rows do not say what it means.
    """
    labels = sorted({label for _, label in rows})
    if not any(map(is_code, labels)) or set(labels) <= _OPTIONS:
        return {}
    words = {label: readable(label) for label in labels}
    for label in labels:
        if is_code(label):
            taken = {text for other, text in words.items() if other != label}
            words[label] = next(
                (word for word in _words_beginning_with(label, rows) if word not in taken), words[label]
            )
    alike = {text for text, n in Counter(words.values()).items() if n > 1}
    return {label: label if text in alike else text for label, text in words.items()}


def _words_beginning_with(label: str, rows: Sequence[tuple[str, str]]) -> list[str]:
    """Returns the words of the label's rows that begin with it, the one in most rows first."""
    if not label.isalpha():
        return []
    count: Counter[str] = Counter()
    for text, answer in rows:
        if answer == label:
            count.update({folded(word) for word in terms_of(text)})
    begin = folded(label)
    longer = [(n, word) for word, n in count.items() if word.startswith(begin) and word != begin and n >= MIN_ROWS]
    return [word for _, word in sorted(longer, key=lambda pair: (-pair[0], pair[1]))]


def setting(words: Mapping[str, str]) -> str:
    """Returns the words as the end of the answer's line in params.yaml; empty without words."""
    return f", words: {setting_text(words)}" if words else ""


def sentences(words: dict[str, str]) -> list[str]:
    """Returns what was proposed, and what the reader should write."""
    if not words:
        return []
    made = [f"{label}: {text}" for label, text in words.items() if is_code(label) and text != label]
    unknown = [label for label, text in words.items() if is_code(label) and text == label]
    text = "Some labels look like codes. An untuned model reads and writes the words of `answer.words` in their place."
    if made:
        text += f" Proposed from the rows, correct them: {joined(made)}."
    if unknown:
        text += f" Write words for {joined(unknown)}."
    return [text]
