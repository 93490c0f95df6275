"""Guesses a task's format from its answers."""

import re
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rungwise.config import METRICS
from rungwise.core.errors import DataError, Problem
from rungwise.core.folders import joined
from rungwise.core.texts import n_words, number_of
from rungwise.dataset.readers import Cell, list_in, object_in, text_of, value_in
from rungwise.dataset.readers.cells import BETWEEN_PARTS, as_cell
from rungwise.init.setting_text import setting_text

SEPARATORS = (";", "|", ",", "；", "、", "，", "،")
"""What may separate the items of a list; the last four in Chinese, Japanese and Arabic."""
RARE_SEPARATORS = ("¦", "§", "||", ";;", "|||")
"""What the items of a list in a file are written with if they contain all others."""
MAX_ITEM_WORDS = 5
"""The items of a list are at most this long; a list of longer ones holds several right answers."""
SENTENCE_ENDS = (".", "!", "?", "。", "！", "？")
MOST = 0.9
"""A form that at least this share of the answers has is the form of all."""


@dataclass(frozen=True)
class Guess:
    """The format of the answers, and the evidence for it."""

    format: str
    """`label`, `list`, `text` or `json`."""
    why: str
    """The evidence, as the beginning of a sentence."""
    separator: str = ";"
    """The separator of a list's items."""
    may_be_empty: bool = False
    """Whether an empty list is an answer."""
    any_of: bool = False
    """Whether an answer is a list of right answers."""
    others: tuple[str, ...] = ()
    """Columns with further right answers."""
    one_hot: tuple[str, ...] = ()
    """Columns named like the labels, if each says whether its label applies."""
    fields: Mapping[str, "Guess"] = field(default_factory=dict)
    """Key -> format of its value (format `json`)."""

    @property
    def metric(self) -> str:
        """The default metric of this format."""
        return METRICS[self.format][0]

    @property
    def bar(self) -> float:
        """The bar that is written into params.yaml until the user sets one."""
        return {"label": 0.9, "list": 0.75, "text": 0.5, "json": 0.75}[self.format]

    @property
    def family(self) -> str:
        """`extract`: the model finds the answer in the text. `expand`: it writes the answer. `combined`: both."""
        return {"label": "extract", "list": "extract", "text": "expand", "json": "combined"}[self.format]

    def setting(self, column: str, more: str = "") -> str:
        """Returns the answer's settings as they stand in params.yaml; `more`: further settings."""
        if self.fields:
            inner = (f"{setting_text(key)}: {one.setting(f'{column}.{key}')}" for key, one in self.fields.items())
            return f"{{format: json, fields: {{{', '.join(inner)}}}{more}}}"
        place = f"one_hot: {setting_text(self.one_hot)}" if self.one_hot else f"column: {setting_text(column)}"
        text = f"{{{place}, format: {self.format}"
        if self.format == "list":
            text += f", separator: {setting_text(self.separator)}"
        if self.may_be_empty:
            text += ", may_be_empty: true"
        if self.any_of:
            text += ", any_of: true"
        if self.others:
            text += f", others: {setting_text(self.others)}"
        return f"{text}{more}}}"


