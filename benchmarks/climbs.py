"""Climbs on simulated rows: how often a good rung is promoted. `benchmarks.gates` runs and shows them."""

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from benchmarks.report import Figure, at_least, at_most
from benchmarks.worlds import ACCURACY, CONFIDENCE, Answers, World, named, predictions
from rungwise.climbing.climb import climb
from rungwise.climbing.decide import Outcome, decide
from rungwise.config import DecideSettings, PromoteSettings
from rungwise.core.gate_reasons import NoChampion
from rungwise.core.records import Evidence
from rungwise.evidence.intervals import mean_interval
from rungwise.release.gate import Measured, judge
from rungwise.release.spending import level_of

LADDERS: Final = {"good last": (-0.06, -0.03, 0.03, 0.04), "all at the bar": (0.0,) * 5}
"""Name -> the truth of each rung minus the bar of `CLIMB_BAR`, cheapest first."""
CLIMB_BAR: Final = 0.90
CLIMBED: Final = ((304, 1), (304, 4), (1000, 1))
"""Validation and test rows of the climbs, and the rows of a group."""


@dataclass(frozen=True)
class Share:
    """What came of many climbs, as shares of all climbs."""

    good: float
    """A rung above the bar was promoted."""
    bad: float
    """A rung at or below the bar was promoted."""
    trained: float
    """Rungs that were trained, on average."""


def climbs(n: int, size: int, ladder: tuple[float, ...], repeats: int) -> tuple[Share, Share]:
    """Returns what came of climbs with the product's rules, and with one look at 2.5 % on either side.

    Args:
        n: validation rows, and test rows.
        size: rows of a group.
        ladder: the truth of each rung minus the bar.
        repeats: the number of climbs.
    """
    world = World(n, size, np.random.default_rng(n + size))
    truths = [CLIMB_BAR + gap for gap in ladder]
    ended: dict[str, list[tuple[int | None, int]]] = {"ours": [], "theirs": []}
    for _ in range(repeats):
        on_dev, on_test = world.rows(), world.rows()
        dev = [world.answers(on_dev, truth) for truth in truths]
        test = [world.answers(on_test, truth) for truth in truths]
        ended["ours"].append(_climbed(world, dev, test))
        ended["theirs"].append(_climbed_once(world, dev, test))
    shares = []
    for ends in ended.values():
        promoted = [ladder[rung] for rung, _ in ends if rung is not None]
        good, bad = sum(gap > 0 for gap in promoted), sum(gap <= 0 for gap in promoted)
        shares.append(Share(good / repeats, bad / repeats, sum(tried for _, tried in ends) / repeats))
    return shares[0], shares[1]


def _climbed(world: World, dev: list[Answers], test: list[Answers]) -> tuple[int | None, int]:
    """Returns the rung that is promoted, or None, and how many rungs were trained."""
    names = [str(rung) for rung in range(len(dev))]
    refused: set[str] = set()
    looks: list[dict[str, str]] = []
    outcomes = {name: _outcome(world, name, answers) for name, answers in zip(names, dev, strict=True)}
    while True:
        policy = functools.partial(decide, DecideSettings(), CLIMB_BAR, ACCURACY, refused=frozenset(refused))
        result, _ = climb("task", "accuracy", CLIMB_BAR, names, outcomes.__getitem__, policy)
        if not result.decision.passes or result.decision.rung is None:
            return None, len(result.evidence)
        rung = result.decision.rung
        confidence = 1 - 2 * level_of(looks, 1 - CONFIDENCE)
        score = mean_interval(list(test[int(rung)]), world.groups, confidence)
        verdict = judge(
            PromoteSettings(), CLIMB_BAR, "accuracy", Measured(score, 0, world.n, why_alone=NoChampion()), False
        )
        looks.append({"action": verdict.action})
        if verdict.action == "promote":
            return int(rung), len(result.evidence)
        refused.add(rung)


def _outcome(world: World, name: str, answers: Answers) -> Outcome:
    answered = tuple(predictions(world, answers))
    score = mean_interval(list(answers), world.groups, CONFIDENCE)
    return Outcome(Evidence(name, "lora", "base", "", name, score, world.n, {}, 1, {}, 1, 1, 1), answered)


def _climbed_once(world: World, dev: list[Answers], test: list[Answers]) -> tuple[int | None, int]:
    """Returns the same where a climb ends at the first rung whose 95 % interval on validation rows is above the bar."""
    for rung, answers in enumerate(dev):
        if _is_above(world, answers):
            return rung if _is_above(world, test[rung]) else None, rung + 1
    return None, len(dev)


def _is_above(world: World, answers: Answers) -> bool:
    score = mean_interval(list(answers), world.groups, CONFIDENCE)
    return score is not None and score.low >= CLIMB_BAR


def add_climbs(
    figures: dict[str, Figure], detail: dict[str, Any], cells: Sequence[tuple[int, int]], repeats: int
) -> None:
    """Adds the figures of climbs; `cells`: validation and test rows, and the rows of a group."""
    for n, size in cells:
        ended = {name: climbs(n, size, ladder, repeats) for name, ladder in LADDERS.items()}
        made = {name: [asdict(one) for one in pair] for name, pair in ended.items()}
        detail[f"{named(n, size)}, climbs"] = {**made, "repeats": repeats}
        (good, usual), (bad, usual_bad) = ended["good last"], ended["all at the bar"]
        goal = 0.6 if size == 1 else None
        figures[f"{named(n, size)}: a good rung of the climb promoted"] = at_least(good.good, goal, "share", usual.good)
        figures[f"{named(n, size)}: one of five rungs at the bar promoted"] = at_most(
            bad.bad, 0.05, "share", usual_bad.bad
        )
        print(f"{named(n, size)}, climbs: {ended}", flush=True)


def climbs_table(detail: dict[str, Any]) -> str:
    """Returns the climbs as a Markdown table; in brackets those with one look at 2.5 % on either side."""
    lines = [
        "| rows | a good rung promoted | rungs trained | five rungs at the bar: one promoted |",
        "|---" * 4 + "|",
    ]
    for n, size in CLIMBED:
        one = detail[f"{named(n, size)}, climbs"]
        good, bad = one["good last"], one["all at the bar"]
        cells = (
            f"{good[0]['good']:.1%} ({good[1]['good']:.1%})",
            f"{good[0]['trained']:.2f} ({good[1]['trained']:.2f})",
            f"{bad[0]['bad']:.1%} ({bad[1]['bad']:.1%})",
        )
        lines.append(f"| {n:,}{f' in groups of {size}' if size > 1 else ''} | {' | '.join(cells)} |")
    return "\n".join(lines)
