"""Cleans answers before their format is guessed: markers at their ends, and words that mean no answer."""

import re
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from os.path import commonprefix

from rungwise.core.folders import joined
from rungwise.core.texts import number_of
from rungwise.dataset.answer_cells import without_markers
from rungwise.dataset.readers import Cell
from rungwise.init.setting_text import setting_text

NO_VALUE = {
    "nan", "none", "null", "n/a", "na", "<na>", "-", "--", "?", "nat", "nil", "undefined", "\\n", "#n/a", "#n/a n/a",
    "#null!", "(null)", "not available",
}  # fmt: skip
"""What programs write into a cell without a value."""
NEVER_A_VALUE = {"nan", "null", "<na>", "nat", "\\n", "#n/a", "#n/a n/a", "#null!", "(null)", "undefined"}
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
_WHOLE = re.compile(r"\d+(?:\.0+)?")
NEARLY_ALL = 0.95
"""Share of the answers that must have a marker."""
MIN_PHRASE = 8
"""A phrase that begins or ends nearly all answers is reported from this many characters on."""
_MARKER = r"<｜[^｜<>]{1,30}｜>|<[|/]?[\w .:|/-]{1,30}>|\[/?[A-Z_]{2,20}\]|#{3,}|\*{3,}|={3,}"
_END = re.compile(r"(?:<\|[\w ]{1,30}\|>|<｜[^｜<>]{1,30}｜>|</s>|<e[on]d?s>|<eot>|<pad>)\s*\Z")
"""A marker by which tokenizers end a text. It never belongs to an answer, however few have it."""
_TOKENIZERS = {"s", "bos", "eos", "sos"}
"""Tags between which tokenizers put a text."""
_EDGE = re.compile(r"(?:.*\s|.*:|_+\w+_+)\Z", re.DOTALL)
"""How a beginning that all labels share ends, if it is not a part of their names."""
_LAST, _FIRST = re.compile(rf"(?:{_MARKER})\s*\Z"), re.compile(rf"\A\s*(?:{_MARKER}|[A-Z][A-Za-z ]{{0,20}}:(?=\s))")


@dataclass(frozen=True)
class Cleaned:
    """Rows whose answers are cleaned, and the settings that clean them in the run."""

    rows: Sequence[tuple[str, Cell]]
    strip: tuple[str, ...]
    no_value: tuple[str, ...]
    n_without: int
    """Rows without an answer."""

    def applied(self, rows: Sequence[tuple[str, Cell]]) -> list[tuple[str, Cell]]:
        """Returns other rows, cleaned in the same way."""
        return _without(_stripped(rows, self.strip), self.no_value)

    @property
    def setting(self) -> str:
        """The settings as the end of the answer's line in params.yaml."""
        lists = {"strip": self.strip, "no_value": self.no_value}
        return "".join(
            f", {name}: [{', '.join(setting_text(text) for text in texts)}]" for name, texts in lists.items() if texts
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
            one = len(self.no_value) == 1
            which, it = ("which is", "it is") if one else ("which are", "they are")
            made.append(
                f"Warning: {number_of(self.n_without, 'answer', 'is', 'are')} {words}, {which} read as no answer. "
                f"If {it} one, remove `answer.no_value`."
            )
        return made


def cleaned(rows: Sequence[tuple[str, Cell]], others: Sequence[tuple[str, Cell]] = ()) -> Cleaned:
    """Returns the rows without markers that nearly all answers have, and without those that have no answer.

    `others`: the user's own validation and test rows, which may have what no training row has.
    """
    texts = [item for _, answer in (*rows, *others) for item in _items(answer)]
    strip = _markers(texts)
    rows, others = _stripped(rows, strip), _stripped(others, strip)
    counts = Counter(answer for _, answer in rows if isinstance(answer, str) and answer)
    in_others = Counter(answer for _, answer in others if isinstance(answer, str) and answer)
    no_value = [answer for answer in counts if _means_nothing(answer, counts)]
    n_without = sum(counts[answer] for answer in no_value)
    is_never = all(answer.casefold() in NEVER_A_VALUE for answer in no_value)
    if not (is_never or n_without < len(rows) / 2) or len(counts) < len(no_value) + 2:
        no_value = []
    # what no training row has as a label is one that programs write where there is none
    no_value += [answer for answer in in_others if answer not in counts and _means_nothing(answer, counts + in_others)]
    n_without = sum(counts[answer] + in_others[answer] for answer in no_value)
    return Cleaned(_without(rows, no_value), strip, tuple(sorted(no_value)), n_without)


def _items(answer: Cell) -> tuple[str, ...]:
    """Returns the texts of an answer: one, or those of a list."""
    return answer if isinstance(answer, tuple) else (answer,) if answer else ()


def _stripped(rows: Sequence[tuple[str, Cell]], markers: Sequence[str]) -> list[tuple[str, Cell]]:
    """Returns the rows without markers at the ends of their answers, or of the items of a list."""
    if not markers:
        return list(rows)

    def without(answer: Cell) -> Cell:
        if isinstance(answer, tuple):
            return tuple(text for item in answer if (text := without_markers(item, markers)))
        return without_markers(answer, markers) if answer else answer

    return [(text, without(answer)) for text, answer in rows]


def _without(rows: Sequence[tuple[str, Cell]], no_value: Sequence[str]) -> list[tuple[str, Cell]]:
    """Returns the rows that have an answer."""
    return [(text, answer) for text, answer in rows if answer != "" and answer not in no_value]


def _means_nothing(answer: str, counts: Counter[str]) -> bool:
    """Whether an answer means that there is none: a word that programs write, or -1 among class numbers or names.

    On a scale (`none`, `low`, `high`), and next to two others that are about as frequent (-1, 0, 1), it is a label. So
    is `none`, which no program writes so, next to other small words that are at most twice as frequent.
    """
    if answer.casefold() in NEVER_A_VALUE:
        return True
    others = {other: n for other, n in counts.items() if other != answer}
    numbers = [bool(_WHOLE.fullmatch(other)) for other in others]
    is_missing_class = answer in ("-1", "-1.0") and (all(numbers) or not any(numbers))
    if answer.casefold() not in NO_VALUE and not is_missing_class:
        return False
    is_scale = len({other.casefold() for other in others} & _SCALE) > len(others) / 2
    is_frequent = len(others) >= 2 and counts[answer] >= statistics.median(others.values()) / 2
    is_word = answer == "none" and all(other == other.lower() for other in others)
    if not any(map(str.isalnum, answer)) and any(not any(map(str.isalnum, other)) for other in others):
        return False  # labels that are signs of punctuation
    return not is_scale and not (is_frequent and (is_word or len(others) == 2))


def _markers(answers: Sequence[str]) -> tuple[str, ...]:
    """Returns the markers that nearly all answers begin or end with, and those by which tokenizers end a text."""
    markers: list[str] = []
    n = len(answers)
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
    if name in _TOKENIZERS:
        return False
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


def common_ends(labels: Sequence[str]) -> tuple[str, ...]:
    """Returns what all labels or items begin and end with and what is not a part of their names, such as `label: `."""
    texts = sorted(set(labels))
    if len(texts) < 2:
        return ()
    begin = commonprefix([texts[0], texts[-1]])
    while begin and not _EDGE.match(begin):
        begin = begin[:-1]
    backwards = sorted(text[len(begin) :][::-1] for text in texts)
    end = commonprefix([backwards[0], backwards[-1]])[::-1]
    while end and not end[0].isspace():
        end = end[1:]
    return tuple(text.strip() for text in (begin, end) if text.strip())
