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

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np

from benchmarks.report import Figure, at_least, at_most, machine, parser, publish
from rungwise.climbing.climb import climb
from rungwise.climbing.decide import Outcome, decide
from rungwise.config import DecideSettings, PromoteSettings
from rungwise.core.gate_reasons import NoChampion
from rungwise.core.records import AnswerForm, Evidence, Prediction
from rungwise.evidence.intervals import mean_interval, paired_difference, paired_lower
from rungwise.evidence.metrics import Metric
from rungwise.evidence.sign_flips import better_p
from rungwise.release.gate import Measured, before_look, judge, screen
from rungwise.release.spending import level_of

ROWS: Final = (104, 304, 1000)
GROUPS: Final = (1, 8)
BAR, TRUTH, CONFIDENCE = 0.5, 0.90, 0.95
SHARED, COMMON = 0.8, 0.6
"""The share of difficulty in a row's outcome, and the share of a group in difficulty and luck."""
NIGHTS: Final = 20
NIGHTLY: Final = ((304, 0.05), (1000, 0.03))
"""Validation and test rows of the nights, and how much better the last challenger is."""
LADDERS: Final = {"good last": (-0.06, -0.03, 0.03, 0.04), "all at the bar": (0.0,) * 5}
"""Name -> the truth of each rung minus the bar of `CLIMB_BAR`, cheapest first."""
CLIMB_BAR: Final = 0.90
POOL, LABELS, LABEL_LEVEL = 4000, 100, 0.05
"""Rows without labels, labels of them, and the level of the test."""
CLIMBED: Final = ((304, 1), (304, 4), (1000, 1))
"""Validation and test rows of the climbs, and the rows of a group."""
ACCURACY: Final = Metric("accuracy", AnswerForm("label", ("a", "b")))
STEPS: Final = 8
"""Steps to smaller bases in a row."""
LOST: Final = f"points lost in {STEPS} steps"
Answers = Any
"""A float array of shape (rows,): 1 where the answer is right."""


@dataclass(frozen=True)
class World:
    """Rows in groups, on which models of a stated truth answer."""

    n: int
    size: int
    """Rows of a group."""
    draw: np.random.Generator

    @property
    def groups(self) -> list[str]:
        """Each row's group."""
        return [str(row // self.size) for row in range(self.n)]

    def rows(self) -> Any:
        """Returns the difficulty of each row, standard normal."""
        return self._noise()

    def answers(self, difficulty: Any, truth: float) -> Answers:
        """Returns the answers of a new model that is right with probability `truth`."""
        outcome = math.sqrt(SHARED) * difficulty + math.sqrt(1 - SHARED) * self._noise()
        return (outcome < NormalDist().inv_cdf(truth)).astype(float)

    def _noise(self) -> Any:
        own = self.draw.normal(size=self.n)
        if self.size == 1:
            return own
        common = np.repeat(self.draw.normal(size=self.n // self.size), self.size)
        return math.sqrt(COMMON) * common + math.sqrt(1 - COMMON) * own


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
    dev_champion = _predictions(world, champion[0])
    for dev, test in challengers:
        is_better = False
        if not any(promoted) and not screen(
            PromoteSettings(), BAR, ACCURACY, _predictions(world, dev), dev_champion, False
        ):
            is_better = better_p(list(test - champion[1]), world.groups) <= level_of(looks, 1 - CONFIDENCE)
            looks.append({"action": "promote" if is_better else "keep"})
        promoted.append(is_better)
    return promoted


def _looks_each_night(world: World, champion: tuple[Answers, Answers], challengers: Any) -> list[bool]:
    level = (1 - CONFIDENCE) / 2
    return [better_p(list(test - champion[1]), world.groups) <= level for _, test in challengers]


def _predictions(world: World, answers: Answers) -> list[Prediction]:
    pairs = zip(answers, world.groups, strict=True)
    return [Prediction(f"r{i}", group, "a", "a" if right else "b", 0.9) for i, (right, group) in enumerate(pairs)]


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
    predictions = tuple(_predictions(world, answers))
    score = mean_interval(list(answers), world.groups, CONFIDENCE)
    return Outcome(Evidence(name, "lora", "base", "", name, score, world.n, {}, 1, {}, 1, 1, 1), predictions)


def _climbed_once(world: World, dev: list[Answers], test: list[Answers]) -> tuple[int | None, int]:
    """Returns the same where a climb ends at the first rung whose 95 % interval on validation rows is above the bar."""
    for rung, answers in enumerate(dev):
        if _is_above(world, answers):
            return rung if _is_above(world, test[rung]) else None, rung + 1
    return None, len(dev)


def _is_above(world: World, answers: Answers) -> bool:
    score = mean_interval(list(answers), world.groups, CONFIDENCE)
    return score is not None and score.low >= CLIMB_BAR


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


def named(n: int, size: int) -> str:
    """Returns the name of a cell."""
    return f"{n} rows" + (f" in groups of {size}" if size > 1 else "")


def cells() -> Iterator[tuple[int, int]]:
    """Yields rows and the size of a group."""
    for n in ROWS:
        for size in GROUPS:
            yield n, size


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
