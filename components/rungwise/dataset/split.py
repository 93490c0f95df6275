"""Splits rows into train, dev and test: as the user gave it, otherwise by a hash of the lineage group.

Reads examples; returns the three sides and what was removed. The side depends only on the hash of the row's group, so
adding, removing or reordering other rows never moves a row. Test rows always stay. A training row is removed, and
counted by reason, if its group, a duplicate of its text (see `similar`) or a row that it was made from is in dev or
test. A dev row is removed if its group is in test.
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
from rungwise.core.texts import number_of
from rungwise.dataset.similar import copies, without_shared_ends

_UNKNOWN_SIDE = "not among the rows"
"""The side of a parent that is not among the rows."""


@dataclass(frozen=True)
class Leak:
    """Two rows on different sides that are duplicates of each other."""

    id: str
    side: str
    other: str
    other_side: str
    kind: str
    """`exact`, `near` or `contained` (see `similar`)."""
    similarity: float


@dataclass(frozen=True)
class Split:
    """The three sides, the removed rows, and the leaks between the sides."""

    train: Table
    dev: Table
    test: Table
    rejections: tuple[Rejection, ...]
    leaks: tuple[Leak, ...]
    """Training rows that were removed because they duplicate a held-out row, each with that row."""
    dev_in_test: tuple[Leak, ...]
    """Dev rows that duplicate a test row. Both stay: neither is trained on. Their scores are not independent."""


def position(group: str) -> float:
    """Returns the position of a lineage group in [0, 1); it depends only on the group's name."""
    return int.from_bytes(hashlib.sha256(b"rungwise-split:" + group.encode()).digest()[:8], "big") / 2**64


def split(settings: SplitSettings, examples: Sequence[Example]) -> Split:
    """Returns every row on one side, each side in the order of `examples`.

    A row marked `dev` or `test` stays there. Among the other rows the hash selects a dev share if the user marked no
    dev rows, and a test share if the user marked no test rows. A synthetic row is in training or is removed.

    Raises:
        DataError: a side has no rows, or more than `max_leaked_share` of the training rows leaked.
    """
    table = Table.of(examples)
    sides = _sides(settings, table)
    n_train = sides.count("train")
    removed = _by_group(table, sides) | _by_lineage(table, sides)
    rows = {side: [i for i, s in enumerate(sides) if s == side and i not in removed] for side in SIDES}
    texts = without_shared_ends(table.joined()) if settings.leaks == "near" else table.joined()
    held_out = rows["dev"] + rows["test"]
    leaks = _leaks(settings, table, texts, sides, rows["train"], held_out)
    for leak in leaks:
        removed[leak[0]] = (f"leak_{leak[1].kind}", f"duplicate of {leak[1].other} in {leak[1].other_side}")
    _check_share(settings, table, sides, removed, n_train)
    rows["train"] = [i for i in rows["train"] if i not in removed]
    rejections = []
    for i, (reason, detail) in sorted(removed.items()):
        rejections.append(Rejection("split", table.source[i], table.line[i], reason, detail, table.id[i]))
    for side in SIDES:
        if not rows[side]:
            raise DataError(
                Problem(
                    f"the split leaves no rows for {side}",
                    where="step split",
                    found=", ".join(f"{name}: {len(rows[name])}" for name in SIDES)
                    + (f"; removed: {_listed(removed)}" if removed else ""),
                    wanted="rows on every side",
                    do="collect more rows, or raise `split.dev` or `split.test`",
                )
            )
    dev_in_test = _leaks(settings, table, texts, sides, rows["dev"], rows["test"])
    train, dev, test = (table.take(rows[side]) for side in SIDES)
    return Split(train, dev, test, tuple(rejections), tuple(x for _, x in leaks), tuple(x for _, x in dev_in_test))


def _listed(removed: dict[int, tuple[str, str]]) -> str:
    return ", ".join(f"{reason}: {n}" for reason, n in counted([reason for reason, _ in removed.values()]).items())


def rare(train: Table, held_out: Table, least: int) -> dict[str, int]:
    """Returns label -> rows in `held_out`, sorted, for the labels of `train` with fewer than `least` rows there."""
    counts = Counter(held_out.answer)
    return {label: counts[label] for label in sorted(set(train.answer)) if counts[label] < least}


