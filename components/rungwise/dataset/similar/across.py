"""Copies across two collections."""

from collections.abc import Sequence

from rungwise.dataset.similar.candidates import cross_candidates
from rungwise.dataset.similar.pairs import Pair
from rungwise.dataset.similar.text import plain
from rungwise.dataset.similar.verify import Verifier
from rungwise.dataset.similar.words import Words


def copies(left: Sequence[str], right: Sequence[str]) -> list[Pair]:
    """Returns, for each text of `left` of which `right` holds a copy, the pair with the closest; sorted.

    The texts are as people wrote them. See the module's docstring for what a copy is.
    """
    plain_left, plain_right = [plain(t) for t in left], [plain(t) for t in right]
    places: dict[str, int] = {}
    for row, text in enumerate(plain_right):
        places.setdefault(text, row)
    found = {row: Pair(row, places[t], "exact", 1.0) for row, t in enumerate(plain_left) if t in places}
    todo = [row for row in range(len(left)) if row not in found]
    both = Words([plain_left[row] for row in todo], list(places))
    of_right = list(places.values())
    judge = Verifier([left[row] for row in todo], [right[row] for row in of_right], both)
    for a, b in cross_candidates(both):
        judge.look(a, b)
    for a, b, kind, similarity in judge.verdict():
        if (old := found.get(todo[a])) is None or old.similarity < similarity:
            found[todo[a]] = Pair(todo[a], of_right[b], kind, similarity)
    return [found[row] for row in sorted(found)]