def guess(
    answers: Sequence[Cell], one_hot: tuple[str, ...] = (), *, any_of: bool = False, others: Sequence[Cell] = ()
) -> Guess:
    """Returns the format of the answers, each a text or the items of a list.

    Args:
        answers: the answers.
        one_hot: the columns that the items of the lists come from, if each says whether it applies.
        any_of: whether a list holds several right answers, because of what is asked.
        others: answers of the user's own validation and test rows, whose items must not contain the separator.

    Raises:
        DataError: all answers are equal, or they are lists of zeros and ones.
    """
    n, distinct = len(answers), Counter(answers)
    if len(distinct) == 1:
        raise DataError(
            Problem(
                "all answers are equal, so there is nothing to learn",
                found=f"{number_of(n, 'row')} with one answer of {number_of(len(text_of(answers[0])), 'character')}",
                wanted="at least two different answers",
                do="choose another column with --answer",
            )
        )
    if one_hot:
        return _of_columns([answer for answer in answers if isinstance(answer, tuple)], one_hot)
    lists = [answer if isinstance(answer, tuple) else list_in(answer or "") for answer in answers]
    if all(isinstance(answer, str) and answer.startswith("<") for answer in answers) and all(
        one is None or len(one) == 1 for one in lists
    ):
        lists = [None] * n  # one tag in each answer is a label with brackets
    if any(isinstance(answer, tuple) for answer in answers) and any(
        object_in(item) for answer in answers if isinstance(answer, tuple) for item in answer[:1]
    ):
        raise DataError(
            Problem(
                "the answers are lists of objects",
                wanted="texts, lists of texts, or one object",
                do="name the part that is the answer, such as --answer COLUMN[*].KEY",
            )
        )
    if any(isinstance(answer, tuple) for answer in answers) or sum(one is not None for one in lists) >= MOST * n:
        items = [one if one is not None else (text_of(answers[i]),) for i, one in enumerate(lists)]
        _refuse_one_hot(items)
        further = [item for one in others for item in (one if isinstance(one, tuple) else list_in(one or "") or ())]
        return _only_items(answers, others) or _any_of(items, are_any=any_of) or _list_of(items, further)
    texts = [text_of(answer) for answer in answers]
    if sum(isinstance(value_in(text), list) for text in texts) >= MOST * n:
        return Guess("text", "the answers are lists of objects, which a model writes as JSON")
    objects = [found for text in texts if (found := object_in(text))]
    keys = Counter(tuple(sorted(one)) for one in objects)
    if len(objects) >= MOST * n and keys.most_common(1)[0][1] >= MOST * n and _can_be_fields(objects[0]):
        return _object_of([one for one in objects if tuple(sorted(one)) == keys.most_common(1)[0][0]])
    if len(objects) >= MOST * n:
        return Guess("text", "the answers are objects with different keys, which a model writes as JSON")
    if separator := _combined(distinct):
        return Guess(
            "list", f"the answers combine the same items in different ways, separated by `{separator}`", separator
        )
    words = [n_words(text) for text in texts]
    repeated = sum(count for count in distinct.values() if count > 1) / n
    if len(distinct) <= max(2, n / 5) and repeated >= 0.8 and statistics.median(words) <= 8:
        return Guess(
            "label",
            f"{number_of(len(distinct), 'different short answer')} in {number_of(n, 'row')}, and nearly all of "
            "them occur several times",
        )
    for separator in SEPARATORS:
        split = [[item.strip() for item in text.split(separator) if item.strip()] for text in texts]
        several = sum(len(items) > 1 for items in split) / n
        short = statistics.mean(n_words(item) <= MAX_ITEM_WORDS for items in split for item in items)
        if several >= 0.6 and short >= 0.9 and not any(re.search(r"[.!?]\s|[。！？]", text) for text in texts[:200]):
            why = f"{several:.0%} of the answers are several short items separated by `{separator}`"
            return Guess("list", why, separator)
    return Guess(
        "text", f"{number_of(len(distinct), 'different answer')} of {statistics.median(words):.0f} words (median)"
    )


def of_columns_with_texts(column: str, others: tuple[str, ...], *, are_lists: bool) -> Guess:
    """Returns the format of right answers in several columns."""
    why = f"columns {joined((column, *others), 20)} have right answers, of which any counts; the model learns the first"
    return Guess("text", why, any_of=are_lists, others=others)


def _combined(distinct: Counter[Cell]) -> str:
    """Returns the separator of items that the answers combine in different ways; empty for labels and texts."""
    for separator in SEPARATORS:
        parts = [[part.strip() for part in text_of(one).split(separator)] for one in distinct]
        several = [one for one in parts if len(one) > 1]
        items = Counter(part for one in parts for part in set(one))
        if len(several) < max(3, 0.3 * len(parts)) or "" in items:
            continue
        if len(items) <= 0.6 * len(parts) and all(
            n > 1 and n_words(item) <= MAX_ITEM_WORDS for item, n in items.items()
        ):
            return separator
    return ""


def _of_columns(lists: Sequence[tuple[str, ...]], names: tuple[str, ...]) -> Guess:
    """Returns the format of answers in one-hot columns: a label if each row has exactly one."""
    if all(len(one) == 1 for one in lists):
        return Guess("label", f"exactly one of {len(names)} columns applies to each row", one_hot=names)
    separator = next((one for one in SEPARATORS if not any(one in name for name in names)), SEPARATORS[0])
    n_empty = sum(not one for one in lists)
    why = f"{statistics.mean(map(len, lists)):.1f} of {len(names)} columns apply to a row on average"
    why += f"; {number_of(n_empty, 'row', 'has', 'have')} none, which is an answer" if n_empty else ""
    return Guess("list", why, separator, may_be_empty=n_empty > 0, one_hot=names)


def _only_items(answers: Sequence[Cell], others: Sequence[Cell]) -> Guess | None:
    """Returns the format of lists with one label each; None for others."""
    if not all(isinstance(answer, tuple) and len(answer) == 1 for answer in (*answers, *others)):
        return None
    one = guess([text_of(answer) for answer in answers])
    return replace(one, why=f"each answer is a list with one item; {one.why}") if one.format == "label" else None


