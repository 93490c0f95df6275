"""The promotion gate on simulated models whose true scores are known: how often it is wrong, and what it can show.

`python -m benchmarks.gates [--quick] [--repeats N] [--write]`. Needs no data. Two models answer the same rows, right or
wrong. A row is answered rightly where its difficulty and the model's own luck together are small; difficulty counts
four times as much, so that two models of 0.90 differ on about 9 % of the rows. In groups of 8 rows, 0.6 of both is
common to the group. The bar of 0.5 is far away. Each judgement is the product's own `judge`, on figures from the
product's own functions. Two rules are shown next to it: promote what does not score lower (`not lower`), and take "no
clear difference" for "as good" where the base is smaller (`no clear difference`).

Then nights: twenty challengers as good as the champion, one a night, on the same validation and test rows, and after
them a better one. The product screens each on the validation rows and spends the level of its looks. Next to it is one
look a night at 2.5 %, without either.

Then labels: how often 100 labels of rows on which two models differ show that one is better (`rungwise compare` writes
such rows), and as many labels of rows drawn at random.

Then climbs: ladders of rungs whose truths lie at stated distances from a bar of 0.90, each scored on validation rows
and, where it passes, on as many test rows. Each step is the product's own `climb`, `decide` and `judge`. Next to it is
one look at 2.5 % on either side, which ends at the first refusal.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from benchmarks.climbs import CLIMBED, add_climbs, climbs_table
from benchmarks.report import Figure, at_least, at_most, machine, parser, publish
from benchmarks.worlds import ACCURACY, CONFIDENCE, Answers, World, named, predictions
from rungwise.config import PromoteSettings
from rungwise.evidence.intervals import mean_interval, paired_difference, paired_lower
from rungwise.evidence.sign_flips import better_p
from rungwise.release.gate import Measured, before_look, judge, screen
from rungwise.release.spending import level_of

ROWS: Final = (104, 304, 1000)
GROUPS: Final = (1, 8)
BAR, TRUTH = 0.5, 0.90
NIGHTS: Final = 20
NIGHTLY: Final = ((304, 0.05), (1000, 0.03))
"""Validation and test rows of the nights, and how much better the last challenger is."""
POOL, LABELS, LABEL_LEVEL = 4000, 100, 0.05
"""Rows without labels, labels of them, and the level of the test."""
STEPS: Final = 8
"""Steps to smaller bases in a row."""
LOST: Final = f"points lost in {STEPS} steps"


def gate(
    world: World, first: Answers, second: Answers, is_smaller: bool, anchor: Answers | None = None, past: int = 0
) -> bool:
    """Whether the product promotes `first` over the champion `second`; never with fewer than 20 groups.

    `past`: the looks before, each of which promoted.
    """
    groups, changes = world.groups, list(first - second)
    if before_look(PromoteSettings(), BAR, groups, None):
        return False
    best = list(first - (second if anchor is None else anchor))
    level = level_of([{"action": "promote"}] * past, 1 - CONFIDENCE)
    confidence = 1 - 2 * level
    look = Measured(
        mean_interval(list(first), groups, confidence), 0, world.n,
        paired_difference(list(first), list(second), groups, confidence),
        mean_interval(list(second), groups, confidence),
        better=better_p(changes, groups), worse=better_p([-c for c in changes], groups),
        lower=paired_lower(best, groups, 1 - level),
    )  # fmt: skip
    return judge(PromoteSettings(), BAR, "accuracy", look, is_smaller).action == "promote"


def no_clear_difference(
    world: World, first: Answers, second: Answers, is_smaller: bool, anchor: Answers | None = None, past: int = 0
) -> bool:
    """Whether a rule promotes that takes "no clear difference" for "as good" where the base is smaller."""
    change = paired_difference(list(first), list(second), world.groups, CONFIDENCE)
    assert change is not None
    return change.low > 0 or (is_smaller and change.high >= 0)


def not_lower(
    world: World, first: Answers, second: Answers, is_smaller: bool, anchor: Answers | None = None, past: int = 0
) -> bool:
    """Whether a rule promotes that compares the two scores alone."""
    return bool(first.sum() >= second.sum())


CHALLENGERS: Final = {
    "equal": (0.0, False),
    "2 points worse, smaller base": (-0.02, True),
    "equal, smaller base": (0.0, True),
    "3 points better": (0.03, False),
    "5 points better": (0.05, False),
}
"""Name -> its truth minus that of the champion, and whether its base is smaller."""
Rule = Callable[..., bool]
RULES: Final[dict[str, Rule]] = {
    "rungwise": gate, "no clear difference": no_clear_difference, "not lower": not_lower,
}  # fmt: skip


def share(rule: Rule, world: World, change: float, is_smaller: bool, repeats: int) -> float:
    """Returns how often a challenger is promoted whose truth is `change` above that of the champion."""
    promoted = 0
    for _ in range(repeats):
        rows = world.rows()
        second, first = world.answers(rows, TRUTH), world.answers(rows, TRUTH + change)
        promoted += rule(world, first, second, is_smaller)
    return promoted / repeats


def points_lost(rule: Rule, world: World, repeats: int) -> float:
    """Returns how many points of truth are lost by `STEPS` challengers, each smaller and a point worse."""
    lost = 0.0
    for _ in range(repeats):
        rows = world.rows()
        truth, champion = 0.95, world.answers(rows, 0.95)
        best, promoted = champion, 0
        for _ in range(STEPS):
            challenger = world.answers(rows, truth - 0.01)
            if rule(world, challenger, champion, True, best, promoted):
                promoted += 1
                champion, truth = challenger, truth - 0.01
                best = champion if champion.sum() > best.sum() else best
        lost += 0.95 - truth
    return 100 * lost / repeats


def nights(world: World, better: float, repeats: int) -> dict[str, list[float]]:
    """Returns how often one of `NIGHTS` equal challengers is promoted, and then one that is better by `better`.

    The first of each pair is the product's share, the second that of one look a night at 2.5 %. The better challenger
    comes where no equal one was promoted.
    """
    false, shown, asked = [0, 0], [0, 0], [0, 0]
    truths = (*[TRUTH] * NIGHTS, TRUTH + better)
    for _ in range(repeats):
        dev, test = world.rows(), world.rows()
        champion = world.answers(dev, TRUTH), world.answers(test, TRUTH)
        challengers = [(world.answers(dev, truth), world.answers(test, truth)) for truth in truths]
        for rule, promotes in enumerate((_spends, _looks_each_night)):
            promoted = promotes(world, champion, challengers)
            is_false = any(promoted[:NIGHTS])
            false[rule] += is_false
            asked[rule] += not is_false
            shown[rule] += promoted[NIGHTS] and not is_false
    return {
        "equal, promoted": [count / repeats for count in false],
        "better, promoted": [count / max(1, of) for count, of in zip(shown, asked, strict=True)],
    }


def _spends(world: World, champion: tuple[Answers, Answers], challengers: Any) -> list[bool]:
    """Returns which challengers are promoted; none after the first one."""
    looks: list[dict[str, str]] = []
    promoted: list[bool] = []
    dev_champion = predictions(world, champion[0])
    for dev, test in challengers:
        is_better = False
        if not any(promoted) and not screen(
            PromoteSettings(), BAR, ACCURACY, predictions(world, dev), dev_champion, False
        ):
            is_better = better_p(list(test - champion[1]), world.groups) <= level_of(looks, 1 - CONFIDENCE)
            looks.append({"action": "promote" if is_better else "keep"})
        promoted.append(is_better)
    return promoted


def _looks_each_night(world: World, champion: tuple[Answers, Answers], challengers: Any) -> list[bool]:
    level = (1 - CONFIDENCE) / 2
    return [better_p(list(test - champion[1]), world.groups) <= level for _, test in challengers]


def shown_by_labels(better: float, labels: int, repeats: int) -> dict[str, float]:
    """Returns how often a sign test at 5 % shows a better model, by labels of rows on which two models differ.

    `at random` is the share for as many labels of any rows. Both draw from a pool of `POOL` rows without labels.
    """
    world = World(POOL, 1, np.random.default_rng(labels))
    shown = {"where they differ": 0, "at random": 0}
    for _ in range(repeats):
        rows = world.rows()
        changes = world.answers(rows, TRUTH + better) - world.answers(rows, TRUTH)
        differing = changes[changes != 0]
        for name, pool in (("where they differ", differing), ("at random", changes)):
            drawn = world.draw.permutation(pool)[:labels]
            shown[name] += better_p(list(drawn), [str(row) for row in range(len(drawn))]) <= LABEL_LEVEL
    return {name: count / repeats for name, count in shown.items()}


def add_labels(figures: dict[str, Figure], detail: dict[str, Any], repeats: int) -> None:
    """Adds the figures of labels on rows where two models differ."""
    for better in (0.0, 0.03):
        shares = shown_by_labels(better, LABELS, repeats)
        detail[f"{LABELS} labels, {better:.0%} better"] = {**shares, "repeats": repeats}
        name = f"{better:.0%} better, shown by {LABELS} labels where the answers differ"
        ours, theirs = shares["where they differ"], shares["at random"]
        figures[name] = at_least(ours, 0.9, "share", theirs) if better else at_most(ours, 0.055, "share", theirs)
        print(f"{name}: {shares}", flush=True)


def rows_for(discordant: float, power: float = 0.8) -> int:
    """Returns the rows with which an equal model is shown to be within the margin, by simulation.

    `discordant`: the share of rows on which the two models differ, half of them each way.
    """
    draw, margin, repeats = np.random.default_rng(1), PromoteSettings().margin, 400
    level = level_of([], 1 - CONFIDENCE)
    n = 100
    while True:
        groups = [str(row) for row in range(n)]
        changes = draw.choice([-1.0, 0.0, 1.0], (repeats, n), p=[discordant / 2, 1 - discordant, discordant / 2])
        ends = [paired_lower(list(row), groups, 1 - level) for row in changes]
        if sum(end is not None and end > -margin for end in ends) / repeats >= power:
            return n
        n += 20


def table(detail: dict[str, Any]) -> str:
    """Returns the shares promoted as a Markdown table; in brackets those of the rule `no clear difference`."""
    titles = [
        "2 points worse, smaller base",
        LOST,
        "equal",
        "equal, smaller base",
        "3 points better",
        "5 points better",
    ]
    lines = [f"| test rows | {' | '.join(titles)} |", "|---" * (len(titles) + 1) + "|"]
    for n, size in cells():
        ours, theirs = (detail[f"{named(n, size)}: {rule}"] for rule in ("rungwise", "no clear difference"))
        shown = [
            f"{ours[t]:.1f} ({theirs[t]:.1f})" if t == LOST else f"{ours[t]:.1%} ({theirs[t]:.1%})" for t in titles
        ]
        lines.append(f"| {n:,}{f' in groups of {size}' if size > 1 else ''} | {' | '.join(shown)} |")
    return "\n".join(lines)


def nights_table(detail: dict[str, Any]) -> str:
    """Returns the nights as a Markdown table; in brackets one look a night."""
    lines = [f"| rows | an equal one promoted in {NIGHTS} nights | then a better one |", "|---" * 3 + "|"]
    for n, better in NIGHTLY:
        one = detail[f"{n} rows, {NIGHTS} nights"]
        equal, power = one["equal, promoted"], one["better, promoted"]
        shown = f"{better:.0%} better: {power[0]:.0%} ({power[1]:.0%})"
        lines.append(f"| {n:,} | {equal[0]:.1%} ({equal[1]:.1%}) | {shown} |")
    return "\n".join(lines)


def cells() -> Iterator[tuple[int, int]]:
    """Yields rows and the size of a group."""
    for n in ROWS:
        for size in GROUPS:
            yield n, size


def main() -> None:
    """Runs the benchmark."""
    arguments = parser(__doc__, quick="20 repetitions of 104 rows")
    arguments.add_argument("--repeats", type=int, default=2000, metavar="N", help="repetitions of each cell")
    options = arguments.parse_args()
    repeats = 20 if options.quick else options.repeats
    figures: dict[str, Figure] = {}
    detail: dict[str, Any] = {"repeats": repeats}
    for n, size in [(104, 1)] if options.quick else cells():
        where = named(n, size)
        for name, rule in RULES.items():
            made = {}
            for title, (change, is_smaller) in CHALLENGERS.items():
                world = World(n, size, np.random.default_rng(hash((n, size)) % 2**32))
                made[title] = share(rule, world, change, is_smaller, repeats)
            world = World(n, size, np.random.default_rng(hash((n, size)) % 2**32))
            made[LOST] = round(points_lost(rule, world, max(20, repeats // 10)), 2)
            detail[f"{where}: {name}"] = made
            print(f"{where}, {name}: {made}", flush=True)
        ours = detail[f"{where}: rungwise"]
        figures[f"{where}: equal, promoted"] = at_most(ours["equal"], 0.05, "share")
        figures[f"{where}: 2 points worse, smaller base, promoted"] = at_most(
            ours["2 points worse, smaller base"], 0.055, "share",
            detail[f"{where}: no clear difference"]["2 points worse, smaller base"],
        )  # fmt: skip
        figures[f"{where}: {LOST}"] = at_most(
            ours[LOST],
            1.0,
            "points",
            detail[f"{where}: no clear difference"][LOST],
        )
        figures[f"{where}: 5 points better, promoted"] = at_least(
            ours["5 points better"], None, "share", detail[f"{where}: no clear difference"]["5 points better"]
        )
    for n, better in () if options.quick else NIGHTLY:
        shares = nights(World(n, 1, np.random.default_rng(n)), better, max(20, repeats // 2))
        detail[f"{n} rows, {NIGHTS} nights"] = {**shares, "better": better}
        (ours, theirs), (power, usual) = shares["equal, promoted"], shares["better, promoted"]
        figures[f"{n} rows: an equal one promoted in {NIGHTS} nights"] = at_most(ours, 0.05, "share", theirs)
        figures[f"{n} rows: {better:.0%} better after {NIGHTS} nights, promoted"] = at_least(
            power, round(usual - 0.05, 4), "share", usual
        )
        print(f"{n} rows, {NIGHTS} nights: {shares}", flush=True)
    add_climbs(figures, detail, () if options.quick else CLIMBED, repeats)
    if not options.quick:
        add_labels(figures, detail, repeats)
    for discordant in () if options.quick else (0.03, 0.08):
        needed = rows_for(discordant)
        figures[f"rows that show an equal smaller model, {discordant:.0%} discordant"] = at_most(needed, None, "rows")
        print(f"{discordant:.0%} discordant: {needed} rows", flush=True)
    if not options.quick:
        print(table(detail), nights_table(detail), climbs_table(detail), sep="\n\n")
    publish("gates", figures, detail, options, machine=machine())


if __name__ == "__main__":
    main()
