"""What the promotion gate is asked: the test rows of the next look, and the settings that decide about them."""

from pathlib import Path
from typing import Any, Final

from rungwise.config import Settings
from rungwise.core.folders import open_sealed
from rungwise.core.records import digest, to_json
from rungwise.core.table import Table
from rungwise.evidence.ceiling import Unseen, unseen_of
from rungwise.release.ledger import cohort
from rungwise.release.spending import Cohort
from rungwise.workspace.layout import Paths

_LIMITED: Final = ("accuracy", "set_f1", "fields")
"""Metrics whose highest score follows from the labels and items that the training rows have."""


def rows_of_look(root: Path, settings: Settings, task: str) -> tuple[Cohort, Table, Unseen | None]:
    """Returns the cohort of the next look, its test rows, and what their answers have that no training row has."""
    rows = Table.read(open_sealed(Paths(root).output("split"), "split") / task / "test.jsonl")
    size = max(settings.promote.cohort_rows, settings.promote.min_scored)
    of = cohort(Paths(root).ledger, task, rows.id, 1 - settings.evaluate.confidence, size)
    if len(of.rows) < len(rows):
        rows = rows.take(i for i, row in enumerate(rows.id) if row in of.rows)
    if settings.tasks[task].measure not in _LIMITED:
        return of, rows, None
    train = Table.read(open_sealed(Paths(root).output("augment"), "augment") / task / "train.jsonl")
    return of, rows, unseen_of(settings.tasks[task].answer, train.answer, rows.answer)


def gate_settings(settings: Settings, task: str) -> list[Any]:
    """Returns all settings of the question that the gate is asked, as the ledger records them."""
    gate = settings.promote
    measure, confidence = settings.tasks[task].measure, settings.evaluate.confidence
    return [measure, settings.bars[task], confidence, gate.min_scored, gate.max_unscored_share, gate.margin]


def digest_of(rows: Table) -> str:
    """Returns the digest of test rows, as the ledger records it."""
    return digest([to_json(row) for row in rows])
