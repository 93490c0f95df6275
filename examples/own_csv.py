"""Your own CSV: from a file of rows to a champion that answers.

    python examples/own_csv.py ROWS.csv TEXT_COLUMN ANSWER_COLUMN FOLDER [BASE ...]

Makes a workspace in FOLDER, runs it, and answers the first row of the file. The language model is BASE, by default
SmolLM2-135M, which is fetched when it is needed. The bar in FOLDER/params.yaml is a guess: write what your
users would call good enough, and run again.
"""

import csv
import sys
from pathlib import Path

from rungwise import RungwiseError, Workspace


def main(rows: str, text: str, answer: str, folder: str, *bases: str) -> int:
    """Runs the example; returns its exit code."""
    if (Path(folder) / "params.yaml").exists():
        workspace = Workspace(folder)
    else:
        workspace = Workspace.init(folder, rows=rows, text=text, answer=answer, bases=bases)
    try:
        results = workspace.run()
    except RungwiseError as error:
        print(f"{error.problem.what}: {error.problem.do}", file=sys.stderr)
        return 2
    for result in results:
        task = workspace.status().tasks[result.task]
        print(f"{task.name}: {result.action}")
        for name in task.ladder:
            shown = next((e.score for e in task.evidence if e.rung == name), None)
            print(f"  {name}: " + (f"{shown.value:.3f} ({shown.low:.3f} to {shown.high:.3f})" if shown else "no score"))
        if task.champion:
            with Path(rows).open(encoding="utf-8", newline="") as file:
                first = next(csv.DictReader(file))[text]
            print(f"  the champion's answer to the first row: {workspace.predict(task.name, first).answer}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
