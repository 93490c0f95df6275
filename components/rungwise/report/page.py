"""Writes pages about the rows of the last run: counts, rejected rows, expectations, duplicates, drift.

The main page needs no network. It contains counts, labels and row ids, never the text of a row. Great Expectations' own
pages (Data Docs) are written next to it; they load their styles from the network.

The templates are Jinja2 (https://jinja.palletsprojects.com) with autoescape: labels are user data and not trusted.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rungwise.core.folders import open_sealed, read_json, read_lines, replace_text
from rungwise.core.records import SIDES
from rungwise.history.kept import log
from rungwise.workspace.layout import Paths, data_version, settings_of

MAX_ROWS: Final = 20
"""Number of rows that a table shows; the page names the file with all of them."""
_VERBS: Final = ("ingest", "validate", "split", "augment")
_SIDE_NAMES: Final = {"train": "training", "dev": "validation", "test": "test"}
_DUPLICATE_KINDS: Final = {
    "exact": "exact duplicate",
    "near": "near duplicate",
    "contradiction": "equal texts, different answers",
}


@dataclass(frozen=True)
class Listing:
    """A table with a title."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    file: str
    """The file that holds all rows, relative to the workspace."""
    numeric: tuple[int, ...] = ()
    """The positions of the columns with numbers."""
    n: int | None = None
    """The number in the title, if it is not the number of rows in the table."""

    @property
    def total(self) -> int:
        """The number in the title."""
        return len(self.rows) if self.n is None else self.n


@dataclass(frozen=True)
class Shares:
    """Counts that are shown as bars."""

    title: str
    counts: Sequence[tuple[str, int]]
    """(name, number of rows), the largest first."""


@dataclass(frozen=True)
class Check:
    """The result of one expectation."""

    expectation: str
    column: str
    wanted: str
    success: bool
    severity: str
    n_failed: int


@dataclass(frozen=True)
class TaskRows:
    """Everything that the page shows about the rows of one task."""

    name: str
    counts: Sequence[tuple[str, int, str]]
    """(name, number of rows, note)."""
    warnings: Sequence[str]
    rejected: Listing
    shares: Sequence[Shares]
    checks: Sequence[Check]
    listings: Sequence[Listing]


def write_pages(root: Path) -> Path:
    """Writes the pages of the last run into .rungwise/docs; returns the path of the main page.

    Raises:
        WorkspaceError: the stages ingest, validate, split and augment have not all run yet.
    """
    settings, paths = settings_of(root), Paths(root)
    folders = {verb: open_sealed(paths.output(verb), verb) for verb in _VERBS}
    target = root / ".rungwise" / "docs"
    target.mkdir(parents=True, exist_ok=True)
    version = data_version(root)
    drift: dict[str, Any] = next((line["drift"] for line in reversed(log(root)) if line["data_version"] == version), {})
    for name in settings.tasks:
        _write_data_docs(
            read_json(folders["validate"] / name / "suite.json"), name, target / f"expectations-{name}.html"
        )
    tasks = [_task_rows(name, folders, drift.get(name, ())) for name in settings.tasks]
    page = target / "index.html"
    replace_text(page, _rendered("rows.html", version=version, tasks=tasks, shown=MAX_ROWS))
    return page


