"""Builds the Great Expectations suite that follows from a task, and runs it.

Reads a table, returns the outcome of each expectation. The only module that uses Great Expectations
(https://docs.greatexpectations.io).
"""

import difflib
import json
import logging
import os
import re
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from rungwise.config import TaskSettings, ValidateSettings
from rungwise.core.errors import DataError, Problem, SettingsError
from rungwise.core.folders import joined
from rungwise.core.prompts import slots
from rungwise.core.table import Table
from rungwise.core.texts import n_words


@dataclass(frozen=True)
class Check:
    """The outcome of one expectation."""

    expectation: str
    """Its Great Expectations type, such as `expect_column_values_to_be_in_set`."""
    column: str
    """The column that it checks; empty for the whole table."""
    success: bool
    severity: str
    """What a failure does: `stop`, `warn` or `reject`."""
    failed_ids: tuple[str, ...]
    """Rows that fail it; empty for expectations about the table."""
    observed: str
    """The value that a table expectation observed; a number, never text of a row."""
    wanted: str
    """The expectation's arguments as JSON."""


def _suite(settings: ValidateSettings, task: TaskSettings) -> list[tuple[str, dict[str, Any], str]]:
    """Returns (Great Expectations name, arguments, severity) of every expectation: the task's and the user's."""
    fields = slots(task.prompt)
    columns = ["id", *(f"field_{name}" for name in fields), *(f"words_{name}" for name in fields), "answer"]
    suite: list[tuple[str, dict[str, Any], str]] = [
        ("expect_table_row_count_to_be_between", {"min_value": settings.min_rows}, "stop"),
        ("expect_table_columns_to_match_set", {"column_set": columns, "exact_match": True}, "stop"),
        ("expect_column_unique_value_count_to_be_between", {"column": "answer", "min_value": 2}, "stop"),
        ("expect_column_proportion_of_unique_values_to_be_between", {"column": "id", "min_value": 1.0}, "stop"),
    ]
    for column in ("answer", *(f"field_{name}" for name in fields)):
        suite.append(("expect_column_values_to_not_be_null", {"column": column}, "reject"))
        suite.append(("expect_column_values_to_be_of_type", {"column": column, "type_": "str"}, "stop"))
        may_be_empty = task.answer.may_be_empty if column == "answer" else column[len("field_") :] in task.optional
        least = 0 if may_be_empty else 1
        lengths = {"column": column, "min_value": least, "max_value": settings.max_characters}
        suite.append(("expect_column_value_lengths_to_be_between", lengths, "reject"))
    for name in fields:
        words = {"column": f"words_{name}", "min_value": 0, "max_value": settings.max_words}
        suite.append(("expect_column_values_to_be_between", words, "reject"))
    if task.answer.labels and task.answer.format == "label":
        labels = {"column": "answer", "value_set": list(task.answer.labels)}
        suite.append(("expect_column_values_to_be_in_set", labels, "reject"))
    if task.answer.format == "list":
        # items that each contain more than white space, with the separator between them
        between = task.answer.separator
        other = rf"[^{re.escape(between)}]*"
        item = rf"{other}[^\s{re.escape(between)}]{other}"
        none = "|" if task.answer.may_be_empty else ""
        regex = rf"(?s)^(?:{item}(?:{re.escape(between)}{item})*{none})$"
        suite.append(("expect_column_values_to_match_regex", {"column": "answer", "regex": regex}, "reject"))
        if task.answer.labels:
            known = "(?:" + "|".join(re.escape(item) for item in task.answer.labels) + ")"
            regex = rf"^(?:{known}(?:{re.escape(between)} {known})*{none})$"
            suite.append(("expect_column_values_to_match_regex", {"column": "answer", "regex": regex}, "reject"))
    if task.answer.format == "json":
        suite.append(("expect_column_values_to_be_json_parseable", {"column": "answer"}, "reject"))
    for own in settings.expectations:
        about = {} if own.column is None else {"column": own.column}
        suite.append((own.expect, _of_table({**about, **own.arguments}, fields), own.severity))
    return suite


_COLUMN_ARGUMENTS = ("column", "column_A", "column_B", "column_list", "column_set")
"""Arguments of expectations that name columns."""


def _of_table(arguments: Mapping[str, Any], fields: Collection[str]) -> dict[str, Any]:
    """Returns arguments of an expectation with the table's columns in place of the prompt's slots."""

    def column(name: Any) -> Any:
        return f"field_{name}" if isinstance(name, str) and name in fields else name

    return {
        name: ([column(one) for one in value] if isinstance(value, list | tuple | set) else column(value))
        if name in _COLUMN_ARGUMENTS
        else value
        for name, value in arguments.items()
    }


