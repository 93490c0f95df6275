"""Twice as many rows: how often the stated range covers what twice as many rows brought, on real data.

`python -m benchmarks.doubling --source FOLDER [--quick] [--write]`. `--source` contains `datasets/NAME`. The rung of
words and letters is trained on a part of the rows of public sets, on half of that and on twice that. The product's own
`doubling` says from the first two, on validation rows, what twice as many would bring; the official test rows show what
they brought. Next to it is the interval of the last doubling, taken as it is.
"""

import contextlib
import io
import math
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from benchmarks.real_data.__main__ import make_workspace
from benchmarks.report import Figure, at_least, at_most, machine, parser, publish
from rungwise.climbing.curve import part
from rungwise.climbing.decide import Outcome
from rungwise.climbing.rungs import TaskClimb, evaluate_rung, task_climb, train_rung
from rungwise.core.decisions import Curve, CurvePoint
from rungwise.core.folders import open_sealed
from rungwise.core.records import digest
from rungwise.core.table import Table
from rungwise.evidence.doubling import FLAT, doubling
from rungwise.evidence.metrics import difference
from rungwise.pipeline.stages import run_stage
from rungwise.workspace.layout import Paths, settings_of

SETS: Final = ("trec", "banking77", "clinc150", "snips", "bitext_support")
RUNG: Final = "classical"
PARTS: Final = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""The rows at hand, as a share of all training rows."""
VALIDATED: Final = (300, 1000)
"""Upper bounds of the validation rows."""


def cells(name: str, source: Path, parts: tuple[float, ...]) -> list[dict[str, Any]]:
    """Returns what was said and what came, for each part of a set's rows and each number of validation rows."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / name
        root.mkdir()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            make_workspace(root, name, source)
            for verb in ("ingest", "validate", "split", "augment"):
                run_stage(root, verb)
        settings = settings_of(root)
        task = next(iter(settings.tasks))
        climb = task_climb(root, settings, task)
        test = Table.read(open_sealed(Paths(root).output("split"), "split") / task / "test.jsonl")
        made: list[dict[str, Any]] = []

        def tried(share: float, rows: Table) -> Outcome:
            some = replace(climb, train=part(climb.train, share, by_answer=True), dev=rows)
            with contextlib.redirect_stderr(io.StringIO()):
                return evaluate_rung(some, RUNG, train_rung(some, RUNG))

        for share in parts:
            came = difference(climb.metric, tried(2 * share, test).predictions, tried(share, test).predictions, 0.95)
            for n in dict.fromkeys(min(n, len(climb.dev)) for n in VALIDATED):
                order = sorted(range(len(climb.dev)), key=lambda place: digest(climb.dev.id[place]))
                dev = climb.dev.take(sorted(order[:n]))
                said = of(climb, dev, share, tried)
                assert came is not None
                made.append(
                    {
                        "set": name, "rows": said.rows, "validation rows": n, "outcome": said.outcome,
                        "said": [round(said.low, 4), round(said.high, 4)],
                        "last": [round(end, 4) for end in (said.difference.value, said.difference.low,
                                                           said.difference.high)],
                        "came": [round(end, 4) for end in (came.value, came.low, came.high)],
                        "test rows": came.n,
                    }
                )  # fmt: skip
                print(made[-1], flush=True)
        return made


def of(climb: TaskClimb, dev: Table, share: float, tried: Callable[[float, Table], Outcome]) -> Any:
    """Returns what the product says about twice a part of the rows."""
    half, whole = tried(share / 2, dev), tried(share, dev)
    last = difference(climb.metric, whole.predictions, half.predictions, climb.settings.evaluate.confidence)
    scores = [one.evidence.score for one in (half, whole)]
    sizes = [len(part(climb.train, one, by_answer=True)) for one in (share / 2, share)]
    points = tuple(CurvePoint(n, score, "") for n, score in zip(sizes, scores, strict=True) if score)
    assert last and len(points) == len(scores)
    return doubling(Curve(RUNG, points, last))


def figures_of(made: list[dict[str, Any]]) -> dict[str, Figure]:
    """Returns how often what came lies in what was said, and how often a word was right."""
    covered = sum(one["said"][0] <= one["came"][0] <= one["said"][1] for one in made) / len(made)
    usual = sum(one["last"][1] <= one["came"][0] <= one["last"][2] for one in made) / len(made)
    figures = {
        "cells": at_least(len(made), 24, "cells"),
        "the range covers what came": at_least(round(covered, 4), 0.80, "share", round(usual, 4)),
        "the range is not too wide: covers at most": at_most(round(covered, 4), 0.97, "share"),
    }
    widths = sorted(one["said"][1] - one["said"][0] for one in made)
    figures["median width of the range"] = at_most(round(widths[len(widths) // 2], 4), None, "score")
    limits = {"gains": (0.0, math.inf), "flat": (-math.inf, FLAT)}
    for outcome, (least, most) in limits.items():
        said = [one for one in made if one["outcome"] == outcome]
        if said:
            right = sum(least < one["came"][0] < most for one in said) / len(said)
            figures[f"said `{outcome}`, of all cells"] = at_least(round(len(said) / len(made), 4), None, "share")
            figures[f"said `{outcome}`, and it was so"] = at_least(round(right, 4), 0.9, "share")
    return figures


def table(made: list[dict[str, Any]]) -> str:
    """Returns the cells as a Markdown table, in points."""
    head = ("rows", "training rows", "validation rows", "the last doubling brought", "said of the next", "it brought")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for one in made:
        last, low, high = (100 * end for end in one["last"])
        said = {
            "gains": f"between {100 * one['said'][0]:.1f} and {100 * one['said'][1]:.1f}",
            "flat": f"at most {100 * max(0.0, one['said'][1]):.1f}",
            "unknown": "can't tell",
        }[one["outcome"]]
        cells = (f"{last:+.1f} ({low:+.1f} to {high:+.1f})", said, f"{100 * one['came'][0]:+.1f}")
        lines.append(f"| {one['set']} | {one['rows']:,} | {one['validation rows']:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Runs the benchmark."""
    arguments = parser(__doc__, quick="snips, one part of the rows", needs_source="datasets/NAME")
    options = arguments.parse_args()
    made: list[dict[str, Any]] = []
    for name in ("snips",) if options.quick else SETS:
        made += cells(name, options.source, (1 / 16,) if options.quick else PARTS)
    print(table(made))
    publish("doubling", figures_of(made), {"cells": made}, options, machine=machine())


if __name__ == "__main__":
    main()
