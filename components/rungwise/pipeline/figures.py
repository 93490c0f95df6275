"""The climb's scores in the two files that DVC shows: `dvc metrics show`, `dvc metrics diff` and `dvc plots show`.

Their names are fixed, as dvc.yaml names them. They hold names of tasks and rungs, and no text of rows.
"""

import csv
import io
from collections.abc import Sequence
from typing import Final

from rungwise.core.decisions import Climb
from rungwise.core.records import Interval, Json

METRICS: Final = "metrics.json"
"""The file in data/climb with each task's bar, decision and scores."""
LADDER: Final = "ladder.csv"
"""The file in data/climb with one line for each rung that was scored."""


def metrics_of(climbs: Sequence[Climb]) -> Json:
    """Returns task -> its bar, whether a rung passes, the chosen rung, and each rung's score with its interval."""
    return {
        climb.task: {
            "bar": climb.target,
            "passes": climb.decision.passes,
            "chosen": climb.decision.rung or "",
            "rungs": {one.rung: _numbers(one.score) for one in climb.evidence if one.score},
        }
        for climb in climbs
    }


def _numbers(score: Interval) -> dict[str, Json]:
    return {"score": score.value, "low": score.low, "high": score.high, "rows": score.n}


def ladder_of(climbs: Sequence[Climb]) -> str:
    """Returns the scored rungs of all tasks as CSV, in the order in which they were tried."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(("rung", "score", "low", "high", "bar", "train_rows"))
    for climb in climbs:
        for one in climb.evidence:
            if one.score:
                score = one.score
                name = f"{climb.task}/{one.rung}"
                lines.writerow((name, score.value, score.low, score.high, climb.target, one.train_rows))
    return text.getvalue()
