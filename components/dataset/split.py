"""Rows to train, dev and test: as the user gave it, otherwise by the hash of the lineage group alone.

Because nothing but the group's own hash decides, adding, removing or reordering other rows never moves a row.
A training row whose group also stands in dev or test goes, and a dev row whose group stands in test, counted: the
rows that judge keep their place, and nothing that they hold steers.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from components.config import SplitSettings
from components.errors import DataError, problem
from components.records import Example, Rejection
from components.table import Table

_SIDES = ("train", "dev", "test")


@dataclass(frozen=True)
class Split:
    """The three sides, and the rows that lost their place."""

    train: Table
    dev: Table
    test: Table
    rejections: tuple[Rejection, ...]


def position(group: str) -> float:
    """Returns the place of a lineage group in [0, 1): a function of its name alone."""
    return int.from_bytes(hashlib.sha256(b"rungwise-split:" + group.encode()).digest()[:8], "big") / 2**64


def split(settings: SplitSettings, examples: Sequence[Example]) -> Split:
    """Returns every row on one side, each side in the order of `examples`.

    A row marked `dev` or `test` stays there. Of the other rows the hash takes a dev share where the user marked
    no dev rows, and a test share where the user marked no test rows.

    Raises:
        DataError: a side is left without rows.
    """
    table = Table.of(examples)
    given = set(table.role)
    sides = [_side(settings, role, group, given) for role, group in zip(table.role, table.group, strict=True)]
    steering, judging = ({g for g, s in zip(table.group, sides, strict=True) if s == side} for side in ("dev", "test"))
    rejections: list[Rejection] = []
    kept: dict[str, list[int]] = {side: [] for side in _SIDES}
    for row, (side, group) in enumerate(zip(sides, table.group, strict=True)):
        if (side != "test" and group in judging) or (side == "train" and group in steering):
            other = "test" if group in judging else "dev"
            detail = f"in {side}, its group {group} also stands in {other}"
            rejections.append(Rejection("split", table.source[row], table.line[row], "leak", detail, table.id[row]))
        else:
            kept[side].append(row)
    for side, rows in kept.items():
        if not rows:
            raise DataError(
                problem(
                    f"the split leaves no rows for {side}",
                    where="step split",
                    found=", ".join(f"{name}: {len(kept[name])}" for name in _SIDES),
                    wanted="rows on every side",
                    do="collect more rows, or raise `split.dev` or `split.test`",
                )
            )
    train, dev, test = (table.take(kept[side]) for side in _SIDES)
    return Split(train, dev, test, tuple(rejections))


def _side(settings: SplitSettings, role: str | None, group: str, given: set[str | None]) -> str:
    if role in ("dev", "test"):
        return role
    test = 0.0 if "test" in given else settings.test
    dev = 0.0 if "dev" in given else settings.dev
    place = position(group)
    if place < test:
        return "test"
    return "dev" if place < test + dev else "train"
