"""The result of a search for duplicates: two rows and how similar they are."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """Two rows that are duplicates of each other."""

    left: int
    right: int
    kind: str
    """`exact` (same words), `near`, or `contained` (one text inside the other)."""
    similarity: float
    """0 to 1. For `near` within one collection: the Jaccard similarity of the 5-grams."""
