"""A Great Expectations suite derived from the task stands between the rows and everything that is trained.

Expectations about a row reject the rows that fail them, counted; expectations about the table stop the run.
The report names expectations and row ids, never a customer's text.
Great Expectations: https://docs.greatexpectations.io
"""

import logging
import os
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.config import TaskSettings, ValidateSettings
from components.dataset.ingest import check_share
from components.errors import DataError, problem
from components.folders import joined
from components.prompts import slots
from components.records import Example, Rejection
from components.table import Table


@dataclass(frozen=True)
class Check:
    """The outcome of one expectation."""

    expectation: str
    """Its Great Expectations type, such as `expect_column_values_to_be_in_set`."""
    column: str
    """The column it is about; empty for the whole table."""
    success: bool
    failed_ids: tuple[str, ...]
    """Rows that fail it; empty for expectations about the table."""
    observed: str
    """What a table expectation saw; a number, never text of a row."""


@dataclass(frozen=True)
class Validated:
    """The rows that go on, those that don't, and every check that was made."""

    examples: Table
    rejections: tuple[Rejection, ...]
    checks: tuple[Check, ...]


def validate(settings: ValidateSettings, task: TaskSettings, examples: Sequence[Example]) -> Validated:
    """Returns the rows that meet the task's expectations, in their order.

    Raises:
        DataError: too few rows, fewer than two labels, too many rejections, or a rare label where that stops.
    """
    table = Table.of(examples)
    checks = _run_suite(_suite(settings, task), table, slots(task.prompt))
    failed: dict[str, str] = {}
    for check in checks:
        for row_id in check.failed_ids:
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
    return Validated(kept, tuple(rejections), checks)


def _rejection(table: Table, row: int, reason: str, detail: str) -> Rejection:
    return Rejection("validate", table.source[row], table.line[row], reason, detail, table.id[row])


def _rare_labels(settings: ValidateSettings, examples: Table) -> dict[str, int]:
    counts = Counter(examples.answer)
    rare = {label: n for label, n in sorted(counts.items()) if n < settings.min_rows_per_label}
    if rare and settings.rare_labels == "stop":
        lines = {e.answer: f"{e.source} line {e.line}" for e in reversed(examples) if e.answer in rare}
        raise DataError(
            problem(
                f"{len(rare)} label(s) have too few rows to be learned and tested",
                where=joined([lines[label] for label in rare]),
                found=joined([f"{n} row(s)" for n in rare.values()]),
                wanted=f"{settings.min_rows_per_label} rows a label (`validate.min_rows_per_label`)",
                do="add rows, merge the labels, or set `validate.rare_labels: reject`",
            )
        )
    return rare


def _check_table(settings: ValidateSettings, checks: Sequence[Check], kept: Table) -> None:
    for check in checks:
        if not check.success and not check.failed_ids:
            raise DataError(
                problem(
                    "the rows don't meet an expectation about the whole table",
                    where=f"step validate: {check.expectation}" + (f" on {check.column}" if check.column else ""),
                    found=check.observed,
                    wanted=f"at least {settings.min_rows} rows (`validate.min_rows`), 2 labels, unique ids",
                    do="collect more rows",
                )
            )
    n_answers = len(set(kept.answer))
    if len(kept) < settings.min_rows or n_answers < 2:
        raise DataError(
            problem(
                "too little is left after the rejections",
                where="step validate",
                found=f"{len(kept)} rows with {n_answers} label(s)",
                wanted=f"{settings.min_rows} rows (`validate.min_rows`) and 2 labels",
                do="collect more rows, or look at the rejections",
            )
        )


def _suite(settings: ValidateSettings, task: TaskSettings) -> list[tuple[str, Mapping[str, Any]]]:
    fields = slots(task.prompt)
    columns = ["id", *(f"field_{name}" for name in fields), "answer"]
    suite: list[tuple[str, Mapping[str, Any]]] = [
        ("ExpectTableRowCountToBeBetween", {"min_value": settings.min_rows}),
        ("ExpectTableColumnsToMatchSet", {"column_set": columns, "exact_match": True}),
        ("ExpectColumnUniqueValueCountToBeBetween", {"column": "answer", "min_value": 2}),
        ("ExpectColumnProportionOfUniqueValuesToBeBetween", {"column": "id", "min_value": 1.0}),
    ]
    for column in columns[1:]:
        suite.append(("ExpectColumnValuesToNotBeNull", {"column": column}))
        lengths = {"column": column, "min_value": 1, "max_value": settings.max_characters}
        suite.append(("ExpectColumnValueLengthsToBeBetween", lengths))
    if task.answer.labels:
        labels = {"column": "answer", "value_set": list(task.answer.labels)}
        suite.append(("ExpectColumnValuesToBeInSet", labels))
    return suite


def _run_suite(
    suite: Sequence[tuple[str, Mapping[str, Any]]], examples: Table, fields: Sequence[str]
) -> tuple[Check, ...]:
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside Great Expectations' own dependencies
        logging.getLogger("great_expectations").setLevel(logging.ERROR)
        import great_expectations as gx
        import pandas as pd
        from great_expectations.data_context.types.base import ProgressBarsConfig

        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        table = pd.DataFrame(
            {
                "id": examples.id,
                **{f"field_{name}": examples.fields[name] for name in fields},
                "answer": examples.answer,
            }
        )
        asset = context.data_sources.add_pandas("rows").add_dataframe_asset("rows")
        batch = asset.add_batch_definition_whole_dataframe("rows").get_batch(batch_parameters={"dataframe": table})
        expectations = [getattr(gx.expectations, name)(**arguments) for name, arguments in suite]
        result = batch.validate(
            gx.ExpectationSuite(name="task", expectations=expectations),
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["id"]},
        )
    return tuple(_check(r.to_json_dict()) for r in result.results)


def _check(result: Mapping[str, Any]) -> Check:
    config, outcome = result["expectation_config"], result.get("result") or {}
    broken = result.get("exception_info") or {}
    column = str(config["kwargs"].get("column", "")).removeprefix("field_")
    if broken.get("raised_exception"):
        raise DataError(
            problem(
                "an expectation could not be checked",
                where=f"step validate: {config['type']} on {column or 'the table'}",
                found=str(broken.get("exception_message", ""))[:200],
            )
        )
    ids = tuple(sorted({str(row["id"]) for row in outcome.get("unexpected_index_list") or []}))
    observed = outcome.get("observed_value")
    seen = str(observed) if isinstance(observed, (int, float)) else ""
    return Check(str(config["type"]), column, bool(result["success"]), ids, seen)
