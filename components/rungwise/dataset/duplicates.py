"""Finds duplicates, near duplicates and contradicting rows, and keeps or drops them as the settings say.

Reads examples; returns the remaining rows and the ids of the duplicates. Of equal rows the one with the smallest id
stays, so the result does not depend on the order of the rows.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from rungwise.config import DuplicateSettings
from rungwise.core.errors import DataError, Problem
from rungwise.core.folders import joined
from rungwise.core.records import Rejection, canonical_json
from rungwise.core.table import Table
from rungwise.core.texts import normalised, number_of
from rungwise.dataset.similar import near_pairs, plain


@dataclass(frozen=True)
class Duplicate:
    """A row that duplicates or contradicts another one."""

    kind: str
    """`exact` (same text after normalisation, same answer), `near` (similar text, same answer) or `contradiction`
    (same text, different answer)."""
    id: str
    other: str
    similarity: float


@dataclass(frozen=True)
class Deduplicated:
    """The remaining rows, the dropped rows, and all duplicates."""

    examples: Table
    rejections: tuple[Rejection, ...]
    duplicates: tuple[Duplicate, ...]


def deduplicate(settings: DuplicateSettings, table: Table, *, is_closed: bool) -> Deduplicated:
    """Returns the rows without those that `settings` drops; given dev and test rows always stay.

    Rows of different given sides are never duplicates of each other: the split treats them as leaks. `is_closed`:
    whether each text has one right answer (labels, lists), so that a different answer is a contradiction.

    Raises:
        DataError: rows contradict each other and `contradictions` is `stop`.
    """
    keys = _keys(table)
    exact = _exact(table, keys)
    exact_rows = {row for row, _ in exact}
    contradicting = _contradictions(table, keys) if is_closed else []
    near = _near(settings, table, exact_rows) if settings.near != "ignore" else []
    if contradicting and settings.contradictions == "stop":
        first = [f"{table.source[i]} line {table.line[i]} and {table.line[j]}" for i, j in contradicting]
        raise DataError(
            Problem(
                f"{number_of(len(contradicting), 'row', 'has', 'have')} another answer than an earlier row with "
                "the same text",
                where=f"step ingest: {joined(first)}",
                wanted="one answer per text",
                do="fix the rows, or set `ingest.duplicates.contradictions` to `keep` or `drop`",
            )
        )
    dropped: dict[int, tuple[str, str]] = {}
    if settings.contradictions == "drop":
        for pair in contradicting:
            dropped |= {row: ("contradiction", f"with {table.id[sum(pair) - row]}") for row in pair}
    if settings.exact == "drop":
        dropped |= {row: ("duplicate", f"of {table.id[first]}") for row, first in exact}
    if settings.near == "drop":
        dropped |= {row: ("near_duplicate", f"of {table.id[first]}, Jaccard {value:.2f}") for row, first, value in near}
    dropped = {row: why for row, why in dropped.items() if table.role[row] not in ("dev", "test")}
    rejections = tuple(
        Rejection("ingest", table.source[i], table.line[i], reason, detail, table.id[i])
        for i, (reason, detail) in sorted(dropped.items())
    )
    listed = [
        *(Duplicate("exact", table.id[i], table.id[j], 1.0) for i, j in exact),
        *(Duplicate("near", table.id[i], table.id[j], round(value, 3)) for i, j, value in near),
        *(Duplicate("contradiction", table.id[i], table.id[j], 1.0) for i, j in contradicting),
    ]
    kept = table.take(i for i in range(len(table)) if i not in dropped) if dropped else table
    return Deduplicated(kept, rejections, tuple(listed))


def _keys(table: Table) -> list[str]:
    """Returns each row's normalised text together with its given side."""
    columns = [table.fields[name] for name in sorted(table.fields)]
    if len(columns) == 1:
        return [f"{role}\n{normalised(text)}" for text, role in zip(columns[0], table.role, strict=True)]
    rows = zip(*columns, strict=True)
    return [
        f"{role}\n{canonical_json([normalised(t) for t in texts])}"
        for texts, role in zip(rows, table.role, strict=True)
    ]


def _exact(table: Table, keys: Sequence[str]) -> list[tuple[int, int]]:
    """Returns (row, the row that stays) for rows with the same text and answer as another, sorted."""
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
    """Returns (row, an earlier row with the same text and a different answer), sorted."""
    answers: dict[str, dict[str, int]] = defaultdict(dict)
    pairs = []
    for row, (text, answer) in enumerate(zip(keys, table.answer, strict=True)):
        known = answers[text]
        other = next((place for other_answer, place in known.items() if other_answer != normalised(answer)), None)
        if other is not None:
            pairs.append((row, other))
        known.setdefault(normalised(answer), row)
    return pairs


def _near(settings: DuplicateSettings, table: Table, exact_rows: set[int]) -> list[tuple[int, int, float]]:
    """Returns (row, a row that stays, Jaccard similarity) for near duplicates with equal answers, sorted.

    No two rows that stay are near duplicates: of each pair the row with the larger id goes, unless the other is gone.
    """
    rows = [i for i in range(len(table)) if i not in exact_rows]
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
