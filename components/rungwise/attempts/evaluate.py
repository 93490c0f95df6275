"""Predictions of an attempt, computed once and kept in the store, with the time that one answer takes."""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from rungwise.attempts.cost import cost_of
from rungwise.attempts.store import COST, PREDICTIONS, Attempt, evaluation_name, open_attempt
from rungwise.core.folders import is_sealed, read_lines, write_folder, write_json, write_lines
from rungwise.core.records import (
    AttemptSpec,
    Example,
    Prediction,
    digest,
    prediction_from_json,
    prediction_of,
    to_lines,
)
from rungwise.model.language_model import Progress

LATENCY_ROWS: Final = 20
"""Upper bound of the rows that are answered again, one at a time, to measure the median latency."""
LATENCY_SECONDS: Final = 1.5
"""The measurement ends after this many seconds, but not before the third row."""


def evaluate_attempt(
    store: Path, attempt: Attempt, spec: AttemptSpec, rows: Sequence[Example], root: Path, progress: Progress
) -> tuple[Prediction, ...]:
    """Returns the attempt's predictions on `rows`; computes them only if the store does not have them."""
    if attempt.result["note"]:
        return tuple(prediction_of(row, None, unscored="not_trained") for row in rows)
    folder = store / evaluation_name(attempt.digest, rows)
    if not is_sealed(folder):
        started = time.perf_counter()
        model = open_attempt(attempt.folder, root, spec, store)
        predictions = model.predict(rows, progress)
        cost = cost_of(spec, started)

        def write(part: Path) -> None:
            write_lines(part / PREDICTIONS, to_lines(predictions))
            write_json(part / COST, {**cost, "latency": latency(model.predict, rows)})

        write_folder(folder, write)
    return tuple(prediction_from_json(line) for line in read_lines(folder / PREDICTIONS))


def latency(predict: Callable[[Sequence[Example]], object], rows: Sequence[Example]) -> dict[str, Any]:
    """Returns the median seconds of an answer to one row, and how many rows it was measured on.

    The rows are a sample by the hashes of their ids, answered one at a time as a server would.
    """
    seconds: list[float] = []
    for row in sorted(rows, key=lambda e: digest(e.id))[:LATENCY_ROWS]:
        if len(seconds) >= 3 and sum(seconds) >= LATENCY_SECONDS:
            break
        started = time.perf_counter()
        predict([row])
        seconds.append(time.perf_counter() - started)
    return {"median_seconds": round(statistics.median(seconds), 6) if seconds else None, "rows": len(seconds)}
