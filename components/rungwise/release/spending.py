"""What a look at test rows may still find: every look spends some of the evidence that the rows hold.

Each night brings a new challenger to the same rows, and among enough challengers one looks good by luck. So the test
rows belong to cohorts. A cohort has 5% in all (1 minus `evaluate.confidence`) for its looks, whatever their number:
look k is decided one-sided at 5% x 6 / (pi k)^2, which is 3.0%, 0.76%, 0.34% and so on. A look that promoted passes its
level on to the next one (online fallback: Tian and Ramdas, 2021): the promise stays, for any dependence between looks.
New test rows join a cohort until it has `promote.cohort_rows`. Later ones wait, unseen by any look, until they are as
many: then they are the next cohort, with looks of its own. As many that come at once are one at once.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from rungwise.evidence.levels import FIRST_LOOK


@dataclass(frozen=True)
class Cohort:
    """Test rows that the next look uses, and its level."""

    number: int
    """Counted from 1."""
    rows: Set[str]
    """Ids of test rows."""
    look: int
    """The number of the next look at them, counted from 1."""
    level: float
    """Of that look, one-sided."""
    missing: int
    """How many more new test rows start the next cohort, even if they arrive a few at a time."""


def next_cohort(
    looks: Sequence[Mapping[str, Any]], seen: Sequence[Set[str] | None], rows: Sequence[str], alpha: float, size: int
) -> Cohort:
    """Returns the rows and the level of a task's next look.

    Args:
        looks: the task's looks that scored test rows, oldest first, as the ledger has them. One without `cohort` was
            recorded by an older version and belongs to the first.
        seen: the ids of the test rows that each look scored; None where they are not known: all of `rows`.
        rows: the ids of today's test rows.
        alpha: the level of all looks at a cohort together.
        size: the number of rows at which a cohort is full.
    """
    today = set(rows)
    numbers = [int((look.get("cohort") or {"number": 1})["number"]) for look in looks]
    number = max(numbers, default=1)
    members = {n: set[str]() for n in range(1, number + 1)}
    for of, ids in zip(numbers, seen, strict=True):
        members[of] |= today if ids is None else ids & today
    current, fresh = members[number], today - set().union(*members.values())
    own = [look for look, of in zip(looks, numbers, strict=True) if of == number]
    if own and len(fresh) >= size:
        number, current, fresh, own = number + 1, fresh, set(), []
    elif len(current) < size:
        current, fresh = current | fresh, set()
    missing = size - len(fresh) + max(0, size - len(current))
    return Cohort(number, frozenset(current), len(own) + 1, level_of(own, alpha), missing)


def level_of(looks: Sequence[Mapping[str, Any]], alpha: float) -> float:
    """Returns the one-sided level of the look after `looks`, which are those of its cohort, oldest first."""
    level = 0.0
    for k in range(1, len(looks) + 2):
        inherited = level if k > 1 and looks[k - 2]["action"] == "promote" else 0.0
        level = alpha * FIRST_LOOK / k**2 + inherited  # the sum over k is alpha
    return level
