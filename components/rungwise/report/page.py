"""Writes pages about the rows of the last run: counts, rejected rows, expectations, duplicates, drift.

No page needs the network. The main page shows the texts of rows side by side where they are alike or their labels are
doubted, unless `docs.texts` is false. Great Expectations' own pages (Data Docs) are written next to it.

The templates are Jinja2 (https://jinja.palletsprojects.com) with autoescape: labels are user data and not trusted.
"""

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from rungwise.core.folders import MARKER, open_sealed, read_json, read_lines, replace_text
from rungwise.core.records import SIDES, counted
from rungwise.core.table import Table
from rungwise.core.texts import number_of, visible
from rungwise.history.kept import log
from rungwise.report.rows import KIND_NAMES, SIDE_NAMES, ShownRow
from rungwise.report.rows import TaskRows as RowsById
from rungwise.report.steps import stage_rows
from rungwise.workspace.layout import Paths, data_version, settings_of

MAX_ROWS: Final = 20
"""Number of rows that a table shows at once; the others unfold."""
MAX_PAIRS: Final = 500
"""Number of rows with texts that a page holds; the page names the file with all of them."""
_VERBS: Final = ("ingest", "validate", "split", "augment")
_FROM_NETWORK: Final = re.compile(
    r"<script\b.*?</script>|<footer\b.*?</footer>|<link\b[^>]*>|<img\b[^>]*>|(?<=background: )url\([^)]*\)", re.DOTALL
)
"""Parts of Great Expectations' page that load something or lead to its makers, and scripts that require what was
loaded."""
_TO_ITS_SITE: Final = re.compile(r'href="\.\./[^"]*"')
"""Links of that page to others of a site that is not written."""


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
class Pair:
    """A row next to the row that it is compared with, or next to another label."""

    row: ShownRow
    other: ShownRow | None
    label: str
    """The other label, where the row's own is doubted; otherwise empty."""
    note: str


@dataclass(frozen=True)
class Pairs:
    """Rows side by side."""

    title: str
    pairs: Sequence[Pair]
    total: int
    """The number of pairs in the file."""
    file: str


@dataclass(frozen=True)
class Shares:
    """Counts that are shown as bars."""

    title: str
    counts: Sequence[tuple[str, int]]
    """(name, number of rows), the largest first."""
    sides: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Side -> name -> number of rows on that side after the split; empty if it is not shown."""


@dataclass(frozen=True)
class Check:
    """The result of one expectation."""

    expectation: str
    column: str
    wanted: str
    success: bool
    severity: str
    failed_ids: Sequence[str]


@dataclass(frozen=True)
class TaskRows:
    """Everything that the page shows about the rows of one task."""

    name: str
    counts: Sequence[tuple[str, int, str]]
    """(name, number of rows, note)."""
    steps: Listing
    """What came in, was removed, was added and left at each step; each line's rows add up."""
    warnings: Sequence[str]
    rejected: Listing
    shares: Sequence[Shares]
    checks: Sequence[Check]
    pairs: Sequence[Pairs]
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
    when = datetime.fromtimestamp((folders["validate"] / MARKER).stat().st_mtime, UTC)
    tasks = []
    for name in settings.tasks:
        suite = read_json(folders["validate"] / name / "suite.json")
        _write_data_docs(suite, name, target / f"expectations-{name}.html", when)
        tasks.append(_task_rows(name, folders, drift.get(name, ()), RowsById(root, settings, name)))
    page = target / "index.html"
    values = {
        "version": version,
        "tasks": tasks,
        "when": _day(when),
        "has_texts": settings.docs.texts,
        "shown": MAX_ROWS,
    }
    replace_text(page, _rendered("rows.html", sides=SIDE_NAMES, **values))
    return page


def _rendered(template: str, **values: object) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("rungwise.report", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["visible"] = visible
    return environment.get_template(template).render(**values)


def _task_rows(name: str, folders: Mapping[str, Path], drift: Sequence[Mapping[str, Any]], by_id: RowsById) -> TaskRows:
    """Collects what the reports of the stages say about a task's rows."""
    summary = read_json(folders["ingest"] / name / "summary.json")
    report = read_json(folders["validate"] / name / "report.json")
    split = read_json(folders["split"] / name / "report.json")
    are_synthetic = [bool(row["parents"]) for row in read_lines(folders["augment"] / name / "train.jsonl")]
    n_synthetic = sum(are_synthetic)
    steps = _steps(summary, report, split, len(are_synthetic))
    sides = [
        (
            SIDE_NAMES[side],
            split["rows"][side],
            f"and {n_synthetic:,} synthetic" if side == "train" and n_synthetic else "",
        )
        for side in SIDES
    ]
    messages = [*split["warnings"], *(shift["sentence"] for shift in drift if shift["is_over"])]
    if n := len(report["suspects"]):
        it = "it" if n == 1 else "them"
        messages.append(f"{number_of(n, 'label')} may be wrong: a model trained on the other rows contradicts {it}")
    return TaskRows(
        name=name,
        counts=[("ingested", summary["rows"], ""), ("validated", report["rows"], ""), *sides],
        steps=steps,
        warnings=messages,
        rejected=_rejected(name, {"ingest": summary, "validate": report, "split": split}),
        shares=[
            _shares("Labels of the validated rows", report["labels"], _labels_of_sides(folders["split"] / name)),
            _shares("Sources of the ingested rows", summary["sources"]),
        ],
        checks=[_check(one) for one in report["checks"]],
        pairs=_pairs(by_id, report["suspects"], split, list(read_lines(folders["ingest"] / name / "duplicates.jsonl"))),
        listings=[
            Listing("Drift since the previous version", ("what changed",), [(s["sentence"],) for s in drift], ""),
        ],
    )


def _rejected(task: str, reports: Mapping[str, Mapping[str, Any]]) -> Listing:
    rows = [(verb, reason, f"{n:,}") for verb, report in reports.items() for reason, n in report["rejected"].items()]
    n = sum(n for report in reports.values() for n in report["rejected"].values())
    file = f"data/STEP/{task}/rejections.jsonl"
    return Listing("Rejected rows", ("step", "reason", "rows"), rows, file, numeric=(2,), n=n)


def _shares(title: str, counts: Mapping[str, int], sides: Mapping[str, Mapping[str, int]] | None = None) -> Shares:
    return Shares(title, sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])), sides or {})


