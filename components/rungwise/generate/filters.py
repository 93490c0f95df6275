"""Which texts are kept."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from rungwise.config import GenerateSettings
from rungwise.core.table import Table
from rungwise.dataset.similar import copies, near_pairs, normalised, plain
from rungwise.generate.asks import Ask

SURE: Final = 0.6
"""From this share on for another label the checker disagrees."""


@dataclass(frozen=True)
class Draft:
    """A text that passed every filter."""

    text: str
    label: str
    parents: tuple[str, ...]


class Sieve:
    """Says which texts are worth having, and counts why the others are not."""

    def __init__(self, settings: GenerateSettings, train: Table, held_out: Table, field: str) -> None:
        self.rejected: Counter[str] = Counter()
        self._settings, self._field = settings, field
        self._known = list(train.fields[field])
        self._judged = list(held_out.fields[field]) if len(held_out) else []
        self._plain = {plain(text) for text in self._known}
        self._check = _checker(self._known, train.answer) if settings.checker else None

    def keep(self, made: Sequence[tuple[Ask, str]]) -> list[Draft]:
        """Returns the drafts among the texts of a round."""
        fresh: list[tuple[Ask, str]] = []
        for ask, text in made:
            reason = self._form(text.strip(), ask)
            if reason:
                self.rejected[reason] += 1
            else:
                fresh.append((ask, text.strip()))
                self._plain.add(plain(text))
        texts = [text for _, text in fresh]
        reasons: dict[int, str] = {}
        for pair in near_pairs([plain(text) for text in texts], self._settings.similarity):
            reasons[pair.right] = "near_generated"
        for pair in copies(texts, self._known):
            reasons[pair.left] = "copy_of_training" if pair.kind == "exact" else "near_training"
        for pair in copies(texts, self._judged):
            reasons[pair.left] = f"leak_{pair.kind}"
        kept = []
        for place, (ask, text) in enumerate(fresh):
            reason = reasons.get(place) or ("checker" if self._check and self._check(text, ask.label) else "")
            if reason:
                self.rejected[reason] += 1
                continue
            self._known.append(text)
            kept.append(Draft(text, ask.label, tuple(e.id for e in ask.shown)))
        return kept

    def _form(self, text: str, ask: Ask) -> str:
        """Returns why a text can't be used as it stands; empty where it can."""
        if not text or not re.search(r"\w", text):
            return "empty"
        if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
            return "not_text"
        if len(text) > self._settings.max_characters:
            return "too_long"
        shown = {normalised(e.fields[self._field]) for e in ask.shown}
        if normalised(text) in shown:
            return "copy_of_prompt"
        return "copy" if plain(text) in self._plain else ""


def _checker(texts: Sequence[str], labels: Sequence[str]) -> Callable[[str, str], bool] | None:
    """Returns whether a model of the real rows is sure that a text has another label; None: too little to say."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import SGDClassifier

    if len(set(labels)) < 2:
        return None
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    try:
        texts_NV = vectorizer.fit_transform(texts)
    except ValueError:  # texts without a word
        return None
    model = SGDClassifier(loss="log_loss", alpha=1e-4, random_state=0).fit(texts_NV, labels)

    def disagrees(text: str, label: str) -> bool:
        shares = model.predict_proba(vectorizer.transform([text]))[0]
        return bool(shares.max() >= SURE and model.classes_[shares.argmax()] != label)

    return disagrees
