"""The commands about rows: collect, generate, data."""

import argparse
import json
import webbrowser
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rungwise.cli.common import Add, at_least_one, show
from rungwise.core.errors import Problem, SettingsError
from rungwise.workspace.lock import locked


def add(add: Add) -> None:
    """Adds the commands."""
    collect = add("collect", _collect, "copy the sources of `collect` into data/raw, with their fingerprints")
    generate = add(
        "generate", _generate, "more training rows for rare labels, written by a model; or a table for people"
    )
    generate.add_argument("task", metavar="TASK", help="a task of params.yaml")
    generate.add_argument(
        "--base", metavar="MODEL", help="a local model writes; without it the server of augment.endpoint"
    )
    generate.add_argument("--label", metavar="LABEL", help="for this label, or this value of augment.slice, alone")
    generate.add_argument("--rows", type=int, metavar="N", help="how many rows for it")
    generate.add_argument(
        "--export", metavar="FILE", help="ask nobody: write a CSV with an empty row for each one wanted"
    )
    data = add("data", _data, "the versions of the rows: log, diff, docs, forget, prune, push, pull")
    kinds = data.add_subparsers(dest="what", required=True, metavar="WHAT")
    texts = {
        "log": "the accepted versions of the rows, with counts, label shares and drift",
        "diff": "which rows came, went, changed and moved between two versions, and what shifted",
        "forget": "what a row was used for; with --purge all of it is removed",
        "prune": "remove old versions from DVC's cache, but none that a registered version names",
        "docs": "the rows of the last run as pages: what came in, what went and why, expectations, suspects, leaks",
        "push": "send the rows of all commits and accepted versions to DVC's remote",
        "pull": "fetch the rows that dvc.lock and the accepted versions name from DVC's remote",
    }
    inner = {name: kinds.add_parser(name, help=text, description=text) for name, text in texts.items()}
    inner["diff"].add_argument("old", metavar="OLD", help="a version, or the beginning of its name")
    inner["diff"].add_argument("new", metavar="NEW", help="the other one")
    inner["forget"].add_argument("row", metavar="ROW", help="the row's id")
    inner["forget"].add_argument("--purge", action="store_true", help="remove what used it")
    inner["prune"].add_argument(
        "--keep", type=at_least_one, required=True, metavar="N", help="how many of the last stay"
    )
    inner["docs"].add_argument("--open", action="store_true", help="open them in the browser")
    for name in ("log", "diff", "forget", "prune"):
        inner[name].add_argument("--json", action="store_true", help="print JSON")
    for command in (collect, generate):
        command.add_argument("--json", action="store_true", help="print JSON")


def _collect(root: Path, arguments: argparse.Namespace) -> int:
    """Copies the sources of `collect` into data/raw."""
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
        show(f"{source.name}: {len(source.files)} files, {size:,} bytes; {changed}")
    if not copied:
        show("params.yaml names no source under `collect`; nothing was done")
    return 0


def _generate(root: Path, arguments: argparse.Namespace) -> int:
    """Fulfils a data request."""
    from rungwise.generate.fulfil import fulfil
    from rungwise.workspace.layout import settings_of

    if (arguments.label is None) != (arguments.rows is None):
        raise SettingsError(
            Problem("a label without a number of rows, or rows without a label", wanted="--label and --rows")
        )
    wanted = {arguments.label: arguments.rows} if arguments.label else {}
    settings_of(root)
    with locked(root, "rungwise generate"):
        found = fulfil(
            root, arguments.task, arguments.base, wanted, Path(arguments.export) if arguments.export else None
        )
    if arguments.json:
        show(json.dumps(found, indent=1, ensure_ascii=False))
        return 0
    asked = ", ".join(f"{label}: {n}" for label, n in found["wanted"].items())
    show(f"wanted: {asked} ({found['why']})")
    if "rows" not in found:
        show(f"{found['file']}: an empty row for each; filled in and put into data/raw, it is a source like others")
        if found["columns"]:
            show(f"careful: {found['columns']}")
        return 0
    dropped = ", ".join(f"{reason}: {n}" for reason, n in found["rejected"].items()) or "none"
    show(f"kept {found['rows']} rows, {found['new']} of them new; dropped: {dropped}")
    if found["missing"]:
        show("missing: " + ", ".join(f"{label}: {n}" for label, n in found["missing"].items()))
    for name, text in (("limited", "limit"), ("ended early", "note"), ("careful", "failures")):
        if found[text]:
            show(f"{name}: {found[text]}")
    if found["file"]:
        show(f"{found['file']}: name it under ingest.sources, and `rungwise run`:\n  {found['source']}")
    return 0 if found["rows"] else 1


def _data(root: Path, arguments: argparse.Namespace) -> int:
    """The versions of the rows: log, diff, docs, forget, prune, push, pull."""
    from rungwise.history.diff import diff
    from rungwise.history.forget import forget, prune
    from rungwise.history.kept import log
    from rungwise.history.transfer import pull, push
    from rungwise.history.uses import uses
    from rungwise.report import data
    from rungwise.workspace.layout import settings_of

    found: Any
    text: Callable[[Any], str]
    settings_of(root)  # a missing or wrong params.yaml is said before anything is made here
    with locked(root, f"rungwise data {arguments.what}"):
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
        if arguments.what == "log":
            found, text = log(root), data.log_text
        elif arguments.what == "diff":
            found, text = diff(root, arguments.old, arguments.new), data.diff_text
        elif arguments.what == "forget":
            act = forget if arguments.purge else uses
            found, text = act(root, arguments.row), data.uses_text
        else:
            found, text = prune(root, arguments.keep), data.prune_text
    show(json.dumps(found, indent=1, ensure_ascii=False) if arguments.json else text(found))
    return 0
