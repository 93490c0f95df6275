"""From public files to a champion: three real data sets, each described by the params.yaml beside this file.

`python -m benchmarks.real_data --source ../shared [--quick] [--only NAME] [--keep FOLDER]`. `--source` holds
`datasets/NAME/` and `models/stories260k/`. Official test sets stay test sets. `--quick` cuts the steps to a
quarter and leaves banking77 out.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results"
NAMES = ("bitext_support", "snips", "banking77")
BASE = "stories260k"


def make_workspace(root: Path, name: str, source: Path, quick: bool) -> None:
    """Makes a git and DVC workspace with the public files in data/raw and the base in bases/."""
    shutil.copytree(source / "datasets" / name, root / "data" / "raw")
    shutil.copytree(source / "models" / BASE, root / "bases" / BASE)
    shutil.copy(HERE.parents[1] / "dvc.yaml", root / "dvc.yaml")
    text = (HERE / f"{name}.yaml").read_text(encoding="utf-8")
    if quick:
        text = re.sub(r"steps: (\d+)", lambda m: f"steps: {int(m.group(1)) // 4}", text)
    (root / "params.yaml").write_text(text, encoding="utf-8")
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=root, check=True)


def command(root: Path, *arguments: str) -> str:
    """Returns what a `rungwise` command printed."""
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
    """Runs the path twice and returns a row a task: best language model beside no language model, verdict, seconds.

    The first run's seconds are None in a workspace that was kept from before, where most is found, not done.
    """
    started = time.perf_counter()
    command(root, "run")
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    command(root, "run")
    again = time.perf_counter() - started
    rows = []
    for task, found in json.loads(command(root, "status", "--json"))["tasks"].items():
        models = [e for e in found["evidence"] if e["method"] != "tfidf" and e["score"]]
        kept = max(models, key=lambda e: e["score"]["value"], default=None)
        plain = next((e["score"] for e in found["evidence"] if e["method"] == "tfidf"), None)
        cost = root / "data" / "attempts" / f"train-{kept['attempt']}" / "cost.json" if kept else None
        rows.append(
            {
                "task": task,
                "target": found["target"],
                "rung": kept and kept["rung"],
                "dev": kept and kept["score"],
                "without_language_model": plain,
                "verdict": found["comparison"]["sentence"] if found["comparison"] else "",
                "test_look": found["test_looks"][-1] if found["test_looks"] else None,
                "is_champion": found["champion"] is not None,
                "train_seconds": cost and json.loads(cost.read_text())["seconds"],
                "run_seconds": round(seconds, 1) if is_new else None,
                "run_again_seconds": round(again, 1),
                "decision": [reason["sentence"] for reason in found["decision"]["reasons"]],
            }
        )
    return rows


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=NAMES)
    parser.add_argument("--keep", type=Path, help="a folder for the workspaces; they are deleted without it")
    arguments = parser.parse_args()
    if not (arguments.source / "datasets").is_dir():
        print(f"could not measure: no folder {arguments.source / 'datasets'}")
        return 3
    chosen = [n for n in NAMES if arguments.only in (None, n) and not (arguments.quick and n == "banking77")]
    figures: dict[str, Any] = {}
    details: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for name in chosen:
            root = (arguments.keep or Path(temporary)) / name
            is_new = not root.exists()
            if is_new:
                make_workspace(root, name, arguments.source, arguments.quick)
            for row in measure(root, is_new):
                details[f"{name}/{row['task']}"] = row
                look, dev = row["test_look"], row["dev"]
                score = f"{dev['value']:.3f} ({dev['low']:.3f} to {dev['high']:.3f}, n={dev['n']})"
                seconds = f"training {row['train_seconds']} s, run {row['run_seconds']} s"
                print(
                    f"{name}/{row['task']}: {row['rung']}, dev {score}; {seconds}, again {row['run_again_seconds']} s"
                )
                print(f"  test: {look['reasons'][0]['sentence'] if look else 'not looked at'}")
                figures[f"{name}/{row['task']}"] = {
                    "value": round(dev["value"], 4),
                    "unit": "dev accuracy",
                    "goal": row["target"],
                    "peer": round(row["without_language_model"]["value"], 4),
                    "met": row["is_champion"],
                }
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    found = {"benchmark": "real_data", "machine": machine, "quick": arguments.quick, "figures": figures}
    RESULTS.mkdir(exist_ok=True)
    kind = "-quick" if arguments.quick else ""
    path = RESULTS / f"real_data{kind}{'-' + arguments.only if arguments.only else ''}.json"
    path.write_text(json.dumps({**found, "details": details}, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
