"""The commands run, status, explain and incumbent."""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

from rungwise.cli.common import Add, show


def add(add: Add) -> None:
    """Adds the commands."""
    run = add("run", _run, "bring everything up to date: collect, climb, register, promote")
    run.add_argument("--task", metavar="TASK", help="climb, register and promote only this task")
    run.add_argument("--dry-run", action="store_true", help="say what would run and why, and run nothing")
    run.add_argument("-v", "--verbose", action="store_true", help="also show DVC's messages and the stages' commands")
    status = add("status", _status, "show each task's ladder, evidence, decision, reasons and champion")
    explain = add(
        "explain", _explain, "show each rung of the last climb: its scores, and why the climb continued or stopped"
    )
    explain.add_argument("task", metavar="TASK", nargs="?", help="a task of params.yaml; default: all")
    incumbent = add(
        "incumbent", _incumbent, "ask what you use today about the validation rows, to compare it with the rungs"
    )
    for command in (run, status, explain, incumbent):
        command.add_argument("--json", action="store_true", help="print JSON")


def _run(root: Path, arguments: argparse.Namespace) -> int:
    """Runs all steps and prints the status, or only says what would run."""
    from rungwise.pipeline.repro import ReproRunner
    from rungwise.pipeline.steps import run
    from rungwise.report.read import status, status_json
    from rungwise.report.run import planned_text, results_json
    from rungwise.report.text import status_text

    if arguments.dry_run:
        from rungwise.pipeline.planned import planned

        steps = planned(root, arguments.task)
        show(json.dumps([asdict(step) for step in steps], indent=1) if arguments.json else planned_text(steps))
        return 0
    runner = ReproRunner(verbose=arguments.verbose, prepares_first=arguments.task is not None)
    results = run(root, runner, arguments.task)
    current = status(root)
    if arguments.task:
        current = replace(current, tasks={arguments.task: current.tasks[arguments.task]})
    if arguments.json:
        printed = {"results": results_json(results), **status_json(current)}
        show(json.dumps(printed, indent=1, ensure_ascii=False))
    else:
        show(status_text(current))
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
