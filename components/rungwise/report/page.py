"""The rows of the last run as a page that needs no network: what came in, what went and why, what stands where.

It holds counts, label names and rows' ids, never a row's text. Beside it stand Great Expectations' own pages (Data
Docs), which load their styles from the network.
"""

import html
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rungwise.core.folders import open_sealed, read_json, read_lines
from rungwise.history.kept import log
from rungwise.workspace.layout import Paths, data_version, settings_of

SHOWN = 20
"""So many rows of a list are shown; all stand in the files that the page names."""
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:900px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.25rem;border-top:2px solid #ddd;padding-top:1rem;margin-top:2rem}h3{font-size:1rem}
table{border-collapse:collapse;width:100%;font-size:14px}td,th{text-align:left;padding:.2rem .6rem .2rem 0;
border-bottom:1px solid #eee;vertical-align:top}.bar{background:#3b6ea5;height:.8em;display:inline-block;min-width:1px}
.no{color:#b3261e;font-weight:600}.ok{color:#1b7f3b}.careful{background:#fff6e0;border-left:4px solid #d99a00;
padding:.4rem .8rem;margin:.4rem 0}code{font-size:13px}.flow{display:flex;flex-wrap:wrap;gap:.5rem;margin:1rem 0}
.flow div{background:#f3f5f8;border-radius:6px;padding:.5rem .8rem}.flow b{display:block;font-size:1.2rem}
"""


def write_pages(root: Path) -> Path:
    """Writes the pages of the last run into .rungwise/docs; returns the path of the first.

    Raises:
        WorkspaceError: the rows were not ingested, validated, split and augmented yet.
    """
    settings, paths = settings_of(root), Paths(root)
    folders = {verb: open_sealed(paths.output(verb), verb) for verb in ("ingest", "validate", "split", "augment")}
    target = root / ".rungwise" / "docs"
    target.mkdir(parents=True, exist_ok=True)
    current = data_version(root)
    drift: dict[str, Any] = next((line["drift"] for line in reversed(log(root)) if line["data_version"] == current), {})
    parts = [f"<h1>The rows, data version <code>{html.escape(current)}</code></h1>"]
    for name in settings.tasks:
        _data_docs(read_json(folders["validate"] / name / "suite.json"), name, target / f"expectations-{name}.html")
        parts.append(_task(name, folders, drift.get(name, ())))
    page = target / "index.html"
    page.write_text(_document("The rows", "".join(parts)), encoding="utf-8")
    return page


def _document(title: str, body: str) -> str:
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>{body}</body></html>\n'
    )


def _task(name: str, folders: Mapping[str, Path], drift: Sequence[Mapping[str, Any]]) -> str:
    summary = read_json(folders["ingest"] / name / "summary.json")
    report = read_json(folders["validate"] / name / "report.json")
    split = read_json(folders["split"] / name / "report.json")
    n_synthetic = sum(bool(row["parents"]) for row in read_lines(folders["augment"] / name / "train.jsonl"))
    duplicates = list(read_lines(folders["ingest"] / name / "duplicates.jsonl"))
    flow = [
        ("ingested", summary["rows"]),
        ("validated", report["rows"]),
        ("train", split["rows"]["train"]),
        ("dev", split["rows"]["dev"]),
        ("test", split["rows"]["test"]),
        ("train with synthetic", split["rows"]["train"] + n_synthetic),
    ]
    careful = [*split["careful"], *(s["sentence"] for s in drift if s["is_over"])]
    if n := len(report["suspects"]):
        careful.append(f"{n} labels may be wrong: a model of the other rows contradicts them")
    kinds = {"exact": "equal rows", "near": "nearly equal rows", "contradiction": "equal texts with another answer"}
    return "".join(
        [
            f"<h2>{html.escape(name)}</h2>",
            '<div class="flow">' + "".join(f"<div><b>{n:,}</b>{what}</div>" for what, n in flow) + "</div>",
            "".join(f'<div class="careful">{html.escape(text)}</div>' for text in careful),
            _reasons(summary, report, split),
            _shares("Labels", report["labels"]),
            _shares("Sources", summary["sources"]),
            _expectations(name, report["checks"]),
            _list(
                "Labels that may be wrong",
                ("row", "label", "perhaps", "suspicion"),
                [(s["id"], s["label"], s["suggested"], f"{s['suspicion']:.3f}") for s in report["suspects"]],
            ),
            _list(
                "Copies of held-out rows, taken out of training",
                ("training row", "copy of", "stands in", "kind", "similarity"),
                [(x["id"], x["other"], x["other_side"], x["kind"], f"{x['similarity']:.2f}") for x in split["leaks"]],
            ),
            _list(
                "There twice",
                ("row", "and", "what", "similarity"),
                [(d["id"], d["other"], kinds[d["kind"]], f"{d['similarity']:.2f}") for d in duplicates],
            ),
            _list("Since the version before", ("what moved",), [(s["sentence"],) for s in drift]),
        ]
    )


def _reasons(*reports: Mapping[str, Any]) -> str:
    steps = zip(("ingest", "validate", "split"), reports, strict=True)
    rows = [(step, reason, f"{n:,}") for step, report in steps for reason, n in report["rejected"].items()]
    return _list("Rows that did not go on", ("step", "reason", "rows"), rows)


def _shares(title: str, counts: Mapping[str, int]) -> str:
    if not counts:
        return ""
    most = max(counts.values())
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    rows = "".join(
        f"<tr><td>{html.escape(name[:80])}</td><td>{n:,}</td>"
        f'<td style="width:60%"><span class="bar" style="width:{100 * n / most:.1f}%"></span></td></tr>'
        for name, n in ordered[: 2 * SHOWN]
    )
    more = f"<p>and {len(ordered) - 2 * SHOWN} more</p>" if len(ordered) > 2 * SHOWN else ""
    return f"<h3>{html.escape(title)}</h3><table>{rows}</table>{more}"


def _expectations(name: str, checks: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for check in checks:
        state = '<span class="ok">met</span>' if check["success"] else f'<span class="no">{check["severity"]}</span>'
        failed = f"{len(check['failed_ids']):,}" if check["failed_ids"] else ""
        cells = [check["expectation"].removeprefix("expect_").replace("_", " "), check["column"], check["wanted"]]
        told = "".join(f"<td>{html.escape(str(cell)[:120])}</td>" for cell in cells)
        rows.append(f"<tr><td>{state}</td>{told}<td>{failed}</td></tr>")
    link = f'<a href="expectations-{html.escape(name)}.html">Great Expectations\' own page</a> (styles by network)'
    head = "<tr><th></th><th>expectation</th><th>column</th><th>with</th><th>rows that fail</th></tr>"
    return f"<h3>Expectations</h3><p>{link}</p><table>{head}{''.join(rows)}</table>"


def _list(title: str, head: Sequence[str], rows: Sequence[Iterable[str]]) -> str:
    if not rows:
        return ""
    titles = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows[:SHOWN])
    more = f"<p>and {len(rows) - SHOWN} more</p>" if len(rows) > SHOWN else ""
    return f"<h3>{html.escape(title)} ({len(rows):,})</h3><table><tr>{titles}</tr>{body}</table>{more}"


def _data_docs(outcome: Mapping[str, Any], name: str, path: Path) -> None:
    """Writes Great Expectations' own page of a suite's result."""
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
            for one in outcome["results"]
        ]
        whole = ExpectationSuiteValidationResult(
            success=outcome["success"],
            results=results,
            suite_name=name,
            statistics=outcome["statistics"],
            meta={"run_id": {"run_name": name, "run_time": "1970-01-01T00:00:00+00:00"}, "batch_kwargs": {}},
        )
        path.write_text(DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(whole)), encoding="utf-8")