def _sides(settings: SplitSettings, table: Table) -> list[str]:
    """Returns each row's side before leaks are removed."""
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
    """Returns row -> (reason, detail) for train and dev rows whose group is also on a side held out from them."""
    dev_groups, test_groups = (
        {g for g, s in zip(table.group, sides, strict=True) if s == side} for side in ("dev", "test")
    )
    removed = {}
    for row, (side, group) in enumerate(zip(sides, table.group, strict=True)):
        if (side != "test" and group in test_groups) or (side == "train" and group in dev_groups):
            other = "test" if group in test_groups else "dev"
            removed[row] = ("leak_group", f"in {side}, its group {group} is also in {other}")
    return removed


def _by_lineage(table: Table, sides: Sequence[str]) -> dict[int, tuple[str, str]]:
    """Returns row -> (reason, detail) for synthetic rows that are not in training, or whose parents are not."""
    if not any(table.parents):
        return {}
    side_of = {id_: side for id_, side, made_of in zip(table.id, sides, table.parents, strict=True) if not made_of}
    removed = {}
    for row, (side, parents) in enumerate(zip(sides, table.parents, strict=True)):
        if not parents:
            continue
        others = {parent: side_of.get(parent, _UNKNOWN_SIDE) for parent in parents}
        not_in_training = [f"{parent}: {other}" for parent, other in others.items() if other != "train"]
        if side != "train":
            removed[row] = ("synthetic_held_out", f"in {side}, and synthetic rows are used for training only")
        elif not_in_training:
            removed[row] = ("leak_child", f"made from {joined(not_in_training)}")
    return removed


def _leaks(
    settings: SplitSettings,
    table: Table,
    texts: Sequence[str],
    sides: Sequence[str],
    rows: Sequence[int],
    others: Sequence[int],
) -> list[tuple[int, Leak]]:
    """Returns (row, leak) for those of `rows` with a duplicate among `others`."""
    pairs = copies([texts[i] for i in rows], [texts[i] for i in others])
    return [
        (i, Leak(table.id[i], sides[i], table.id[j], sides[j], pair.kind, round(pair.similarity, 3)))
        for pair in pairs
        if settings.leaks == "near" or pair.kind == "exact"
        for i, j in [(rows[pair.left], others[pair.right])]
    ]


def _check_share(
    settings: SplitSettings, table: Table, sides: Sequence[str], removed: dict[int, tuple[str, str]], n_train: int
) -> None:
    """Raises DataError if more than `max_leaked_share` of the training rows are to be removed."""
    reasons = [reason for i, (reason, _) in removed.items() if sides[i] == "train"]
    if len(reasons) <= settings.max_leaked_share * n_train:
        return
    known = {id_ for id_, parents in zip(table.id, table.parents, strict=True) if not parents}
    orphans = sum(
        reason == "leak_child" and not known.issuperset(table.parents[i]) for i, (reason, _) in removed.items()
    )
    if orphans and len(reasons) - orphans <= settings.max_leaked_share * n_train:
        raise DataError(
            Problem(
                f"{len(reasons)} of {n_train} training rows would be removed",
                where="step split",
                found=(
                    f"{number_of(orphans, 'generated row')} whose parents are not among the rows ({_listed(removed)})"
                ),
                wanted="the rows that they were made from: generated rows are trained on only if their parents are",
                do="if a source was renamed under `ingest.sources`, restore its name, because row ids depend on it; "
                "otherwise delete the generated rows from data/raw and generate them again",
            )
        )
    raise DataError(
        Problem(
            f"{len(reasons)} of {n_train} training rows leak dev or test rows",
            where="step split",
            found=", ".join(f"{reason}: {n}" for reason, n in counted(reasons).items()),
            wanted=f"at most {settings.max_leaked_share:.0%} (`split.max_leaked_share`)",
            do="set `split.group` to the column whose equal values belong together; set `split.leaks: exact` if one "
            "word changes the meaning; or raise the limit: the duplicates are removed from training",
        )
    )
