"""Predictions of an attempt, computed once and kept in the store."""

import time
from collections.abc import Sequence
from pathlib import Path

from rungwise.attempts.cost import cost_of
from rungwise.attempts.store import COST, PREDICTIONS, Attempt, open_attempt
from rungwise.core.folders import is_sealed, read_lines, write_folder, write_json, write_lines
from rungwise.core.recipes import ANSWERING
from rungwise.core.records import AttemptSpec, Example, Prediction, digest, prediction_from_json, to_lines
from rungwise.model.language_model import Progress


def evaluate_attempt(
    store: Path, attempt: Attempt, spec: AttemptSpec, rows: Sequence[Example], root: Path, progress: Progress
) -> tuple[Prediction, ...]:
    """Returns the attempt's predictions on `rows`; computes them only if the store does not have them."""
    if attempt.result["note"]:
        return tuple(Prediction(e.id, e.group, e.answer, None, unscored="not_trained", facts=e.facts) for e in rows)
    content = [[e.id, e.group, dict(e.fields), e.answer, list(e.facts)] for e in rows]
    name = digest({"attempt": attempt.digest, "rows": content, "recipe": ANSWERING})
    folder = store / f"evaluate-{name}"
    if not is_sealed(folder):
        started = time.perf_counter()
        predictions = open_attempt(attempt.folder, root, spec, store).predict(rows, progress)

        def write(part: Path) -> None:
            write_lines(part / PREDICTIONS, to_lines(predictions))
            write_json(part / COST, cost_of(spec, started))

        write_folder(folder, write)
    return tuple(prediction_from_json(line) for line in read_lines(folder / PREDICTIONS))
