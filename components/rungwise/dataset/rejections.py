"""Limits how many rows a stage may reject, and says in words why rows were rejected."""

from collections.abc import Mapping, Sequence
from typing import Final

from rungwise.core.errors import DataError, Problem
from rungwise.core.records import Rejection, counted

_FAILED: Final[Mapping[str, str]] = {
    "expect_column_values_to_not_be_null": "{} is missing",
    "expect_column_value_lengths_to_be_between": "{} is empty or longer than `validate.max_characters`",
    "expect_column_values_to_be_between": "{} is not in the allowed range",
    "expect_column_values_to_be_in_set": "{} is not in the allowed set",
    "expect_column_values_to_match_regex": "{} does not have the required form",
    "expect_column_values_to_be_json_parseable": "{} is not JSON",
}
"""Expectation -> how a row fails it; `{}` is the column."""


def in_words(detail: str) -> str:
    """Returns the detail of a rejection as part of a sentence: for an expectation, how the row fails it."""
    name, _, column = detail.partition(":")
    if not name.startswith("expect_"):
        return detail
    if name == "expect_column_values_to_be_between" and column.startswith("words_"):
        return f"{column.removeprefix('words_')} has more words than `validate.max_words`"
    return _FAILED.get(name, f"{{}} does not meet {name}").format(column or "the row")


def check_share(stage: str, rejections: Sequence[Rejection], n: int, limit: float) -> None:
    """Checks that a stage rejected at most a share `limit` of its `n` rows.

    Raises:
        DataError: it rejected more. The error has the number of rows per reason and the first line of each.
    """
    if not rejections or len(rejections) <= limit * n:
        return
    first: dict[str, Rejection] = {}
    for rejection in rejections:
        first.setdefault(rejection.reason, rejection)
    counts = counted([r.reason for r in rejections])
    listed = [
        f"{reason}: {count} (first: {first[reason].source} line {first[reason].line}"
        + (f", {in_words(first[reason].detail)})" if first[reason].detail else ")")
        for reason, count in counts.items()
    ]
    raise DataError(
        Problem(
            f"{len(rejections)} of {n} rows were rejected",
            where=f"step {stage}",
            found="; ".join(listed),
            wanted=f"at most {limit:.0%} (`{stage}.max_rejected_share`)",
            do="fix the rows, or raise the limit if this many are expected",
        )
    )
