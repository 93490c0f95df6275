"""Real data: eight public data sets from their files to a verdict, and every rung on the official test set.

`python -m benchmarks.real_data --source FOLDER [--quick] [--only NAME] [--gemma] [--keep FOLDER] [--write]`. `--source`
contains `datasets/NAME`. sets.yaml has each set's task, bar and sources, common.yaml the ladder. The verdict is that of
`rungwise run`, which stops at the first rung that passes. For the table all rungs are trained and scored on the test
rows as well: the bars were set before, and no choice depends on these scores. An untuned prompt reads its examples with
every row and is scored on a sample of large test sets.
"""

import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from benchmarks.real_data.prepare import prepare
from benchmarks.report import Figure, machine, parser, publish
from rungwise.climbing.rungs import TaskClimb, evaluate_rung, task_climb, train_rung
from rungwise.core.folders import open_sealed
from rungwise.core.records import Interval, Prediction
from rungwise.core.table import Table
from rungwise.workspace.layout import Paths, settings_of
from rungwise.workspace.resources import package_file

HERE = Path(__file__).parent
SETS: Final[Mapping[str, Any]] = YAML(typ="safe").load((HERE / "sets.yaml").read_text(encoding="utf-8"))
COMMON: Final[Mapping[str, Any]] = YAML(typ="safe").load((HERE / "common.yaml").read_text(encoding="utf-8"))
NAMES = tuple(SETS)
QUICK, QUICK_STEPS = ("snips",), 20
GEMMA: Final = {"name": "gemma3-270m", "base": "gemma3-270m", "method": "lora", "rank": 16, "alpha": 32}
WITH_GEMMA: Final = ("trec", "banking77")
MOST_PROMPTED: Final = 1_000
"""An untuned prompt is scored on at most this many test rows."""
OUT_OF_SCOPE: Final = "oos"
"""The label of clinc150's rows that none of its 150 intents covers."""


def make_workspace(
    root: Path, name: str, source: Path, *, precision: str = "fp32", quick: bool = False, gemma: bool = False
) -> None:
    """Makes a git and DVC workspace with the public rows in data/raw.

    Args:
        root: the new folder.
        name: one of NAMES.
        source: the folder that contains `datasets/`.
        precision: the bases' data type.
        quick: only the first rung, and a pocket model that trains for a few steps.
        gemma: gemma3-270m as the last rung.
    """
    prepare(name, source / "datasets" / name, root / "data" / "raw")
    one = SETS[name]
    ladder = [*COMMON["ladder"], *([GEMMA] if gemma and name in WITH_GEMMA else [])]
    train = {"precision": precision, **one["train"]}
    if quick:
        ladder = [COMMON["ladder"][0], {**COMMON["ladder"][-1], "name": "pocket-s", "base": "pocket-s"}]
        train = {"steps": QUICK_STEPS}
    values = {
        **COMMON,
        "ladder": ladder,
        "tasks": one["tasks"],
        "bars": one["bars"],
        "ingest": {"sources": one["sources"], "max_rejected_share": 0.1},
        "split": one["split"],
        "train": train,
    }
    (root / "params.yaml").write_text(json.dumps(values, indent=1), encoding="utf-8")  # JSON is YAML
    (root / "dvc.yaml").write_bytes(package_file("init", "graph.yaml").read_bytes())
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=root, check=True)


def run(root: Path) -> dict[str, Any]:
    """Runs `rungwise run`; returns its seconds at the first time, and the status of the workspace's only task."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-m", "rungwise"]
    started = time.perf_counter()
    subprocess.run([*command, "run"], cwd=root, env=environment, check=True)
    first = root / ".rungwise" / "first_run.json"
    if not first.exists():
        first.write_text(json.dumps(round(time.perf_counter() - started, 1)), encoding="utf-8")
    text = subprocess.run([*command, "status", "--json"], cwd=root, env=environment, check=True, stdout=subprocess.PIPE)
    (state,) = json.loads(text.stdout)["tasks"].values()
    return {"seconds": json.loads(first.read_text(encoding="utf-8")), "state": state}


def scored(climb: TaskClimb, test: Table, rung: str) -> dict[str, Any]:
    """Returns a rung's scores on validation and test rows, and its seconds; trains and scores what is not stored."""
    attempt = train_rung(climb, rung)
    dev = evaluate_rung(climb, rung, attempt).evidence
    started = _processor_seconds()
    outcome = evaluate_rung(replace(climb, dev=test), rung, attempt)
    on_test = outcome.evidence
    return {
        "dev": _interval(dev.score),
        "test": _interval(on_test.score),
        "unscored": dict(on_test.unscored),
        "also": {name: _interval(score) for name, score in on_test.also.items()},
        **out_of_scope(outcome.predictions),
        "note": dev.note,
        "train_seconds": attempt.cost.get("seconds"),
        "test_processor_seconds": round(_processor_seconds() - started, 1),
    }


