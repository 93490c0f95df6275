"""The commands for rows: collect, generate, data."""

import argparse
import json
import webbrowser
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from rungwise.cli.common import Add, at_least_one, show
from rungwise.core.errors import Problem, SettingsError
from rungwise.core.texts import number_of, on_one_line
from rungwise.workspace.lock import locked

_READING: Final = ("show", "docs", "log", "diff")
"""The kinds of `data` that work while a run does: they take no lock."""


def add(add: Add) -> None:
    """Adds the commands."""
    collect = add("collect", _collect, "copy the sources in `collect` into data/raw and record their fingerprints")
    generate = add(
        "generate",
        _generate,
        "let a model write training rows for rare labels, or export a table for people to fill in",
    )
    generate.add_argument("task", metavar="TASK", help="a task of params.yaml")
    generate.add_argument("--base", metavar="MODEL", help="a local model; default: the server in augment.endpoint")
    generate.add_argument("--label", metavar="LABEL", help="only for this label, or this value of augment.slice")
    generate.add_argument("--rows", type=int, metavar="N", help="number of rows for that label")
    generate.add_argument(
        "--export", metavar="FILE", help="write a CSV file with an empty row for each missing row, and use no model"
    )
    data = add("data", _data, "rows and their versions: show, docs, log, diff, forget, prune, push, pull")
    kinds = data.add_subparsers(dest="what", required=True, metavar="WHAT")
    texts = {
        "show": "show rows of the last run by their ids: text, file and line, side, duplicates, doubts about the label",
        "log": "list the accepted versions of the rows, with counts, label shares and drift",
        "diff": "compare two versions: rows added, removed, changed and moved to another side, and drift",
        "forget": "show where a row was used; with --purge, remove everything that used it",
        "prune": "remove old versions from DVC's cache, except those of registered models",
        "docs": "write pages about the rows of the last run: counts, rejections, expectations, suspects, leaks",
        "push": "send the rows of all commits and accepted versions to DVC's remote",
        "pull": "fetch the rows of dvc.lock and of the accepted versions from DVC's remote",
    }
    inner = {name: kinds.add_parser(name, help=text, description=text) for name, text in texts.items()}
    inner["show"].add_argument("rows", nargs="+", metavar="ID", help="a row's id, or the beginning of it")
    inner["diff"].add_argument("old", metavar="OLD", help="a version, or the beginning of its name")
    inner["diff"].add_argument("new", metavar="NEW", help="the other version")
    inner["forget"].add_argument("row", metavar="ROW", help="the row's id")
    inner["forget"].add_argument("--purge", action="store_true", help="remove everything that used it")
    inner["prune"].add_argument(
        "--keep", type=at_least_one, required=True, metavar="N", help="number of versions to keep, the newest first"
    )
    inner["docs"].add_argument("--open", action="store_true", help="open the first page in the browser")
    for name in ("show", "log", "diff", "forget", "prune"):
        inner[name].add_argument("--json", action="store_true", help="print JSON")
    for command in (collect, generate):
        command.add_argument("--json", action="store_true", help="print JSON")


def _collect(root: Path, arguments: argparse.Namespace) -> int:
    """Copies the sources in `collect` into data/raw."""
    from rungwise.core.progress import say
    from rungwise.pipeline.steps import collect
    from rungwise.workspace.layout import settings_of

    settings_of(root)
    with locked(root, "rungwise collect"):
        copied = collect(root, say)
    if arguments.json:
        show(json.dumps([asdict(source) for source in copied], indent=1, ensure_ascii=False))
        return 0
    for source in copied:
        size = sum(file["bytes"] for file in source.files.values())
        changed = f"{len(source.changed)} changed" if source.changed else "nothing changed"
        show(f"{source.name}: {number_of(len(source.files), 'file')}, {number_of(size, 'byte')}; {changed}")
    if not copied:
        show("params.yaml names no source under `collect`; nothing was copied")
    return 0