def _labels_of_sides(folder: Path) -> dict[str, dict[str, int]]:
    """Returns side -> answer -> rows on that side, so that a reader can compare the sides."""
    return {side: counted(Table.read(folder / f"{side}.jsonl").answer) for side in SIDES}


def _arguments(wanted: str) -> str:
    """Returns an expectation's arguments as text: `min_value: 2, max_value: 5`; as they are if they were cut."""
    try:
        return ", ".join(f"{name.rstrip('_')}: {value}" for name, value in json.loads(wanted).items())
    except ValueError:
        return wanted


def _check(check: Mapping[str, Any]) -> Check:
    return Check(
        expectation=check["expectation"].removeprefix("expect_").replace("_", " "),
        column=check["column"],
        wanted=_arguments(check["wanted"]),
        success=check["success"],
        severity=check["severity"],
        failed_ids=check["failed_ids"],
    )


def _steps(ingest: Mapping[str, Any], validate: Mapping[str, Any], split: Mapping[str, Any], n_trained: int) -> Listing:
    """Returns what came in, was removed, was added and left at each step."""
    rows = []
    for one in stage_rows(ingest, validate, split, n_trained):
        is_last = one.stage == "augment"
        counts = ("", f"{one.added:,}") if is_last else (f"{sum(one.removed.values()):,}", "")
        rows.append(
            (f"{one.stage} (training rows)" if is_last else one.stage, f"{one.came:,}", *counts, f"{one.left:,}")
        )
    return Listing("Rows at each step", ("step", "in", "removed", "added", "out"), rows, "", numeric=(1, 2, 3, 4))


def _pairs(
    by_id: RowsById,
    suspects: Sequence[Mapping[str, Any]],
    split: Mapping[str, Any],
    duplicates: Sequence[Mapping[str, Any]],
) -> list[Pairs]:
    """Returns doubted labels, leaks and duplicates with their rows, each at most MAX_PAIRS."""
    task = by_id.task
    listed = [
        ("Labels that may be wrong", suspects, f"data/validate/{task}/report.json"),
        ("Training rows removed as duplicates of validation or test rows", split["leaks"],
         f"data/split/{task}/report.json"),
        ("Validation rows that are duplicates of test rows", split["dev_in_test"], f"data/split/{task}/report.json"),
        ("Duplicates", duplicates, f"data/ingest/{task}/duplicates.jsonl"),
    ]  # fmt: skip
    kept = [one for _, entries, _ in listed for one in entries[:MAX_PAIRS]]
    rows = by_id.shown(dict.fromkeys(one[key] for one in kept for key in ("id", "other") if key in one))
    return [
        Pairs(title, [_pair(one, rows) for one in entries[:MAX_PAIRS]], len(entries), file)
        for title, entries, file in listed
    ]


def _pair(entry: Mapping[str, Any], rows: Mapping[str, ShownRow]) -> Pair:
    def row(id_: str) -> ShownRow:
        return rows.get(id_) or ShownRow(id_, "", "", "", 0, {}, "", "")

    if "suggested" in entry:
        return Pair(row(entry["id"]), None, entry["suggested"], f"suspicion {entry['suspicion']:.3f}")
    note = f"{KIND_NAMES[entry['kind']]}, similarity {entry['similarity']:.2f}"
    return Pair(row(entry["id"]), row(entry["other"]), "", note)


def _write_data_docs(suite: Mapping[str, Any], name: str, path: Path, when: datetime) -> None:
    """Writes Great Expectations' own page about the results of an expectation suite, without what it loads.

    `when`: the time of the validation. The page's own styles are on servers; the package has others.
    """
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
            meta={
                "run_id": {"run_name": name, "run_time": when.isoformat(timespec="seconds")},
                "batch_kwargs": {},
                "great_expectations_version": metadata.version("great_expectations"),
            },
        )
        page = DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(whole))
    page = _TO_ITS_SITE.sub('href="index.html"', _FROM_NETWORK.sub("", page)).replace("Data asset: None<br>", "")
    head = f'<p class="muted">Validated on {_day(when)}. <a href="index.html">All pages</a></p>'
    for place, more in (("</head>", _rendered("expectations.html") + "</head>"), ("<body>", f"<body>{head}")):
        page = page.replace(place, more, 1)
    replace_text(path, page)


def _day(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"