def out_of_scope(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Returns recall and precision of the label that no intent covers, where rows have it (clinc150)."""
    are = [one.answer == OUT_OF_SCOPE for one in predictions if one.expected == OUT_OF_SCOPE]
    said = [one.expected == OUT_OF_SCOPE for one in predictions if one.answer == OUT_OF_SCOPE]
    if not are:
        return {}
    return {"out_of_scope_recall": sum(are) / len(are), "out_of_scope_precision": sum(said) / max(1, len(said))}


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _interval(score: Interval | None) -> dict[str, float] | None:
    if score is None:
        return None
    return {"value": score.value, "low": score.low, "high": score.high, "n": score.n}


def measure(root: Path) -> dict[str, Any]:
    """Returns the verdict of the workspace's task, the seconds of its first run, and each rung."""
    done = run(root)
    settings, state = settings_of(root), done["state"]
    (name,) = settings.tasks
    climb = task_climb(root, settings, name)
    test = Table.read(open_sealed(Paths(root).output("split"), "split") / name / "test.jsonl")
    sample = test.take(sorted(random.Random(0).sample(range(len(test)), min(len(test), MOST_PROMPTED))))
    sides = {rung.name: sample if rung.method == "prompt" else test for rung in settings.ladder}
    return {
        "task": name,
        "metric": settings.tasks[name].measure,
        "bar": settings.bars[name],
        "rows": {"train": len(climb.train), "dev": len(climb.dev), "test": len(test)},
        "run_seconds": done["seconds"],
        "card": card(),
        "champion": state["champion"] and state["champion"]["rung"],
        "decision": [reason["sentence"] for reason in state["decision"]["reasons"]],
        "test_look": [reason["sentence"] for look in state["test_looks"][-1:] for reason in look["reasons"]],
        "rungs": {rung: scored(climb, rows, rung) for rung, rows in sides.items()},
    }


def card() -> str:
    """Returns the name of the GPU; empty without one."""
    import torch

    return f"one {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""


def figures(rows: Mapping[str, Any]) -> dict[str, Figure]:
    """Returns each set's best test score, with the bar as its goal, and the score of the classical rung as peer."""
    made = {}
    for name, row in rows.items():
        tests = {rung: one["test"] for rung, one in row["rungs"].items() if one["test"]}
        best = max(tests, key=lambda rung: tests[rung]["value"])
        peer = tests.get("classical")
        made[f"{name}: {best}"] = Figure(
            round(tests[best]["value"], 4),
            goal=row["bar"],
            met=tests[best]["low"] >= row["bar"],
            unit=f"test {row['metric']}",
            peer=round(peer["value"], 4) if peer else None,
        )
    return made


def table(rows: Mapping[str, Any]) -> str:
    """Returns the results as a Markdown table: each set's bar, each rung's test score, the champion, the run's time."""
    rungs = list(dict.fromkeys(rung for row in rows.values() for rung in row["rungs"]))
    lines = [
        f"| data set | metric, bar | test rows | {' | '.join(rungs)} | champion | run |",
        f"|---|---|---|{'---|' * len(rungs)}---|---|",
    ]
    for name, row in rows.items():
        n = row["rows"]["test"]
        cells = [_cell(row["rungs"].get(rung), n, row["champion"] == rung) for rung in rungs]
        about = f"| {name} | {row['metric']}, {row['bar']:g} | {n:,} "
        where = f", {row['card']}" if row.get("card") else ""
        run = f"{row['run_seconds']:.0f} s{where}"
        lines.append(f"{about}| {' | '.join(cells)} | {row['champion'] or 'none'} | {run} |")
    return "\n".join(lines)


def _cell(rung: Mapping[str, Any] | None, n: int, is_champion: bool) -> str:
    """Returns a rung's score; with its number of rows if they are not all `n` test rows."""
    if rung is None:
        return ""
    score = rung["test"]
    if score is None:
        return "no score"
    asked = score["n"] + sum(rung["unscored"].values())
    sampled = f", n={asked:,}" if asked < n else ""
    text = f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f}{sampled})"
    return f"**{text}**" if is_champion else text


def main() -> int:
    """Runs the benchmark; returns 3 where the data is not there."""
    arguments = parser(__doc__, quick="snips, a pocket model, 20 steps", needs_source="datasets/")
    arguments.add_argument("--only", choices=NAMES, action="append")
    arguments.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    arguments.add_argument("--gemma", action="store_true", help="adds gemma3-270m to two sets; accept its terms first")
    arguments.add_argument("--keep", type=Path, metavar="FOLDER", help="keeps the workspaces there; default: deleted")
    options = arguments.parse_args()
    if not (options.source / "datasets").is_dir():
        print(f"no folder {options.source / 'datasets'}: nothing was measured", file=sys.stderr)
        return 3
    chosen = options.only or (QUICK if options.quick else NAMES)
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for name in chosen:
            root = (options.keep or Path(temporary)) / name
            if not root.exists():
                settings = {"precision": options.precision, "quick": options.quick, "gemma": options.gemma}
                make_workspace(root, name, options.source, **settings)
            rows[name] = measure(root)
            print(f"{table({name: rows[name]})}\nrun: {rows[name]['run_seconds']} s", flush=True)
    print(table(rows))
    suffix = re.sub(r"\W+", "-", "-".join(options.only)) if options.only else ""
    publish("real_data", figures(rows), {"details": rows}, options, machine=machine(), suffix=suffix)
    return 0


if __name__ == "__main__":
    sys.exit(main())
