"""Answers without people: how often the promised share of right answers is missed, and how many rows are answered.

`python -m benchmarks.abstain [--source FOLDER] [--quick] [--repeats N] [--write]`. The first part needs no data. Models
of known truth answer simulated rows, each with a probability that only roughly says how likely it is right; in some
worlds 3 % of the labels are wrong, rows come in groups of 4, or the best of four models was chosen on the same rows.
The product's own `threshold` promises that at least a share of the answers at or above it is right, with a confidence
of 90 %. Next to it are the threshold that just keeps the goal on the same rows, and Learn then Test with its first
start alone. With `--source`, which contains `datasets/NAME`, the rungs without a language model answer the official
test rows of public sets.
"""

import contextlib
import io
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.special import ndtr

from benchmarks.real_data.__main__ import OUT_OF_SCOPE, make_workspace
from benchmarks.report import Figure, at_least, at_most, machine, parser, publish
from benchmarks.worlds import COMMON, named
from rungwise.climbing.rungs import evaluate_rung, form_of, task_climb, train_rung
from rungwise.core.folders import open_sealed
from rungwise.core.records import Prediction
from rungwise.core.table import Table
from rungwise.evidence.abstain import Chances, Sure, candidates, on_test, surest_first, threshold
from rungwise.evidence.metrics import Metric
from rungwise.pipeline.stages import run_stage
from rungwise.workspace.layout import Paths, settings_of

CONFIDENCE: Final = 0.9
GOALS: Final = (0.90, 0.95)
SETS: Final = ("trec", "banking77", "clinc150")
RUNGS: Final = ("classical", "embed")
TRUTH_ROWS: Final = 400_000


@dataclass(frozen=True)
class Cell:
    """A kind of simulated rows."""

    n: int
    """Validation rows."""
    size: int = 1
    """Rows of a group."""
    noise: float = 0.0
    """The share of wrong labels."""
    models: int = 1
    """Models among which the best on these rows was chosen."""

    @property
    def name(self) -> str:
        """The name of the cell."""
        noise = f", {self.noise:.0%} wrong labels" if self.noise else ""
        return f"{named(self.n, self.size)}{noise}" + (f", best of {self.models}" if self.models > 1 else "")


CELLS: Final = (
    Cell(100), Cell(304), Cell(1000), Cell(304, size=4), Cell(1000, size=4), Cell(304, noise=0.03),
    Cell(1000, noise=0.03), Cell(304, models=4),
)  # fmt: skip


