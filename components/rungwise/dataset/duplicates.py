"""Rows that say the same twice, and rows that contradict each other: found, listed, and kept or dropped as set.

Reads examples; returns the rows that go on and what was found, by ids. Of equal rows the one with the smallest id
stays, so that the order of rows decides nothing.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from rungwise.config import DuplicateSettings
from rungwise.core.errors import DataError, Problem
from rungwise.core.folders import joined
from rungwise.core.records import Rejection, canonical_json
from rungwise.core.table import Table
from rungwise.dataset.similar import near_pairs, normalised, plain


@dataclass(frozen=True)
class Duplicate:
    """A row that another one makes superfluous, or contradicts."""

    kind: str
    """`exact` (same text after normalisation, same answer), `near` (by `similarity`, same answer) or `contradiction`
    (same text, another answer)."""
    id: str
    other: str
    similarity: float


@dataclass(frozen=True)
class Deduplicated:
    """The rows that go on, those dropped, and all that was found."""

    examples: Table
    rejections: tuple[Rejection, ...]
    found: tuple[Duplicate, ...]


def deduplicate(settings: DuplicateSettings, table: Table, *, is_closed: bool) -> Deduplicated:
    """Returns the rows without those that `settings` drops; rows that were given to judge or steer stay.

    Rows of different given sides are never duplicates of each other: what stands on two sides is a leak, which the
    split sees. `is_closed`: whether each text has one right answer (labels, lists), so that another contradicts.

    Raises:
        DataError: rows contradict each other and `contradictions` is `stop`.
    """
    keys = _keys(table)
    found = _exact(table, keys)
    copies = {row for row, _ in found}
    contradicting = _contradictions(table, keys) if is_closed else []
    near = _near(settings, table, copies) if settings.near != "ignore" else []
    if contradicting and settings.contradictions == "stop":
        first = [f"{table.source[i]} line {table.line[i]} and {table.line[j]}" for i, j in contradicting]
        raise DataError(
            Problem(
                f"{len(contradicting)} rows have another answer than an equal text before them",
                where=f"step ingest: {joined(first)}",
                wanted="one answer to one text",
                do="mend the rows, or set `ingest.duplicates.contradictions` to `keep` or `drop`",
            )
        )
    lost: dict[int, tuple[str, str]] = {}
    if settings.contradictions == "drop":
        for pair in contradicting:
            lost |= {row: ("contradiction", f"with {table.id[sum(pair) - row]}") for row in pair}
    if settings.exact == "drop":
        lost |= {row: ("duplicate", f"of {table.id[first]}") for row, first in found}
    if settings.near == "drop":
        lost |= {row: ("near_duplicate", f"of {table.id[first]}, Jaccard {value:.2f}") for row, first, value in near}
    lost = {row: why for row, why in lost.items() if table.role[row] not in ("dev", "test")}  # given: theirs to say
    rejections = tuple(
        Rejection("ingest", table.source[i], table.line[i], reason, detail, table.id[i])
        for i, (reason, detail) in sorted(lost.items())
    )
    listed = [
        *(Duplicate("exact", table.id[i], table.id[j], 1.0) for i, j in found),
        *(Duplicate("near", table.id[i], table.id[j], round(value, 3)) for i, j, value in near),
        *(Duplicate("contradiction", table.id[i], table.id[j], 1.0) for i, j in contradicting),
    ]
    kept = table.take(i for i in range(len(table)) if i not in lost) if lost else table
    return Deduplicated(kept, rejections, tuple(listed))


def _keys(table: Table) -> list[str]:
    """Returns each row's text as it is compared, and its side."""
    columns = [table.fields[name] for name in sorted(table.fields)]
    if len(columns) == 1:
        return [f"{role}\n{normalised(text)}" for text, role in zip(columns[0], table.role, strict=True)]
    rows = zip(*columns, strict=True)
    return [
        f"{role}\n{canonical_json([normalised(t) for t in texts])}"
        for texts, role in zip(rows, table.role, strict=True)
    ]


def _exact(table: Table, keys: Sequence[str]) -> list[tuple[int, int]]:
    """Returns (row, the row that stays) for rows with the text and the answer of another, sorted."""
    first: dict[tuple[str, str], int] = {}
    pairs: list[tuple[int, tuple[str, str]]] = []
    for row, (text, answer) in enumerate(zip(keys, table.answer, strict=True)):
        key = (text, normalised(answer))
        if key in first:
            pairs.append((row, key))
            if table.id[row] < table.id[first[key]]:
                pairs[-1] = (first[key], key)
                first[key] = row
        else:
            first[key] = row
    return sorted((row, first[key]) for row, key in pairs)


def _contradictions(table: Table, keys: Sequence[str]) -> list[tuple[int, int]]:
    """Returns (row, an earlier row with its text and another answer), sorted."""
    answers: dict[str, dict[str, int]] = defaultdict(dict)
    pairs = []
    for row, (text, answer) in enumerate(zip(keys, table.answer, strict=True)):
        known = answers[text]
        other = next((place for said, place in known.items() if said != normalised(answer)), None)
        if other is not None:
            pairs.append((row, other))
        known.setdefault(normalised(answer), row)
    return pairs


def _near(settings: DuplicateSettings, table: Table, copies: set[int]) -> list[tuple[int, int, float]]:
    """Returns (row, a row that stays, Jaccard similarity) for near duplicates with equal answers, sorted.

    A row that stays is no near duplicate of another that stays: of each pair the one with the larger id goes, unless
    the other went already.
    """
    rows = [i for i in range(len(table)) if i not in copies]
    texts = table.joined()
    pairs = near_pairs([plain(texts[i]) for i in rows], settings.similarity)
    chosen = []
    for pair in pairs:
        i, j = sorted((rows[pair.left], rows[pair.right]), key=lambda row: table.id[row])
        if table.role[i] == table.role[j] and normalised(table.answer[i]) == normalised(table.answer[j]):
            chosen.append((table.id[j], j, i, pair.similarity))
    gone: set[int] = set()
    near = []
    for _, row, first, similarity in sorted(chosen):
        if first not in gone and row not in gone:
            gone.add(row)
            near.append((row, first, similarity))
    return sorted(near)
