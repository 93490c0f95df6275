"""Real data: three public data sets from their files to a verdict, each described by a params.yaml in this folder.

`python -m benchmarks.real_data --source FOLDER [--quick] [--only NAME] [--keep FOLDER] [--write]`. `--source` contains
`datasets/NAME` and `models/stories260k`. Official test sets stay test sets.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.report import Figure, machine, parser, publish

HERE = Path(__file__).parent
NAMES = ("bitext_support", "snips", "banking77")
BASE = "stories260k"
QUICK, QUICK_STEPS = ("snips",), 20


def make_workspace(root: Path, name: str, source: Path, quick: bool) -> None:
    """Makes a git and DVC workspace with the public files in data/raw and the base in bases/.

    `quick`: one rung that trains, for a few steps.
    """
    shutil.copytree(source / "datasets" / name, root / "data" / "raw")
    shutil.copytree(source / "models" / BASE, root / "bases" / BASE)
    shutil.copy(HERE.parents[1] / "dvc.yaml", root / "dvc.yaml")
    text = (HERE / f"{name}.yaml").read_text(encoding="utf-8")
    if quick:
        text = re.sub(r"steps: \d+", f"steps: {QUICK_STEPS}", text)
        text = re.sub(r"^  - {name: (?:prompt|rank-16),.*\n", "", text, flags=re.MULTILINE)
    (root / "params.yaml").write_text(text, encoding="utf-8")
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=root, check=True)


def command(root: Path, *arguments: str) -> str:
    """Runs a `rungwise` command; returns what it printed."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-m", "rungwise", *arguments],
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    return done.stdout.decode()


def measure(root: Path, is_new: bool) -> list[dict[str, Any]]:
    """Runs the pipeline twice; returns one row per task: the best language model, the baseline, verdict, seconds.

    The seconds of the first run are None in a workspace that was kept from an earlier run (`--keep`): most of its
    results are read, not computed.
    """
    started = time.perf_counter()
    command(root, "run")
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    command(root, "run")
    again = time.perf_counter() - started
    rows = []
    for task, state in json.loads(command(root, "status", "--json"))["tasks"].items():
        models = [e for e in state["evidence"] if e["method"] != "classical" and e["score"]]
        best = max(models, key=lambda e: e["score"]["value"], default=None)
        plain = next((e["score"] for e in state["evidence"] if e["method"] == "classical"), None)
        cost = root / "data" / "attempts" / f"train-{best['attempt']}" / "cost.json" if best else None
        rows.append(
            {
                "task": task,
                "target": state["target"],
                "rung": best and best["rung"],
                "dev": best and best["score"],
                "without_language_model": plain,
                "verdict": state["comparison"]["sentence"] if state["comparison"] else "",
                "test_look": state["test_looks"][-1] if state["test_looks"] else None,
                "is_champion": state["champion"] is not None,
                "train_seconds": cost and json.loads(cost.read_text())["seconds"],
                "run_seconds": round(seconds, 1) if is_new else None,
                "run_again_seconds": round(again, 1),
                "decision": [reason["sentence"] for reason in state["decision"]["reasons"]],
            }
        )
    return rows


def figures(rows: dict[str, Any]) -> dict[str, Figure]:
    """Returns each task's best language model: its development accuracy, and whether its interval is above the bar."""
    return {
        name: Figure(
            round(row["dev"]["value"], 4),
            goal=row["target"],
            met=row["dev"]["low"] >= row["target"],
            unit="dev accuracy",
            peer=round(row["without_language_model"]["value"], 4),
        )
        for name, row in rows.items()
    }


def main() -> int:
    """Runs the benchmark; returns 3 where the data is not there."""
    arguments = parser(__doc__, quick="snips, one rung, 20 steps", needs_source="datasets/ and models/stories260k")
    arguments.add_argument("--only", choices=NAMES)
    arguments.add_argument("--keep", type=Path, metavar="FOLDER", help="keeps the workspaces there; default: deleted")
    options = arguments.parse_args()
    if not (options.source / "datasets").is_dir():
        print(f"no folder {options.source / 'datasets'}: nothing was measured", file=sys.stderr)
        return 3
    chosen = (options.only,) if options.only else QUICK if options.quick else NAMES
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for name in chosen:
            root = (options.keep or Path(temporary)) / name
            is_new = not root.exists()
            if is_new:
                make_workspace(root, name, options.source, options.quick)
            for row in measure(root, is_new):
                rows[f"{name}/{row['task']}"] = row
                look, dev = row["test_look"], row["dev"]
                score = f"{dev['value']:.3f} ({dev['low']:.3f} to {dev['high']:.3f}, n={dev['n']})"
                seconds = f"training {row['train_seconds']} s, run {row['run_seconds']} s"
                print(
                    f"{name}/{row['task']}: {row['rung']}, dev {score}; {seconds}, again {row['run_again_seconds']} s"
                )
                print(f"  test: {look['reasons'][0]['sentence'] if look else 'not scored'}", flush=True)
    publish("real_data", figures(rows), {"details": rows}, options, machine=machine(), suffix=options.only or "")
    return 0


if __name__ == "__main__":
    sys.exit(main())
