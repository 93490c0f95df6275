"""Limits how many rows a stage may reject."""

from collections.abc import Sequence

from rungwise.core.errors import DataError, Problem
from rungwise.core.records import Rejection, counted


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
        + (f", {first[reason].detail})" if first[reason].detail else ")")
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
