"""Intervals of simulated scores whose truth is known: how often the lower end lies above it (2.5 % promised).

`python -m benchmarks.intervals [--quick] [--repeats N] [--write]`. Needs no data. Three kinds of scores: right or
wrong at 0.90 and 0.98, and fractions that are rarely low (0 on 2 % of the rows, 0.97 to 1 otherwise: field scores,
fact coverage). In groups, 0.6 of what decides a row is common to the group; groups are of equal size or of very unequal
sizes (geometric, 3.3 rows on average). The intervals are the product's own. Next to them is the plain rule: Wilson's
interval with the design effect and the scatter as the rows show them.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, Final

import numpy as np

from benchmarks.report import Figure, at_most, machine, parser, publish
from rungwise.evidence.intervals import has_few_groups, mean_interval, wilson

ROWS: Final = (32, 104, 304, 1000)
SIZES: Final = (1, 4, 8, 0)
"""Rows of a group; 0: very unequal sizes."""
KINDS: Final = {"right on 0.90": 0.90, "right on 0.98": 0.98, "rarely low": 0.98 * 0.985}
"""Kind of score -> its true mean."""
CONFIDENCE, COMMON, GOAL = 0.95, 0.6, 0.035


def groups_of(n: int, size: int, draw: np.random.Generator) -> list[str]:
    """Returns each row's group."""
    if size:
        return [str(row // size) for row in range(n)]
    groups: list[str] = []
    while len(groups) < n:
        groups += [str(len(groups))] * int(draw.geometric(0.3))
    return groups[:n]


def scores(kind: str, groups: Sequence[str], draw: np.random.Generator) -> list[float]:
    """Returns the score of each row."""
    _, place = np.unique(groups, return_inverse=True)
    common = draw.normal(size=place.max() + 1)[place]
    outcome = math.sqrt(COMMON) * common + math.sqrt(1 - COMMON) * draw.normal(size=len(groups))
    if kind != "rarely low":
        return [float(is_right) for is_right in outcome < NormalDist().inv_cdf(KINDS[kind])]
    is_low = outcome > NormalDist().inv_cdf(0.98)
    return [float(score) for score in np.where(is_low, 0.0, draw.uniform(0.97, 1, size=len(groups)))]


def plain(values: Sequence[float], groups: Sequence[str], confidence: float) -> float:
    """Returns the lower end of the plain rule."""
    n, mean = float(len(values)), math.fsum(values) / len(values)
    sums: dict[str, float] = defaultdict(float)
    for value, group in zip(values, groups, strict=True):
        sums[group] += value - mean
    variance = math.fsum((v - mean) ** 2 for v in values) / n
    if variance == 0:
        return wilson(mean, len(sums), confidence)[0]
    clustered = math.fsum(r * r for r in sums.values()) / n * len(sums) / (len(sums) - 1)
    n /= max(1.0, clustered / variance) if len(sums) < len(values) else 1.0
    return wilson(mean, n * max(1.0, mean * (1 - mean) / variance), confidence)[0]


def above(kind: str, n: int, size: int, repeats: int) -> tuple[float, float] | None:
    """Returns how often the lower end lies above the truth: ours, and by the plain rule; None if no gate judges these.

    Fewer than 20 groups are judged by no gate.
    """
    draw = np.random.default_rng((n, size, list(KINDS).index(kind)))
    misses, plainly = 0, 0
    for _ in range(repeats):
        groups = groups_of(n, size, draw)
        if has_few_groups(groups):
            return None
        values = scores(kind, groups, draw)
        score = mean_interval(values, groups, CONFIDENCE)
        assert score is not None
        misses += score.low > KINDS[kind]
        plainly += plain(values, groups, CONFIDENCE) > KINDS[kind]
    return misses / repeats, plainly / repeats


def named(size: int) -> str:
    """Returns how rows are grouped, in words."""
    return {0: "groups of unequal size", 1: "single rows"}.get(size, f"groups of {size}")


def table(detail: dict[str, Any]) -> str:
    """Returns the shares as a Markdown table; in brackets those of the plain rule."""
    lines = [f"| scores | rows in | {' | '.join(f'{n:,} rows' for n in ROWS)} |", "|---" * (len(ROWS) + 2) + "|"]
    for kind in KINDS:
        for size in SIZES:
            cells = [detail.get(f"{kind}, {n} rows, {named(size)}") for n in ROWS]
            shown = [f"{cell[0]:.1%} ({cell[1]:.1%})" if cell else "not judged" for cell in cells]
            lines.append(f"| {kind} | {named(size)} | {' | '.join(shown)} |")
    return "\n".join(lines)


def main() -> None:
    """Runs the benchmark."""
    arguments = parser(__doc__, quick="50 repetitions of 104 single rows")
    arguments.add_argument("--repeats", type=int, default=5000, metavar="N", help="repetitions of each cell")
    options = arguments.parse_args()
    repeats = 50 if options.quick else options.repeats
    figures: dict[str, Figure] = {}
    detail: dict[str, Any] = {"repeats": repeats}
    for kind in KINDS:
        for n in (104,) if options.quick else ROWS:
            for size in (1,) if options.quick else SIZES:
                name, shares = f"{kind}, {n} rows, {named(size)}", above(kind, n, size, repeats)
                detail[name] = shares
                if shares:
                    figures[name] = at_most(shares[0], GOAL, "share", shares[1])
                print(f"{name}: {shares}", flush=True)
    if not options.quick:
        print(table(detail))
    publish("intervals", figures, detail, options, machine=machine())


if __name__ == "__main__":
    main()