def _any_of(lists: Sequence[tuple[str, ...]], *, are_any: bool = False) -> Guess | None:
    """Returns the format of lists whose items are whole texts, each a right answer; None for other lists.

    In lists of one text each, and where a question is asked (`are_any`), the text may be short.
    """
    items = [item for one in lists for item in one]
    n_texts = sum(n_words(item) > MAX_ITEM_WORDS or item.rstrip()[-1:] in SENTENCE_ENDS for item in items)
    are_long = bool(items) and n_texts >= len(items) / 2
    are_single = bool(items) and all(len(one) == 1 for one in lists)
    if not are_long and not (items and are_any) and not (are_single and guess(items).format == "text"):
        return None
    why = (
        f"the answers are lists of {len(items) / len(lists):.1f} texts of {statistics.median(map(n_words, items)):.0f} "
        "words, so each is taken as a right answer, and the model learns the first"
    )
    return Guess("text", why, any_of=True)


def _list_of(lists: Sequence[tuple[str, ...]], others: Sequence[str]) -> Guess:
    """Returns the format of answers that are lists; `others`: further items.

    Raises:
        DataError: every possible separator occurs in an item.
    """
    items = {item for one in lists for item in one}
    used = [*items, *others]
    candidates = (*SEPARATORS, *RARE_SEPARATORS)
    separator = next((one for one in candidates if not any(one in item for item in used)), None)
    if separator is None:
        raise DataError(
            Problem(
                "the items of the lists contain every character that could separate them",
                found=joined(map(repr, candidates), 12),
                wanted="items without at least one of them",
                do="remove one of these characters from the items",
            )
        )
    n_empty = sum(not one for one in lists)
    are_nested = all(BETWEEN_PARTS in item for item in items)
    why = (
        f"the answers are lists of {statistics.mean(map(len, lists)):.1f} items on average, {len(items)} different ones"
    )
    why += f"; {n_empty} {'is' if n_empty == 1 else 'are'} empty, which is an answer" if n_empty else ""
    why += " (--answer COLUMN[0] if it is a missing label)" if n_empty and max(map(len, lists)) == 1 else ""
    why += (
        f"; an item that is itself a list is written with `{BETWEEN_PARTS.strip()}` between its parts"
        if are_nested
        else ""
    )
    return Guess("list", why, separator, may_be_empty=n_empty > 0)


def _refuse_one_hot(lists: Sequence[tuple[str, ...]]) -> None:
    """Raises DataError for lists of zeros and ones."""
    lengths, items = {len(one) for one in lists}, {item for one in lists for item in one}
    if len(lengths) == 1 and max(lengths) > 1 and items <= {"0", "1", "0.0", "1.0", "0.", "1.", "true", "false"}:
        raise DataError(
            Problem(
                "the answers are one-hot lists, which don't name their items",
                found=f"lists of {max(lengths)} zeros and ones",
                wanted='lists of the names that apply, such as ["billing", "urgent"]',
                do="replace each list by the names of its ones",
            )
        )


def _can_be_fields(one: Mapping[str, Any]) -> bool:
    return all(re.fullmatch(r"[^.\[\]{}]+", key) for key in one)


def _object_of(objects: Sequence[Mapping[str, Any]]) -> Guess:
    """Returns the format of answers that are objects with the same keys, without those that are always empty."""
    fields = {}
    values = {key: [as_cell(one[key]) for one in objects] for key in objects[0]}
    empty = [key for key, cells in values.items() if not any(cells)]
    for key, cells in values.items():
        if key in empty:
            continue
        try:
            fields[key] = guess([cell for cell in cells if cell is not None])
        except (DataError, IndexError):  # the same value everywhere, or none
            fields[key] = Guess("label", "")
    plain = {key for key, one in fields.items() if one.fields or one.any_of}  # a field has one right value
    fields = {key: Guess("text", "") if key in plain else one for key, one in fields.items()}
    named = joined([f"{key} ({one.format})" for key, one in fields.items()], 10)
    without = f"; {joined(empty)} is always empty and is not asked for" if empty else ""
    return Guess("json", f"the answers are objects with the keys {named}{without}", fields=fields)


def is_answer(guessed: Guess, answer: Cell) -> bool:
    """Whether an answer has what the format requires: otherwise the run rejects its row."""
    if guessed.fields:
        values = object_in(text_of(answer)) or {}
        return all(is_answer(field, as_cell(values.get(key))) for key, field in guessed.fields.items())
    items = answer if isinstance(answer, tuple) else list_in(answer or "")
    if items is not None and (guessed.any_of or guessed.format == "list" or isinstance(answer, tuple)):
        return bool(items) or guessed.may_be_empty
    return bool(text_of(answer).strip())
