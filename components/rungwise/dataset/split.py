"""Rows to train, dev and test: as the user gave it, otherwise by the hash of the lineage group alone.

Because nothing but the group's own hash decides, adding, removing or reordering other rows never moves a row.
What judges keeps its place: a training row goes, counted by kind, where its group, a copy of its text (see
`similar`) or a row that it was made from stands in dev or test, and a dev row where its group stands in test.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass

from rungwise.config import SplitSettings
from rungwise.core.errors import DataError, Problem
from rungwise.core.folders import joined
from rungwise.core.records import SIDES, Example, Rejection, counted
from rungwise.core.table import Table
from rungwise.dataset.similar import copies, unwrapped

_STRANGER = "no collected row"
"""What stands in place of the side of a parent that is not among the rows."""


@dataclass(frozen=True)
class Leak:
    """Two rows that say the same on two sides."""

    id: str
    side: str
    other: str
    other_side: str
    kind: str
    """`exact`, `near` or `contained` (see `similar`)."""
    similarity: float


@dataclass(frozen=True)
class Split:
    """The three sides, the rows that lost their place, and what else a reader of scores should know."""

    train: Table
    dev: Table
    test: Table
    rejections: tuple[Rejection, ...]
    leaks: tuple[Leak, ...]
    """Copies of held-out rows that were taken out of training, each with the row that it is a copy of."""
    dev_in_test: tuple[Leak, ...]
    """Dev rows of which test holds a copy: both stay, since neither teaches; dev scores are then no second opinion."""


def position(group: str) -> float:
    """Returns the place of a lineage group in [0, 1): a function of its name alone."""
    return int.from_bytes(hashlib.sha256(b"rungwise-split:" + group.encode()).digest()[:8], "big") / 2**64


def split(settings: SplitSettings, examples: Sequence[Example]) -> Split:
    """Returns every row on one side, each side in the order of `examples`.

    A row marked `dev` or `test` stays there. Of the other rows the hash takes a dev share where the user marked
    no dev rows, and a test share where the user marked no test rows. A synthetic row teaches or goes.

    Raises:
        DataError: a side is left without rows, or more than `max_leaked_share` of the training rows leaked.
    """
    table = Table.of(examples)
    sides = _sides(settings, table)
    n_train = sides.count("train")
    lost = _by_group(table, sides) | _by_lineage(table, sides)
    rows = {side: [i for i, s in enumerate(sides) if s == side and i not in lost] for side in SIDES}
    texts = unwrapped(table.joined()) if settings.copies == "near" else table.joined()
    held_out = rows["dev"] + rows["test"]
    leaks = _leaks(settings, table, texts, sides, rows["train"], held_out)
    for leak in leaks:
        lost[leak[0]] = (f"leak_{leak[1].kind}", f"a copy of {leak[1].other} in {leak[1].other_side}")
    _check_share(settings, sides, lost, n_train)
    rows["train"] = [i for i in rows["train"] if i not in lost]
    rejections = []
    for i, (reason, detail) in sorted(lost.items()):
        rejections.append(Rejection("split", table.source[i], table.line[i], reason, detail, table.id[i]))
    for side in SIDES:
        if not rows[side]:
            raise DataError(
                Problem(
                    f"the split leaves no rows for {side}",
                    where="step split",
                    found=", ".join(f"{name}: {len(rows[name])}" for name in SIDES)
                    + (f"; lost their place: {_listed(lost)}" if lost else ""),
                    wanted="rows on every side",
                    do="collect more rows, or raise `split.dev` or `split.test`",
                )
            )
    between = _leaks(settings, table, texts, sides, rows["dev"], rows["test"])
    train, dev, test = (table.take(rows[side]) for side in SIDES)
    return Split(train, dev, test, tuple(rejections), tuple(x for _, x in leaks), tuple(x for _, x in between))


def _listed(lost: dict[int, tuple[str, str]]) -> str:
    return ", ".join(f"{reason}: {n}" for reason, n in counted([reason for reason, _ in lost.values()]).items())


def rare(train: Table, held_out: Table, least: int) -> dict[str, int]:
    """Returns label -> its rows in `held_out`, for the labels of `train` with fewer than `least` there, sorted."""
    counts = Counter(held_out.answer)
    return {label: counts[label] for label in sorted(set(train.answer)) if counts[label] < least}


def _sides(settings: SplitSettings, table: Table) -> list[str]:
    given = set(table.role)
    return [
        "train" if parents and role is None else _side(settings, role, group, given)
        for role, group, parents in zip(table.role, table.group, table.parents, strict=True)
    ]


def _side(settings: SplitSettings, role: str | None, group: str, given: Set[str | None]) -> str:
    if role in ("dev", "test"):
        return role
    test = 0.0 if "test" in given else settings.test
    dev = 0.0 if "dev" in given else settings.dev
    place = position(group)
    if place < test:
        return "test"
    return "dev" if place < test + dev else "train"


def _by_group(table: Table, sides: Sequence[str]) -> dict[int, tuple[str, str]]:
    """Returns row -> (reason, detail) for rows whose group stands on a side that must know nothing of it."""
    steering, judging = ({g for g, s in zip(table.group, sides, strict=True) if s == side} for side in ("dev", "test"))
    lost = {}
    for row, (side, group) in enumerate(zip(sides, table.group, strict=True)):
        if (side != "test" and group in judging) or (side == "train" and group in steering):
            other = "test" if group in judging else "dev"
            lost[row] = ("leak_group", f"in {side}, its group {group} also stands in {other}")
    return lost


def _by_lineage(table: Table, sides: Sequence[str]) -> dict[int, tuple[str, str]]:
    """Returns row -> (reason, detail) for synthetic rows that would not teach, or whose parents don't."""
    if not any(table.parents):
        return {}
    side_of = {id_: side for id_, side, made_of in zip(table.id, sides, table.parents, strict=True) if not made_of}
    lost = {}
    for row, (side, parents) in enumerate(zip(sides, table.parents, strict=True)):
        if not parents:
            continue
        others = {parent: side_of.get(parent, _STRANGER) for parent in parents}
        strangers = [f"{parent}: {other}" for parent, other in others.items() if other != "train"]
        if side != "train":
            lost[row] = ("synthetic_held_out", f"in {side}, and synthetic rows only teach")
        elif strangers:
            lost[row] = ("leak_child", f"made from {joined(strangers)}")
    return lost


