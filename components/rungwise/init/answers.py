"""Cleans answers before their format is guessed: markers at their ends, and words that mean no answer."""

import json
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from os.path import commonprefix

from rungwise.core.folders import joined
from rungwise.dataset.answer_cells import without_markers
from rungwise.dataset.readers import Cell

NO_VALUE = {"nan", "none", "null", "n/a", "na", "<na>", "-"}
"""What programs write into a cell without a value."""
NEVER_A_VALUE = {"nan", "null", "<na>"}
"""Those that no person uses as a label."""
_SCALE = {
    "low",
    "medium",
    "mid",
    "high",
    "mild",
    "moderate",
    "severe",
    "some",
    "little",
    "minor",
    "major",
    "all",
    "full",
}
NEARLY_ALL = 0.95
"""Share of the answers that must have a marker."""
MIN_PHRASE = 8
"""A phrase that begins or ends nearly all answers is reported from this many characters on."""
_MARKER = r"<[|/]?[\w .:|/-]{1,30}>|\[/?[A-Z_]{2,20}\]|#{3,}|\*{3,}|={3,}"
_END = re.compile(r"(?:<\|[\w ]{1,30}\|>|</s>|<e[on]d?s>|<eot>|<pad>)\s*\Z")
"""A marker by which tokenizers end a text. It never belongs to an answer, however few have it."""
_LAST, _FIRST = re.compile(rf"(?:{_MARKER})\s*\Z"), re.compile(rf"\A\s*(?:{_MARKER}|[A-Z][A-Za-z ]{{0,20}}:(?=\s))")


@dataclass(frozen=True)
class Cleaned:
    """Rows whose answers are cleaned, and the settings that clean them in the run."""

    rows: Sequence[tuple[str, Cell]]
    strip: tuple[str, ...]
    no_value: tuple[str, ...]
    n_without: int
    """Rows without an answer."""

    @property
    def setting(self) -> str:
        """The settings as the end of the answer's line in params.yaml."""
        lists = {"strip": self.strip, "no_value": self.no_value}
        return "".join(
            f", {name}: [{', '.join(json.dumps(text, ensure_ascii=False) for text in texts)}]"
            for name, texts in lists.items()
            if texts
        )

    @property
    def sentences(self) -> list[str]:
        """What was decided."""
        made = []
        if self.strip:
            markers = joined(map(repr, self.strip))
            made.append(
                f"Warning: answers begin or end with {markers}. It is removed (`answer.strip`), so that it is neither "
                "learned nor scored."
            )
        if self.no_value:
            words = joined(map(repr, self.no_value))
            made.append(
                f"Warning: {self.n_without} answers are {words}, which is read as no answer. If it is one, remove "
                "`answer.no_value`."
            )
        return made


def cleaned(rows: Sequence[tuple[str, Cell]]) -> Cleaned:
    """Returns the rows without markers that nearly all answers have, and without those that have no answer."""
    strip = _markers([answer for _, answer in rows if isinstance(answer, str)], len(rows))
    if strip:
        rows = [(text, without_markers(answer, strip) if isinstance(answer, str) else answer) for text, answer in rows]
    counts = Counter(answer for _, answer in rows if isinstance(answer, str))
    no_value = tuple(sorted(answer for answer in counts if _means_nothing(answer, counts)))
    n_without = sum(counts[answer] for answer in no_value)
    if no_value and n_without < len(rows) / 2 and len(counts) > len(no_value) + 1:
        kept = [(text, answer) for text, answer in rows if answer not in no_value and answer != ""]
        return Cleaned(kept, strip, no_value, n_without)
    return Cleaned([row for row in rows if row[1] != ""], strip, (), 0)


def _means_nothing(answer: str, counts: Counter[str]) -> bool:
    """Whether an answer means that there is none: a word that programs write, or -1 among class numbers.

    On a scale (`none`, `low`, `high`), and next to two others that are about as frequent (-1, 0, 1), it is a label. So
    is `none`, which no program writes so, next to other small words that are at most twice as frequent.
    """
    if answer.casefold() in NEVER_A_VALUE:
        return True
    others = {other: n for other, n in counts.items() if other != answer}
    is_missing_class = answer == "-1" and all(other.isdecimal() for other in others)
    if answer.casefold() not in NO_VALUE and not is_missing_class:
        return False
    is_scale = len({other.casefold() for other in others} & _SCALE) > len(others) / 2
    is_frequent = len(others) >= 2 and counts[answer] >= statistics.median(others.values()) / 2
    is_word = answer == "none" and all(other == other.lower() for other in others)
    return not is_scale and not (is_frequent and (is_word or len(others) == 2))


def _markers(answers: Sequence[str], n: int) -> tuple[str, ...]:
    """Returns the markers that nearly all answers begin or end with, and those by which tokenizers end a text."""
    markers: list[str] = []
    for pattern, least in ((_END, 1), (_LAST, NEARLY_ALL * n), (_FIRST, NEARLY_ALL * n)):
        texts = [without_markers(text, markers) for text in answers]
        while True:
            matches = ((match[0].strip(), text) for text in texts if (match := pattern.search(text)))
            counts = Counter(marker for marker, text in matches if not _is_paired(marker, text))
            marker, count = counts.most_common(1)[0] if counts else ("", 0)
            if not marker or count < least or len(markers) == 4:
                break
            markers.append(marker)
            texts = [without_markers(text, [marker]) for text in texts]
    return tuple(dict.fromkeys(markers))


def _is_paired(marker: str, text: str) -> bool:
    """Whether a marker is a tag whose counterpart is in the text, too, so that it belongs to the answer."""
    name = marker.strip("</>")
    return marker.startswith("<") and f"<{name}>" in text and f"</{name}>" in text


def common_phrases(answers: Sequence[str]) -> list[str]:
    """Returns the phrases that nearly all answers begin or end with."""
    phrases: list[str] = []
    for texts, turn in ((sorted(answers), 1), ([a[::-1] for a in answers], -1)):
        ordered = sorted(texts)
        skipped = int((1 - NEARLY_ALL) / 2 * len(ordered))
        inner = ordered[skipped : len(ordered) - skipped]
        phrase = commonprefix([inner[0], inner[-1]])[::turn].strip() if inner else ""
        if len(phrase) >= MIN_PHRASE and phrase not in (answers[0], *phrases):
            phrases.append(phrase)
    return phrases
