"""A Great Expectations suite derived from the task stands between the rows and everything that is trained.

Expectations about a row reject the rows that fail them, counted; expectations about the table stop the run.
The report names expectations and row ids, never a customer's text unless a setting asks for it.
Great Expectations: https://docs.greatexpectations.io
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rungwise.config import TaskSettings, ValidateSettings
from rungwise.core.errors import DataError, Problem
from rungwise.core.folders import joined
from rungwise.core.records import Example, Rejection
from rungwise.core.table import Table
from rungwise.dataset.expectations import Check, run_suite
from rungwise.dataset.rejections import check_share
from rungwise.dataset.suspects import Suspect, suspects


@dataclass(frozen=True)
class Validated:
    """The rows that go on, those that don't, and every check that was made."""

    examples: Table
    rejections: tuple[Rejection, ...]
    checks: tuple[Check, ...]
    outcome: dict[str, Any]
    """The suite's result as Great Expectations gives it, without rows' text: what its own pages are made of."""
    suspects: tuple[Suspect, ...]
    """Rows whose labels may be wrong."""


def validate(settings: ValidateSettings, task: TaskSettings, examples: Sequence[Example]) -> Validated:
    """Returns the rows that meet the task's expectations, in their order.

    Raises:
        DataError: too few rows, fewer than two labels, too many rejections, a rare label where that stops, or an
            expectation of severity `stop` that is not met.
        SettingsError: Great Expectations knows no such expectation, or not with these arguments.
    """
    table = Table.of(examples)
    checks, outcome = run_suite(settings, task, table)
    failed: dict[str, str] = {}
    for check in checks:
        for row_id in check.failed_ids if check.severity == "reject" else ():
            failed.setdefault(row_id, f"{check.expectation}:{check.column}")
    rejections = [
        _rejection(table, i, "failed_expectation", failed[id_]) for i, id_ in enumerate(table.id) if id_ in failed
    ]
    kept = table.take(i for i, id_ in enumerate(table.id) if id_ not in failed) if failed else table
    rare = _rare_labels(settings, kept) if task.answer.format == "label" else {}
    if rare:
        rejections += [
            _rejection(kept, i, "rare_label", f"its label has {rare[answer]} row(s)")
            for i, answer in enumerate(kept.answer)
            if answer in rare
        ]
        kept = kept.take(i for i, answer in enumerate(kept.answer) if answer not in rare)
    _check_table(settings, checks, kept)
    check_share("validate", rejections, len(table), settings.max_rejected_share)
    looked_at = task.answer.format == "label" and len(kept) <= settings.suspects_up_to
    return Validated(kept, tuple(rejections), checks, outcome, suspects(kept) if looked_at else ())


def _rejection(table: Table, row: int, reason: str, detail: str) -> Rejection:
    return Rejection("validate", table.source[row], table.line[row], reason, detail, table.id[row])


def _rare_labels(settings: ValidateSettings, examples: Table) -> dict[str, int]:
    counts = Counter(examples.answer)
    rare = {label: n for label, n in sorted(counts.items()) if n < settings.min_rows_per_label}
    if rare and settings.rare_labels == "stop":
        lines = {e.answer: f"{e.source} line {e.line}" for e in reversed(examples) if e.answer in rare}
        raise DataError(
            Problem(
                f"{len(rare)} label(s) have too few rows to be learned and tested",
                where=joined([lines[label] for label in rare]),
                found=joined([f"{n} row(s)" for n in rare.values()]),
                wanted=f"{settings.min_rows_per_label} rows a label (`validate.min_rows_per_label`)",
                do="add rows, merge the labels, or set `validate.rare_labels: reject`",
            )
        )
    return rare


_HINTS = {
    "expect_table_row_count_to_be_between": " rows (`validate.min_rows`)",
    "expect_column_unique_value_count_to_be_between": " different answers: with one there is nothing to learn",
    "expect_column_proportion_of_unique_values_to_be_between": " of the ids are there once",
}


def _check_table(settings: ValidateSettings, checks: Sequence[Check], kept: Table) -> None:
    for check in checks:
        stops = check.severity == "stop" or (check.severity == "reject" and not check.failed_ids)
        if not check.success and stops:
            rows = (
                f"{len(check.failed_ids)} rows, such as {check.failed_ids[0]}" if check.failed_ids else check.observed
            )
            raise DataError(
                Problem(
                    "the rows don't meet an expectation",
                    where=f"step validate: {check.expectation}" + (f" on {check.column}" if check.column else ""),
                    found=rows,
                    wanted=check.wanted + _HINTS.get(check.expectation, ""),
                    do="mend or collect rows, or correct the setting that asks for it (`validate`)",
                )
            )
    n_answers = len(set(kept.answer))
    if len(kept) < settings.min_rows or n_answers < 2:
        raise DataError(
            Problem(
                "too little is left after the rejections",
                where="step validate",
                found=f"{len(kept)} rows with {n_answers} label(s)",
                wanted=f"{settings.min_rows} rows (`validate.min_rows`) and 2 labels",
                do="collect more rows, or look at the rejections",
            )
        )
