"""The commands run, status, explain and incumbent."""

import argparse
import json
from pathlib import Path

from rungwise.cli.common import Add, show


def add(add: Add) -> None:
    """Adds the commands."""
    add("run", _run, "bring everything up to date: collect, climb, register, promote")
    status = add("status", _status, "show each task's ladder, evidence, decision, reasons and champion")
    explain = add(
        "explain", _explain, "show each rung of the last climb: its scores, and why the climb continued or stopped"
    )
    explain.add_argument("task", metavar="TASK", nargs="?", help="a task of params.yaml; default: all")
    incumbent = add(
        "incumbent", _incumbent, "ask what you use today about the validation rows, to compare it with the rungs"
    )
    for command in (status, explain, incumbent):
        command.add_argument("--json", action="store_true", help="print JSON")


def _run(root: Path, arguments: argparse.Namespace) -> int:
    """Runs all steps and prints the status."""
    from rungwise.pipeline.repro import ReproRunner
    from rungwise.pipeline.steps import run
    from rungwise.report.read import status
    from rungwise.report.text import status_text

    del arguments
    run(root, ReproRunner())
    show(status_text(status(root)))
    return 0


def _status(root: Path, arguments: argparse.Namespace) -> int:
    """Prints the status of each task."""
    from rungwise.report.read import status, status_json

    current = status(root)
    if arguments.json:
        show(json.dumps(status_json(current), indent=1, ensure_ascii=False))
        return 0
    from rungwise.report.text import status_text

    show(status_text(current))
    return 0


def _explain(root: Path, arguments: argparse.Namespace) -> int:
    """Prints each rung's scores and why the climb continued or stopped."""
    from rungwise.report.read import explain, explain_json
    from rungwise.report.text import explain_text

    climbs = explain(root, arguments.task)
    is_json = arguments.json
    show(json.dumps(explain_json(climbs), indent=1, ensure_ascii=False) if is_json else explain_text(climbs))
    return 0


def _incumbent(root: Path, arguments: argparse.Namespace) -> int:
    """Asks the incumbent what the store does not have; the exit code is 1 if it answered nothing."""
    from rungwise.climbing.incumbent import ask_incumbent, incumbent_lines
    from rungwise.core.records import to_json
    from rungwise.workspace.layout import settings_of
    from rungwise.workspace.lock import locked

    settings = settings_of(root).incumbent  # report a missing params.yaml before the lock creates a folder
    with locked(root, "rungwise incumbent"):
        asked = ask_incumbent(root)
    if arguments.json:
        show(json.dumps({task: to_json(one) for task, one in asked.items()}, indent=1, ensure_ascii=False))
    else:
        show("\n".join(incumbent_lines(asked, settings.price if settings else None)))
    return 0 if any(one.answered for one in asked.values()) else 1
