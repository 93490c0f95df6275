"""Checks the rows against the expectations that follow from the task, before anything is trained.

Reads examples; returns the remaining rows, counted rejections and every check. Expectations about single rows reject
the rows that fail them; expectations about the table stop the run. The report has names of expectations and ids of
rows, and no text of a row unless `validate.save_values` is set.
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
from rungwise.core.texts import number_of
from rungwise.dataset.expectations import Check, run_suite
from rungwise.dataset.rejections import check_share, in_words
from rungwise.dataset.suspects import Suspect, suspects


@dataclass(frozen=True)
class Validated:
    """The remaining rows, the rejected rows, and every check that was made."""

    examples: Table
    rejections: tuple[Rejection, ...]
    checks: tuple[Check, ...]
    outcome: dict[str, Any]
    """The suite's result in Great Expectations' own format, for its pages; with text of rows only if set."""
    suspects: tuple[Suspect, ...]
    """Rows whose labels may be wrong."""


def validate(settings: ValidateSettings, task: TaskSettings, examples: Sequence[Example]) -> Validated:
    """Returns the rows that meet the task's expectations, in their order.

    Raises:
        DataError: there are too few rows, fewer than two labels, too many rejections, a rare label and `rare_labels` is
            `stop`, or an expectation of severity `stop` is not met.
        SettingsError: Great Expectations does not have such an expectation, or not with these arguments.
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
            _rejection(kept, i, "rare_label", f"its label has {number_of(rare[answer], 'row')}")
            for i, answer in enumerate(kept.answer)
            if answer in rare
        ]
        kept = kept.take(i for i, answer in enumerate(kept.answer) if answer not in rare)
    _check_table(settings, checks, kept, rejections)
    check_share("validate", rejections, len(table), settings.max_rejected_share)
    are_suspects_wanted = task.answer.format == "label" and len(kept) <= settings.suspects_up_to
    return Validated(kept, tuple(rejections), checks, outcome, suspects(kept) if are_suspects_wanted else ())


def _rejection(table: Table, row: int, reason: str, detail: str) -> Rejection:
    return Rejection("validate", table.source[row], table.line[row], reason, detail, table.id[row])


def _rare_labels(settings: ValidateSettings, examples: Table) -> dict[str, int]:
    """Returns label -> rows for labels with too few rows; raises DataError if `rare_labels` is `stop`."""
    counts = Counter(examples.answer)
    rare = {label: n for label, n in sorted(counts.items()) if n < settings.min_rows_per_label}
    if rare and settings.rare_labels == "stop":
        lines = {e.answer: f"{e.source} line {e.line}" for e in reversed(examples) if e.answer in rare}
        raise DataError(
            Problem(
                f"{number_of(len(rare), 'label', 'has', 'have')} too few rows to be learned and tested",
                where=joined([lines[label] for label in rare]),
                found=joined([number_of(n, "row") for n in rare.values()]),
                wanted=f"{number_of(settings.min_rows_per_label, 'row')} per label (`validate.min_rows_per_label`)",
                do="add rows, merge the labels, or set `validate.rare_labels: reject`",
            )
        )
    return rare


_HINTS = {
    "expect_table_row_count_to_be_between": " rows (`validate.min_rows`)",
    "expect_column_unique_value_count_to_be_between": " different answers: with only one there is nothing to learn",
    "expect_column_proportion_of_unique_values_to_be_between": " of the ids are unique",
}


def _check_table(
    settings: ValidateSettings, checks: Sequence[Check], kept: Table, rejections: Sequence[Rejection]
) -> None:
    """Raises DataError if an expectation that stops the run is not met, or too few rows or labels remain."""
    for check in checks:
        stops = check.severity == "stop" or (check.severity == "reject" and not check.failed_ids)
        if not check.success and stops:
            rows = (
                f"{number_of(len(check.failed_ids), 'row')}, such as {check.failed_ids[0]}"
                if check.failed_ids
                else check.observed
            )
            raise DataError(
                Problem(
                    "the rows don't meet an expectation",
                    where=f"step validate: {check.expectation}" + (f" on {check.column}" if check.column else ""),
                    found=rows,
                    wanted=check.wanted + _HINTS.get(check.expectation, ""),
                    do="fix the rows or collect others, or correct the setting that requires it (`validate`)",
                )
            )
    n_answers = len(set(kept.answer))
    if len(kept) < settings.min_rows or n_answers < 2:
        kinds = {_kind(rejection): rejection for rejection in reversed(rejections)}
        counts = Counter(_kind(rejection) for rejection in rejections).most_common()
        rejected = joined([f"{n} rejected: {_cause(kinds[kind])}" for kind, n in counts])
        raise DataError(
            Problem(
                "too few rows or labels are left after the rejections",
                where="step validate",
                found=f"rows: {len(kept)}, different answers: {n_answers}" + (f"; {rejected}" if counts else ""),
                wanted=f"{number_of(settings.min_rows, 'row')} (`validate.min_rows`) and 2 different answers",
                do=_remedy(kinds[counts[0][0]]) if counts else "collect more rows",
            )
        )


def _kind(rejection: Rejection) -> tuple[str, str]:
    """Returns what rejections with the same cause share: the reason and the expectation that is not met."""
    return rejection.reason, rejection.detail if rejection.reason == "failed_expectation" else ""


def _cause(rejection: Rejection) -> str:
    return "its label has too few rows" if rejection.reason == "rare_label" else in_words(rejection.detail)


def _remedy(rejection: Rejection) -> str:
    """Returns what to do about rows that are rejected like this one."""
    expectation, _, column = rejection.detail.partition(":")
    if rejection.reason == "rare_label":
        return "add rows with the rare labels, merge them, or lower `validate.min_rows_per_label`"
    if expectation == "expect_column_value_lengths_to_be_between":
        return "shorten or split these texts, or raise `validate.max_characters`"
    if expectation == "expect_column_values_to_be_between" and column.startswith("words_"):
        return "shorten or split these texts, or raise `validate.max_words`"
    return "correct these rows, or the setting that rejects them (`validate`, `answer`)"