def _leaks(
    settings: SplitSettings,
    table: Table,
    texts: Sequence[str],
    sides: Sequence[str],
    rows: Sequence[int],
    others: Sequence[int],
) -> list[tuple[int, Leak]]:
    """Returns (row, leak) for those of `rows` that have a copy among `others`."""
    found = copies([texts[i] for i in rows], [texts[i] for i in others])
    return [
        (i, Leak(table.id[i], sides[i], table.id[j], sides[j], pair.kind, round(pair.similarity, 3)))
        for pair in found
        if settings.copies == "near" or pair.kind == "exact"
        for i, j in [(rows[pair.left], others[pair.right])]
    ]


def _check_share(settings: SplitSettings, sides: Sequence[str], lost: dict[int, tuple[str, str]], n_train: int) -> None:
    reasons = [reason for i, (reason, _) in lost.items() if sides[i] == "train"]
    if len(reasons) <= settings.max_leaked_share * n_train:
        return
    orphans = sum(reason == "leak_child" and f": {_STRANGER}" in detail for reason, detail in lost.values())
    if orphans and len(reasons) - orphans <= settings.max_leaked_share * n_train:
        raise DataError(
            Problem(
                f"{len(reasons)} of {n_train} training rows lose their place",
                where="step split",
                found=f"{orphans} generated rows whose parents are not among the rows ({_listed(lost)})",
                wanted="the rows that they were made from: nobody can tell else on which side those stand",
                do="was a source renamed under `ingest.sources`? A row's id follows its source's name: give it its old "
                "name again; or delete the generated rows from data/raw and generate them anew",
            )
        )
    raise DataError(
        Problem(
            f"{len(reasons)} of {n_train} training rows hold what dev or test asks for",
            where="step split",
            found=", ".join(f"{reason}: {n}" for reason, n in counted(reasons).items()),
            wanted=f"at most {settings.max_leaked_share:.0%} (`split.max_leaked_share`)",
            do="name the column whose equal values belong together (`split.group`); where one word makes another "
            "question set `split.copies: exact`; or raise the limit: the copies are taken out of training",
        )
    )