def run_suite(settings: ValidateSettings, task: TaskSettings, table: Table) -> tuple[tuple[Check, ...], dict[str, Any]]:
    """Returns the outcome of each expectation, and the whole result in Great Expectations' own format.

    Raises:
        DataError: an expectation could not be checked.
        SettingsError: an expectation does not exist, or does not accept its arguments.
    """
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecation warnings from dependencies of Great Expectations
        logging.getLogger("great_expectations").setLevel(logging.ERROR)
        import great_expectations as gx
        import pandas as pd
        from great_expectations.data_context.types.base import ProgressBarsConfig

        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        columns: dict[str, Any] = {"id": table.id}
        for name in slots(task.prompt):
            texts = table.fields[name]
            columns |= {f"field_{name}": texts, f"words_{name}": [n_words(text) for text in texts]}
        frame = pd.DataFrame({**columns, "answer": table.answer})
        asset = context.data_sources.add_pandas("rows").add_dataframe_asset("rows")
        batch = asset.add_batch_definition_whole_dataframe("rows").get_batch(batch_parameters={"dataframe": frame})
        expectations = [_expectation(gx.expectations, *entry) for entry in _suite(settings, task)]
        result = batch.validate(
            gx.ExpectationSuite(name="task", expectations=expectations),
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["id"]},
        )
    results = [r.to_json_dict() for r in result.results]
    statistics = result.to_json_dict()["statistics"]
    saved = [r if settings.save_values else _without_values(r) for r in results]
    return tuple(_check(r) for r in results), {
        "results": saved,
        "statistics": statistics,
        "success": bool(result.success),
    }


_QUERIES = ("unexpected_rows_expectation", "expect_query_results_to_match_comparison")
"""Expectations that are SQL queries."""


def _expectation(known: Any, name: str, arguments: dict[str, Any], severity: str) -> Any:
    """Returns an expectation; raises SettingsError if it does not exist or does not accept the arguments."""
    kinds = [getattr(known, title) for title in dir(known) if title.startswith("Expect")]
    names = {kind.expectation_type: kind for kind in kinds}
    make = names.get(name)
    if name in _QUERIES:
        raise SettingsError(
            Problem(
                "an expectation can't be used",
                where=f"params.yaml: validate.expectations: {name}",
                found="an SQL query, and the rows are in no database",
                wanted="an expectation about columns",
                do="use one such as `expect_column_values_to_match_regex`, or select rows with SQL in "
                "`collect` (`query`)",
            )
        )
    try:
        if make is None:
            raise ValueError(f"not an expectation; similar names: {joined(difflib.get_close_matches(name, names))}")
        return make(**arguments, meta={"severity": severity})
    except (ValueError, TypeError) as error:
        raise SettingsError(
            Problem(
                "an expectation can't be used",
                where=f"params.yaml: validate.expectations: {name}",
                found=" ".join(str(error).split())[:300],
                wanted="a Great Expectations name with its arguments",
                do="see https://greatexpectations.io/expectations",
            )
        ) from None


_COUNTS = ("element_count", "missing_count", "missing_percent", "unexpected_count", "unexpected_percent")


def _without_values(result: dict[str, Any]) -> dict[str, Any]:
    """Returns an expectation's result with its counts and row ids, and without values of rows."""
    outcome = result.get("result") or {}
    kept = {name: outcome[name] for name in _COUNTS if name in outcome}
    if isinstance(outcome.get("observed_value"), int | float):
        kept["observed_value"] = outcome["observed_value"]
    if ids := sorted({str(row["id"]) for row in outcome.get("unexpected_index_list") or []}):
        kept["unexpected_ids"] = ids
    config = {**result["expectation_config"], "kwargs": dict(result["expectation_config"]["kwargs"])}
    config["kwargs"].pop("batch_id", None)
    return {"success": bool(result["success"]), "expectation_config": config, "result": kept}


def _check(result: Mapping[str, Any]) -> Check:
    """Returns the outcome of one expectation; raises DataError if it could not be checked."""
    config, outcome = result["expectation_config"], result.get("result") or {}
    broken = result.get("exception_info") or {}
    if "raised_exception" not in broken:  # the info has one entry per metric
        broken = next((b for b in broken.values() if isinstance(b, dict) and b.get("raised_exception")), {})
    column = _columns(config["kwargs"])
    if broken.get("raised_exception"):
        raise DataError(
            Problem(
                "an expectation could not be checked",
                where=f"step validate: {config['type']} on {column or 'the table'}",
                found=" ".join(str(broken.get("exception_message", "")).split())[:200],
                wanted="a column of the table: a slot, `answer`, `id`, `words_SLOT`; and arguments that fit it",
                do="correct it in `validate.expectations`",
            )
        )
    ids = tuple(sorted({str(row["id"]) for row in outcome.get("unexpected_index_list") or []}))
    if result["success"]:
        ids = ()  # `mostly` allows some rows to fail
    observed = outcome.get("observed_value")
    value = str(observed) if isinstance(observed, (int, float)) else ""
    arguments = {k: v for k, v in config["kwargs"].items() if k not in ("batch_id", "column")}
    severity = str((config.get("meta") or {}).get("severity", "stop"))
    wanted = json.dumps(arguments, sort_keys=True, ensure_ascii=False)[:200]
    return Check(str(config["type"]), column, bool(result["success"]), severity, ids, value, wanted)


def _columns(arguments: Mapping[str, Any]) -> str:
    """Returns the names of the columns that an expectation about rows checks, as settings write them."""
    values = [arguments[name] for name in ("column", "column_A", "column_B", "column_list") if name in arguments]
    names = [str(one) for value in values for one in (value if isinstance(value, list | tuple) else [value])]
    return ", ".join(name.removeprefix("field_") for name in names)
