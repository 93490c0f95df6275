"""What a base that is not trained reads in addition to a task's prompt: an instruction, and words for labels."""

import re
from collections.abc import Mapping, Sequence

from rungwise.core.errors import Problem, SettingsError
from rungwise.core.folders import joined
from rungwise.core.records import AnswerForm

_PARTS = re.compile(r"[\s_./:-]+|(?<=[a-z0-9])(?=[A-Z])")
"""Where the words of a label begin and end: `card_arrival`, `card-arrival`, `cardArrival`."""
MAX_CODE = 4
"""Capitals of at most this length are taken for a code (`DESC`), longer ones for a word (`ACCOUNT`)."""


def readable(label: str) -> str:
    """Returns a label as words: `card_arrival` as `card arrival`, `ACCOUNT` as `account`; codes and numbers stay."""
    if not any(map(str.isalpha, label)):
        return label
    parts = [part for part in _PARTS.split(label) if part]
    return " ".join(part if part.isupper() and len(part) <= MAX_CODE else part.lower() for part in parts) or label


def is_code(label: str) -> bool:
    """Whether a label says little to a reader who does not know it: `DESC`, `3`, `A12`."""
    if not label.isascii():
        return False
    parts = [part for part in _PARTS.split(label) if part]
    return all(part.isdigit() or (part.isupper() and len(part) <= MAX_CODE) or _is_mixed(part) for part in parts)


def _is_mixed(part: str) -> bool:
    return any(c.isdigit() for c in part) and any(c.isalpha() for c in part)


def label_words(labels: Sequence[str], words: Mapping[str, str]) -> dict[str, str]:
    """Returns label -> the words that a model reads and writes in its place, different for all labels.

    They are those of `words`, by default the label as `readable` gives it, or the label itself if another label has the
    same words.

    Raises:
        SettingsError: `words` names a label that does not exist, or gives two labels the same words.
    """
    where = "tasks: `answer.words`"
    if unknown := sorted(set(words) - set(labels)):
        raise SettingsError(
            Problem(
                "label words are given for a label that does not exist",
                where=where,
                found=joined(unknown),
                wanted="one of " + joined(labels, 20),
                do="correct or remove it",
            )
        )
    chosen = {label: words.get(label, readable(label)).strip() for label in labels}
    taken = [chosen[label] for label in labels]
    chosen = {
        label: text if label in words or taken.count(text) == 1 else label.strip() for label, text in chosen.items()
    }
    if len(set(chosen.values())) < len(chosen):
        taken = list(chosen.values())
        double = next(text for text in taken if taken.count(text) > 1)
        raise SettingsError(
            Problem(
                "two labels have the same words",
                where=where,
                found=f"{double!r} for {joined([label for label in labels if chosen[label] == double])}",
                wanted="different words for each label",
            )
        )
    return chosen


def instruction(form: AnswerForm, words: Mapping[str, str], *, with_labels: bool = True) -> str:
    """Returns the instruction for answers of this form; `with_labels`: whether it lists the labels' words."""
    if form.format == "label":
        listed = f"Answer with one of: {', '.join(words[label] for label in sorted(form.labels))}."
        return f"Classify the text. {listed if with_labels else 'Answer with the name of its class.'}"
    if form.format == "list":
        return f"Answer with a list of items, with `{form.separator}` between them."
    if form.format == "json":
        return f"Answer with one line of JSON: an object with the keys {', '.join(form.keys or sorted(form.fields))}."
    return "Answer as in the examples."