def model(cell: Cell, draw: np.random.Generator, n: int) -> tuple[Any, Any, Any]:
    """Returns of each row its probability, whether the answer is right, and how likely that was; arrays of shape (n,).

    About 87 % of the answers are right where no label is wrong.
    """

    def normal() -> Any:
        own = draw.normal(size=n)
        common = np.repeat(draw.normal(size=-(-n // cell.size)), cell.size)[:n]
        return own if cell.size == 1 else math.sqrt(COMMON) * common + math.sqrt(1 - COMMON) * own

    clearness = 3.2 + 2.2 * normal()
    likely = 1 / (1 + np.exp(-clearness))
    probability = 1 / (1 + np.exp(-(1.7 * clearness + 0.7 * draw.normal(size=n))))
    right = ndtr(normal()) < likely
    kept = draw.random(n) >= cell.noise
    return probability, right & kept, likely * (1 - cell.noise)


def answered(cell: Cell, draw: np.random.Generator) -> Sure:
    """Returns the answers of a model to validation rows, the surest first."""
    made = [model(cell, draw, cell.n)[:2] for _ in range(cell.models)]
    probability, right = max(made, key=lambda one: one[1].sum())
    order = np.argsort(-probability, kind="stable")
    groups = [str(row // cell.size) for row in order]
    return Sure([float(p) for p in probability[order]], [bool(r) for r in right[order]], groups, cell.n)


def tuned(sure: Sure, goal: float) -> int:
    """Returns the most rows of which the goal's share is right: the threshold that the rows themselves suggest."""
    shares = np.cumsum(sure.right) / np.arange(1, len(sure.right) + 1)
    kept = np.flatnonzero(shares >= goal)
    return int(kept[-1]) + 1 if len(kept) else 0


def one_start(sure: Sure, goal: float) -> int:
    """Returns the rows that Learn then Test answers with one start, where all of the fewest rows have to be right."""
    level, best, p_value = 1 - CONFIDENCE, 0, Chances(sure, goal)
    for end in candidates(sure, math.ceil(math.log(level) / math.log(goal))):
        if p_value(end) > level:
            break
        best = end
    return best


def ours(sure: Sure, goal: float) -> int:
    """Returns the rows that the product answers."""
    return threshold(sure, goal, CONFIDENCE).answered


RULES: Final[dict[str, Callable[[Sure, float], int]]] = {"rungwise": ours, "one start": one_start, "tuned": tuned}


def shares(cell: Cell, goal: float, repeats: int) -> dict[str, dict[str, float]]:
    """Returns rule -> how often its promise is broken, how often it finds no threshold, and the share it answers."""
    probability, _, likely = model(cell, np.random.default_rng(99), TRUTH_ROWS)
    order = np.argsort(-probability)
    falling, means = -probability[order], np.cumsum(likely[order]) / np.arange(1, TRUTH_ROWS + 1)
    draw = np.random.default_rng(cell.n + cell.size)
    counts = {name: {"broken": 0.0, "none": 0.0, "answered": 0.0} for name in RULES}
    for _ in range(repeats):
        sure = answered(cell, draw)
        for name, rule in RULES.items():
            n = rule(sure, goal)
            if not n:
                counts[name]["none"] += 1 / repeats
                continue
            above = int(np.searchsorted(falling, -sure.probabilities[n - 1], side="right"))
            counts[name]["broken"] += (above > 0 and means[above - 1] < goal) / repeats
            counts[name]["answered"] += above / TRUTH_ROWS / repeats
    return {name: {key: round(float(value), 4) for key, value in one.items()} for name, one in counts.items()}


def real(source: Path, figures: dict[str, Figure]) -> dict[str, Any]:
    """Returns what the rungs without a language model answer on official test rows."""
    detail: dict[str, Any] = {}
    for name in SETS:
        with tempfile.TemporaryDirectory() as temporary:
            root = Path(temporary) / name
            root.mkdir()
            with contextlib.redirect_stdout(io.StringIO()):
                make_workspace(root, name, source)
                for verb in ("ingest", "validate", "split", "augment"):
                    run_stage(root, verb)
            settings = settings_of(root)
            (task,) = settings.tasks
            climb = task_climb(root, settings, task)
            test = Table.read(open_sealed(Paths(root).output("split"), "split") / task / "test.jsonl")
            for rung in RUNGS:
                attempt = train_rung(climb, rung)
                dev, rows = (evaluate_rung(one, rung, attempt).predictions for one in (climb, replace(climb, dev=test)))
                for goal in GOALS:
                    where = f"{name}, {rung}, {goal:.0%} right"
                    one = on_official_rows(Metric("accuracy", form_of(settings.tasks[task], ())), dev, rows, goal)
                    detail[where] = one
                    figures[f"{where}: answered"] = at_least(one["answered"], None, "share")
                    if one["right"]:
                        figures[f"{where}: right"] = at_least(one["right"][0], goal, "share", one["all right"])
                    print(f"{where}: {one}", flush=True)
    return detail


def on_official_rows(
    metric: Metric, dev: Sequence[Prediction], rows: Sequence[Prediction], goal: float
) -> dict[str, Any]:
    """Returns the threshold that validation rows show, and what becomes of test rows with it."""
    kept = threshold(surest_first(metric, dev), goal, CONFIDENCE)
    shown = on_test(kept, metric, rows)
    score = shown.score if shown else None
    out = [p for p in rows if p.expected == OUT_OF_SCOPE]
    used = [p for p in out if kept.at is not None and p.probability >= kept.at and p.answer != OUT_OF_SCOPE]
    return {
        "threshold": kept.at,
        "answered on validation rows": round(kept.answered / kept.rows, 4),
        "answered": round(score.n / len(rows), 4) if score else 0.0,
        "right": [round(end, 4) for end in (score.value, score.low, score.high)] if score else None,
        "validation rows": kept.rows,
        "test rows": len(rows),
        "all right": round(sum(p.expected == p.answer for p in rows) / len(rows), 4),
        "out of scope and answered as an intent": round(len(used) / len(out), 4) if out else None,
    }


def table(detail: dict[str, Any]) -> str:
    """Returns the simulation as a Markdown table: promises broken, and rows answered."""
    head = ["validation rows", "goal", *(f"{rule}: broken, answered" for rule in RULES)]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for cell in CELLS:
        for goal in GOALS:
            one = detail[f"{cell.name}, {goal:.0%} right"]
            cells = [f"{one[rule]['broken']:.1%}, {one[rule]['answered']:.0%}" for rule in RULES]
            lines.append(f"| {cell.name} | {goal:.0%} | {' | '.join(cells)} |")
    return "\n".join(lines)


def real_table(detail: dict[str, Any]) -> str:
    """Returns what became of official test rows as a Markdown table."""
    head = ["rows", "rung", "goal", "answered", "right", "right of all rows", "test rows agree"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name in SETS:
        for rung in RUNGS:
            for goal in GOALS:
                one = detail[f"{name}, {rung}, {goal:.0%} right"]
                value, low, high = one["right"]
                cells = (f"{one['answered']:.1%}", f"{value:.3f} ({low:.3f} to {high:.3f})", f"{one['all right']:.3f}")
                agrees = "yes" if high >= goal else "**no**: not used"
                lines.append(f"| {name} | {rung} | {goal:.0%} | {' | '.join(cells)} | {agrees} |")
    return "\n".join(lines)


def main() -> None:
    """Runs the benchmark."""
    arguments = parser(__doc__, quick="20 repetitions of 304 rows")
    arguments.add_argument("--source", type=Path, metavar="FOLDER", help="contains datasets/NAME; for the second part")
    arguments.add_argument("--repeats", type=int, default=2000, metavar="N", help="repetitions of each cell")
    options = arguments.parse_args()
    repeats = 20 if options.quick else options.repeats
    figures: dict[str, Figure] = {}
    detail: dict[str, Any] = {"repeats": repeats}
    for cell in CELLS[1:2] if options.quick else CELLS:
        for goal in GOALS:
            where = f"{cell.name}, {goal:.0%} right"
            one = shares(cell, goal, repeats)
            detail[where] = one
            figures[f"{where}: promise broken"] = at_most(
                one["rungwise"]["broken"], 1 - CONFIDENCE, "share", one["tuned"]["broken"]
            )
            figures[f"{where}: answered"] = at_least(
                one["rungwise"]["answered"], None, "share", one["one start"]["answered"]
            )
            print(f"{where}: {one}", flush=True)
    if options.source and not options.quick:
        detail |= real(options.source, figures)
        print(real_table(detail))
    if not options.quick:
        print(table(detail))
    publish("abstain", figures, detail, options, machine=machine())


if __name__ == "__main__":
    main()
