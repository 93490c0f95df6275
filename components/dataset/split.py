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

_SIDES = ("train", "dev", "test")


@dataclass(frozen=True)
class Split:
    """The three sides, and the rows that lost their place."""

    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    test: tuple[Example, ...]
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
    given = {e.role for e in examples}
    sides = {e.id: _side(settings, e, given) for e in examples}
    steering = {e.group for e in examples if sides[e.id] == "dev"}
    judging = {e.group for e in examples if sides[e.id] == "test"}
    rejections: list[Rejection] = []
    kept: dict[str, list[Example]] = {side: [] for side in _SIDES}
    for example in examples:
        side = sides[example.id]
        if (side != "test" and example.group in judging) or (side == "train" and example.group in steering):
            other = "test" if example.group in judging else "dev"
            detail = f"in {side}, its group {example.group} also stands in {other}"
            rejections.append(Rejection("split", example.source, example.line, "leak", detail, example.id))
        else:
            kept[side].append(example)
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
    return Split(tuple(kept["train"]), tuple(kept["dev"]), tuple(kept["test"]), tuple(rejections))


def _side(settings: SplitSettings, example: Example, given: set[str | None]) -> str:
    if example.role in ("dev", "test"):
        return example.role
    test = 0.0 if "test" in given else settings.test
    dev = 0.0 if "dev" in given else settings.dev
    place = position(example.group)
    if place < test:
        return "test"
    return "dev" if place < test + dev else "train"
