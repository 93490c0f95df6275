"""Two rows that are copies of one another."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """Two rows that are copies of one another."""

    left: int
    right: int
    kind: str
    """`exact` (equal words), `near`, or `contained` (one inside the other)."""
    similarity: float
    """0 to 1; of `near` within one collection the Jaccard similarity of 5-grams."""
