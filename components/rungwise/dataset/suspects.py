"""Lists rows whose labels may be wrong: a cheap model fitted on the other rows predicts another label with confidence.

Reads the rows' texts and labels; a person has to check the result. The model is logistic regression on TF-IDF of words
and word pairs in five-fold cross-validation, as in Northcutt et al., "Confident Learning" (2021,
https://arxiv.org/abs/1911.00068). A row's suspicion is one minus the probability that the model gives its label.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from rungwise.core.table import Table
from rungwise.core.texts import terms_of

FOLDS: Final = 5
SUSPICIOUS: Final = 0.95
"""A row is listed from this suspicion on, if another label has a probability above one half."""


@dataclass(frozen=True)
class Suspect:
    """A row whose label may be wrong."""

    id: str
    label: str
    suggested: str
    """The most probable other label."""
    suspicion: float
    """0 to 1: one minus the probability of `label`."""


def suspicions(texts: Sequence[str], labels: Sequence[str], seed: int = 0) -> tuple[Any, list[str], Any]:
    """Returns each row's suspicion (shape [N]), most probable other label, and that label's probability (shape [N]).

    Raises:
        ValueError: fewer than two labels have FOLDS rows, or no text has a word.
    """
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import SGDClassifier
    from sklearn.model_selection import StratifiedKFold

    counts = Counter(labels)
    names = sorted(label for label, n in counts.items() if n >= FOLDS)
    if len(names) < 2:
        raise ValueError(f"fewer than two labels have {FOLDS} rows")
    places = {label: i for i, label in enumerate(names)}
    known = np.array([i for i, label in enumerate(labels) if label in places])
    answers = np.array([places[labels[i]] for i in known])
    texts_NV = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, min_df=2, tokenizer=terms_of, token_pattern=None
    ).fit_transform([texts[i] for i in known])
    probabilities_NL = np.zeros((len(known), len(names)))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for fitted, held_out in folds.split(texts_NV, answers):
        model = SGDClassifier(loss="log_loss", alpha=1e-5, random_state=seed)
        model.fit(texts_NV[fitted], answers[fitted])
        probabilities_NL[np.ix_(held_out, model.classes_)] = model.predict_proba(texts_NV[held_out])
    suspicion_N, other_N = np.zeros(len(labels)), np.zeros(len(labels))
    suggested = list(labels)
    own = probabilities_NL[np.arange(len(known)), answers]
    suspicion_N[known] = 1 - own
    probabilities_NL[np.arange(len(known)), answers] = -1
    best = probabilities_NL.argmax(1)
    other_N[known] = probabilities_NL[np.arange(len(known)), best]
    for i, place in zip(known.tolist(), best.tolist(), strict=True):
        suggested[i] = names[place]
    return suspicion_N, suggested, other_N


def suspects(table: Table) -> tuple[Suspect, ...]:
    """Returns the rows whose label may be wrong, the most suspicious first; none if there are too few rows to tell."""
    try:
        suspicion_N, suggested, other_N = suspicions(table.joined(), table.answer)
    except ValueError:  # scikit-learn raises it for texts without words, `suspicions` for too few rows
        return ()
    listed = [
        Suspect(table.id[i], table.answer[i], suggested[i], round(float(suspicion_N[i]), 4))
        for i in range(len(table))
        if suspicion_N[i] >= SUSPICIOUS and other_N[i] > 0.5
    ]
    return tuple(sorted(listed, key=lambda s: (-s.suspicion, s.id)))