def _rendered(template: str, **values: object) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("rungwise.report", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(**values)


def _task_rows(name: str, folders: Mapping[str, Path], drift: Sequence[Mapping[str, Any]]) -> TaskRows:
    """Collects what the reports of the stages say about a task's rows."""
    summary = read_json(folders["ingest"] / name / "summary.json")
    report = read_json(folders["validate"] / name / "report.json")
    split = read_json(folders["split"] / name / "report.json")
    n_synthetic = sum(bool(row["parents"]) for row in read_lines(folders["augment"] / name / "train.jsonl"))
    sides = [
        (
            _SIDE_NAMES[side],
            split["rows"][side],
            f"and {n_synthetic:,} synthetic" if side == "train" and n_synthetic else "",
        )
        for side in SIDES
    ]
    messages = [*split["warnings"], *(shift["sentence"] for shift in drift if shift["is_over"])]
    if n := len(report["suspects"]):
        messages.append(f"{n} labels may be wrong: a model trained on the other rows contradicts them")
    return TaskRows(
        name=name,
        counts=[("ingested", summary["rows"], ""), ("validated", report["rows"], ""), *sides],
        warnings=messages,
        rejected=_rejected(name, {"ingest": summary, "validate": report, "split": split}),
        shares=[_shares("Labels", report["labels"]), _shares("Sources", summary["sources"])],
        checks=[_check(one) for one in report["checks"]],
        listings=[
            _suspects(name, report["suspects"]),
            _leaks(name, split["leaks"]),
            _duplicates(name, list(read_lines(folders["ingest"] / name / "duplicates.jsonl"))),
            Listing("Drift since the previous version", ("what changed",), [(s["sentence"],) for s in drift], ""),
        ],
    )


def _rejected(task: str, reports: Mapping[str, Mapping[str, Any]]) -> Listing:
    rows = [(verb, reason, f"{n:,}") for verb, report in reports.items() for reason, n in report["rejected"].items()]
    n = sum(n for report in reports.values() for n in report["rejected"].values())
    file = f"data/STEP/{task}/rejections.jsonl"
    return Listing("Rejected rows", ("step", "reason", "rows"), rows, file, numeric=(2,), n=n)


def _shares(title: str, counts: Mapping[str, int]) -> Shares:
    return Shares(title, sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _check(check: Mapping[str, Any]) -> Check:
    return Check(
        expectation=check["expectation"].removeprefix("expect_").replace("_", " "),
        column=check["column"],
        wanted=check["wanted"],
        success=check["success"],
        severity=check["severity"],
        n_failed=len(check["failed_ids"]),
    )


def _suspects(task: str, suspects: Sequence[Mapping[str, Any]]) -> Listing:
    rows = [(s["id"], s["label"], s["suggested"], f"{s['suspicion']:.3f}") for s in suspects]
    columns = ("row", "label", "suggested label", "suspicion")
    return Listing("Labels that may be wrong", columns, rows, f"data/validate/{task}/report.json", (3,))


def _leaks(task: str, leaks: Sequence[Mapping[str, Any]]) -> Listing:
    rows = [(x["id"], x["other"], _SIDE_NAMES[x["other_side"]], x["kind"], f"{x['similarity']:.2f}") for x in leaks]
    columns = ("training row", "duplicate of", "in", "kind", "similarity")
    title = "Training rows removed as duplicates of validation or test rows"
    return Listing(title, columns, rows, f"data/split/{task}/report.json", (4,))


def _duplicates(task: str, duplicates: Sequence[Mapping[str, Any]]) -> Listing:
    rows = [(d["id"], d["other"], _DUPLICATE_KINDS[d["kind"]], f"{d['similarity']:.2f}") for d in duplicates]
    return Listing(
        "Duplicates", ("row", "other row", "kind", "similarity"), rows, f"data/ingest/{task}/duplicates.jsonl", (3,)
    )


def _write_data_docs(suite: Mapping[str, Any], name: str, path: Path) -> None:
    """Writes Great Expectations' own page about the results of an expectation suite."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside Great Expectations' own dependencies
        from great_expectations.core.expectation_validation_result import (
            ExpectationSuiteValidationResult,
            ExpectationValidationResult,
        )
        from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
        from great_expectations.render.renderer import ValidationResultsPageRenderer
        from great_expectations.render.view import DefaultJinjaPageView

        results = [
            ExpectationValidationResult(
                success=one["success"],
                expectation_config=ExpectationConfiguration(**one["expectation_config"]),
                result=json.loads(json.dumps(one["result"])),
                meta={},
                exception_info={"raised_exception": False, "exception_message": None, "exception_traceback": None},
            )
            for one in suite["results"]
        ]
        whole = ExpectationSuiteValidationResult(
            success=suite["success"],
            results=results,
            suite_name=name,
            statistics=suite["statistics"],
            meta={"run_id": {"run_name": name, "run_time": "1970-01-01T00:00:00+00:00"}, "batch_kwargs": {}},
        )
        replace_text(path, DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(whole)))
