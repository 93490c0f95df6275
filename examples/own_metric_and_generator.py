"""A metric and a generator of your own, around a workspace with a label task.

    python examples/own_metric_and_generator.py FOLDER TASK LABEL

Scores each rung of the last climb by what its mistakes cost (a metric that only you know), and asks a generator of your
own for more training rows of a label. The rows land in FOLDER/data/raw; the last line says how params.yaml names them.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from rungwise import Workspace
from rungwise.core.folders import read_lines
from rungwise.core.records import Prediction, prediction_from_json
from rungwise.generate.queries import Query, Reply

MISSED_COST, FALSE_ALARM_COST = 10.0, 1.0
"""What it costs to miss a row of the label, and to take another row for one."""


def cost(prediction: Prediction, label: str) -> float:
    """Returns what one answer costs; a row without an answer counts as a missed one."""
    if prediction.expected == label:
        return 0.0 if prediction.answer == label else MISSED_COST
    return FALSE_ALARM_COST if prediction.answer == label else 0.0


def costs(workspace: Workspace, task: str, label: str) -> Mapping[str, float]:
    """Returns rung -> the mean cost per validation row of the last climb."""
    means = {}
    for path in sorted((workspace.root / "data" / "climb" / task / "predictions").glob("*.jsonl")):
        predictions = [prediction_from_json(line) for line in read_lines(path)]
        means[path.stem] = sum(cost(one, label) for one in predictions) / len(predictions)
    return means


class Reworder:
    """A generator: a callable with a name and a number of concurrent queries. A real one would ask a model."""

    name = "the rewording example"
    concurrency = 1
    openings = ("Hello, ", "Good morning. ", "Please help: ", "A question about this: ")

    def __call__(self, query: Query) -> Reply:
        """Returns texts for one query, made from the training rows that it shows."""
        texts = [f"{opening}{next(iter(row.fields.values()))}" for row in query.examples for opening in self.openings]
        return Reply(tuple(texts[: query.n_texts]))


def main(folder: str, task: str, label: str) -> int:
    """Runs the example; returns its exit code."""
    workspace = Workspace(Path(folder))
    for rung, mean in costs(workspace, task, label).items():
        print(f"{rung}: {mean:.3f} per row")
    made = workspace.generate(task, {label: 5}, generator=Reworder())
    print(f"{made['rows']} rows for {label} in {made['file']}; name them in params.yaml under ingest.sources:")
    print(made["source"])
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
