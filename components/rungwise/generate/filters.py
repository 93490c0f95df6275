"""Decides which generated texts are kept, and counts why the others are not."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from rungwise.config import GenerateSettings
from rungwise.core.table import Table
from rungwise.core.texts import normalised, terms_of
from rungwise.dataset.similar import copies, near_pairs, plain
from rungwise.generate.queries import Query

CHECKER_PROBABILITY: Final = 0.6
"""The checker rejects a text if another label has at least this probability."""


@dataclass(frozen=True)
class Draft:
    """A text that passed every filter."""

    text: str
    label: str
    parents: tuple[str, ...]


class Filters:
    """Keeps texts that are well-formed, new, no leak and plausible for their label; counts the others by reason."""

    def __init__(self, settings: GenerateSettings, train: Table, held_out: Table, field: str) -> None:
        self.rejected: Counter[str] = Counter()
        self._settings, self._field = settings, field
        self._known = list(train.fields[field])
        self._held_out = list(held_out.fields[field]) if len(held_out) else []
        self._plain = {plain(text) for text in self._known}
        self._check = _checker(self._known, train.answer) if settings.checker else None

    def keep(self, texts: Sequence[tuple[Query, str]]) -> list[Draft]:
        """Returns the drafts among the texts of one round, and counts the other texts in `rejected`."""
        candidates: list[tuple[Query, str]] = []
        for query, text in texts:
            reason = self._malformed(text.strip(), query)
            if reason:
                self.rejected[reason] += 1
            else:
                candidates.append((query, text.strip()))
                self._plain.add(plain(text))
        new_texts = [text for _, text in candidates]
        reasons: dict[int, str] = {}
        for pair in near_pairs([plain(text) for text in new_texts], self._settings.similarity):
            reasons[pair.right] = "near_generated"
        for pair in copies(new_texts, self._known):
            reasons[pair.left] = "copy_of_training" if pair.kind == "exact" else "near_training"
        for pair in copies(new_texts, self._held_out):
            reasons[pair.left] = f"leak_{pair.kind}"
        kept = []
        for place, (query, text) in enumerate(candidates):
            reason = reasons.get(place) or ("checker" if self._check and self._check(text, query.label) else "")
            if reason:
                self.rejected[reason] += 1
                continue
            self._known.append(text)
            kept.append(Draft(text, query.label, tuple(e.id for e in query.examples)))
        return kept

    def _malformed(self, text: str, query: Query) -> str:
        """Returns the reason why a text alone can't be used; empty if it can."""
        if len(text) > self._settings.max_characters:
            return "too_long"
        if not text or not re.search(r"\w", text):
            return "empty"
        if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
            return "not_text"
        shown = {normalised(e.fields[self._field]) for e in query.examples}
        if normalised(text) in shown:
            return "copy_of_prompt"
        return "copy" if plain(text) in self._plain else ""


def _checker(texts: Sequence[str], labels: Sequence[str]) -> Callable[[str, str], bool] | None:
    """Returns a function that tells whether a text probably has another label; None if the rows are too few to tell.

    The function uses a classifier that is fitted on the real rows.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import SGDClassifier

    if len(set(labels)) < 2:
        return None
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, tokenizer=terms_of, token_pattern=None)
    try:
        texts_NV = vectorizer.fit_transform(texts)
    except ValueError:  # no text has a word
        return None
    model = SGDClassifier(loss="log_loss", alpha=1e-4, random_state=0).fit(texts_NV, labels)

    def disagrees(text: str, label: str) -> bool:
        probabilities = model.predict_proba(vectorizer.transform([text]))[0]
        return bool(probabilities.max() >= CHECKER_PROBABILITY and model.classes_[probabilities.argmax()] != label)

    return disagrees
