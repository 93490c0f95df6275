"""Rows that can't be used: how many for each reason, the first of them, and what to do about it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from rungwise.dataset.readers import Bad, Note, Row


@dataclass(frozen=True)
class Lost:
    """Rows that can't be used for one reason."""

    n: int
    line: int
    """The first of them."""
    detail: str
    """What is wrong with it, without its text."""


_REMEDIES: Final = {
    "bad_csv": "check the quotes in that line: a quote inside a quoted cell is doubled; or write JSON lines",
    "too_many_fields": "put cells that contain the delimiter in quotes",
    "too_few_fields": "check the delimiter and the quotes of that line",
    "not_utf8": "name the encoding: --encoding NAME",
    "nul": "remove the NUL characters, or name the encoding: --encoding NAME",
    "bad_json": "write one JSON object per line, with a key for each column",
    "bad_shape": "write each conversation as JSON: a list of turns with role and content",
    "no_answer": "choose the column with the answers: --answer COLUMN",
    "no_text": "choose the column with the texts: --text COLUMN",
}


def with_one(lost: Mapping[str, Lost], line: int, reason: str, detail: str) -> dict[str, Lost]:
    """Returns the counted rows with one more."""
    before = lost.get(reason)
    return {**lost, reason: replace(before, n=before.n + 1) if before else Lost(1, line, detail)}


def counted(rows: Iterable[Row | Bad | Note]) -> tuple[int, dict[str, Lost]]:
    """Returns the number of rows that could be read, and reason -> those that could not."""
    n = 0
    lost: dict[str, Lost] = {}
    for row in rows:
        if isinstance(row, Bad):
            lost = with_one(lost, row.line, row.reason, row.detail)
        n += isinstance(row, Row)
    return n, lost


def listed(lost: Mapping[str, Lost]) -> str:
    """Returns the reasons with their numbers and first lines, the most frequent first."""
    ordered = sorted(lost.items(), key=lambda pair: -pair[1].n)
    return "; ".join(f"{reason}: {one.n} (first: line {one.line}, {one.detail})" for reason, one in ordered)


def remedy(lost: Mapping[str, Lost]) -> str:
    """Returns what to do about the most frequent reason."""
    commonest = max(lost, key=lambda reason: lost[reason].n)
    return _REMEDIES.get(commonest, "correct these rows")