def _generate(root: Path, arguments: argparse.Namespace) -> int:
    """Generates training rows, or exports a table for people."""
    from rungwise.generate.fulfil import fulfil
    from rungwise.workspace.layout import settings_of

    if (arguments.label is None) != (arguments.rows is None):
        raise SettingsError(Problem("--label and --rows must be used together", wanted="--label LABEL --rows N"))
    wanted = {arguments.label: arguments.rows} if arguments.label else {}
    settings_of(root)
    with locked(root, "rungwise generate"):
        result = fulfil(
            root, arguments.task, arguments.base, wanted, Path(arguments.export) if arguments.export else None
        )
    if arguments.json:
        show(json.dumps(result, indent=1, ensure_ascii=False))
        return 0
    missing = _counts(result["wanted"])
    show(f"wanted: {missing} ({result['why']})")
    if "rows" not in result:
        show(
            f"{result['file']}: an empty row for each of them. Fill in the rows, copy the file to data/raw and add "
            "it to ingest.sources"
        )
        if result["columns"]:
            show(f"warning: {result['columns']}")
        return 0
    dropped = ", ".join(f"{reason}: {n}" for reason, n in result["rejected"].items()) or "none"
    show(f"kept {number_of(result['rows'], 'row')}, {result['new']} of them new; dropped: {dropped}")
    if result["missing"]:
        show("missing: " + _counts(result["missing"]))
    for name, text in (("limited", "limit"), ("ended early", "note"), ("warning", "failures")):
        if result[text]:
            show(f"{name}: {result[text]}")
    if result["file"]:
        show(f"{result['file']}: add it to ingest.sources, then `rungwise run`:\n  {result['source']}")
    return 0 if result["rows"] else 1


def _counts(labels: Mapping[str, int]) -> str:
    return ", ".join(f"{on_one_line(label)}: {n}" for label, n in labels.items())


def _data(root: Path, arguments: argparse.Namespace) -> int:
    """Works on rows and their versions: show, docs, log, diff, forget, prune, push, pull."""
    from rungwise.history.diff import diff
    from rungwise.history.forget import forget, prune
    from rungwise.history.kept import log
    from rungwise.history.transfer import pull, push
    from rungwise.history.uses import uses
    from rungwise.report import data
    from rungwise.workspace.layout import settings_of

    result: Any
    text: Callable[[Any], str]
    settings_of(root)  # report a missing or invalid params.yaml before the lock creates a folder
    reads = arguments.what in _READING or (arguments.what == "forget" and not arguments.purge)
    with nullcontext() if reads else locked(root, f"rungwise data {arguments.what}"):
        if arguments.what == "docs":
            from rungwise.report.page import write_pages

            page = write_pages(root)
            show(str(page))
            if arguments.open:
                webbrowser.open(page.as_uri())
            return 0
        if arguments.what in ("push", "pull"):
            show((push if arguments.what == "push" else pull)(root) or "nothing to do")
            return 0
        if arguments.what == "show":
            from rungwise.core.records import to_json
            from rungwise.report.rows import find_rows, rows_text

            rows, like = find_rows(root, arguments.rows)
            result = {
                "rows": [to_json(row) for row in rows],
                "like": {name: to_json(row) for name, row in like.items()},
            }
            show(json.dumps(result, indent=1, ensure_ascii=False) if arguments.json else rows_text(rows, like))
            return 0
        if arguments.what == "log":
            result, text = log(root), data.log_text
        elif arguments.what == "diff":
            result, text = diff(root, arguments.old, arguments.new), data.diff_text
        elif arguments.what == "forget":
            act = forget if arguments.purge else uses
            result, text = act(root, arguments.row), data.uses_text
        else:
            result, text = prune(root, arguments.keep), data.prune_text
    show(json.dumps(result, indent=1, ensure_ascii=False) if arguments.json else text(result))
    return 0
