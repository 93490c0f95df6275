"""Duplicates across two collections: for each text on the left, the closest one on the right."""

from collections.abc import Sequence

from rungwise.dataset.similar.candidates import cross_candidates
from rungwise.dataset.similar.pairs import Pair
from rungwise.dataset.similar.text import plain
from rungwise.dataset.similar.verify import Verifier
from rungwise.dataset.similar.words import WordIds


def copies(left: Sequence[str], right: Sequence[str]) -> list[Pair]:
    """Returns, for each text of `left` with a duplicate in `right`, the pair with the most similar one; sorted.

    The texts are as people wrote them. The package's docstring says what counts as a duplicate.
    """
    plain_left, plain_right = [plain(t) for t in left], [plain(t) for t in right]
    row_of_text: dict[str, int] = {}
    for row, text in enumerate(plain_right):
        row_of_text.setdefault(text, row)
    closest = {row: Pair(row, row_of_text[t], "exact", 1.0) for row, t in enumerate(plain_left) if t in row_of_text}
    rest = [row for row in range(len(left)) if row not in closest]
    words = WordIds([plain_left[row] for row in rest], list(row_of_text))
    right_rows = list(row_of_text.values())
    verifier = Verifier([left[row] for row in rest], [right[row] for row in right_rows], words)
    for a, b in cross_candidates(words):
        verifier.add(a, b)
    for a, b, kind, similarity in verifier.duplicates():
        if (old := closest.get(rest[a])) is None or old.similarity < similarity:
            closest[rest[a]] = Pair(rest[a], right_rows[b], kind, similarity)
    return [closest[row] for row in sorted(closest)]
