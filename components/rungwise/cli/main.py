"""The `rungwise` command. Here: init, run, status, explain, predict, promote, pin; the others stand in `commands`.

Exit codes: 0 done; 1 a gate said no (`promote` refused); 2 an error that a person can mend, with no traceback;
130 stopped by Ctrl-C.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rungwise.cli import data, training
from rungwise.cli.common import show
from rungwise.core.errors import Problem, RungwiseError, SettingsError
from rungwise.core.progress import say
from rungwise.workspace.lock import locked
from rungwise.workspace.process import prepare_environment, workspace_root


def _run(root: Path, arguments: argparse.Namespace) -> int:
    """Climbs, registers and promotes."""
    from rungwise.climbing.ladder import changed_bases, check_bases
    from rungwise.core.folders import joined
    from rungwise.pipeline import effects
    from rungwise.pipeline.stages import check_rows
    from rungwise.report.text import status_text
    from rungwise.workspace.dvc import reproduce
    from rungwise.workspace.layout import check_unchanged, settings_of, snapshot

    settings_of(root)  # a missing or wrong params.yaml is said before anything is made here
    with locked(root, "rungwise run"):
        settings, before = settings_of(root), snapshot(root)
        check_rows(root)
        check_bases(root, settings)
        code = reproduce(root, "augment") if settings.validate_.drift.severity == "stop" else 0
        if code == 0:
            effects.check_drift(root)
            code = reproduce(root)
        changed = changed_bases(root) if code == 0 else []
        if changed:
            say(f"rungwise: the files of base {joined(changed)} changed since the last climb; climbing again")
            code = reproduce(root, "--force", "--single-item", "climb")
        if code != 0:
            say("rungwise: the run stopped above; what was finished is kept: mend what is named there and run again")
            return 2
        accepted = effects.accept(root)
        for sentence in accepted:
            say(sentence)
        for task in settings.tasks:
            check_unchanged(root, before)
            registered = effects.register(root, task)
            say(registered.sentence)
            if registered.version is not None:
                action, reasons = effects.promote(root, task)
                say(f"{task}: {action}: {' '.join(reasons)}")
        show(status_text(effects.status(root)))
    return 0


def _status(root: Path, arguments: argparse.Namespace) -> int:
    """Says how each task stands."""
    from rungwise.pipeline.effects import status
    from rungwise.report.text import status_text

    found = status(root)
    show(json.dumps(found, indent=1, ensure_ascii=False) if arguments.json else status_text(found))
    return 0


def _explain(root: Path, arguments: argparse.Namespace) -> int:
    """Says what each rung showed and why the climb went on or stopped."""
    from rungwise.pipeline.effects import explain
    from rungwise.report.text import explain_text

    found = explain(root, arguments.task)
    show(json.dumps(found, indent=1, ensure_ascii=False) if arguments.json else explain_text(found))
    return 0


def _predict(root: Path, arguments: argparse.Namespace) -> int:
    """Answers one text with the champion."""
    from rungwise.pipeline.effects import answer

    if (arguments.text is None) == (not arguments.field):
        raise SettingsError(
            Problem("there is no text to answer", wanted='a "text", or --field NAME=TEXT for each slot')
        )
    fields = {}
    for pair in arguments.field:
        name, is_pair, value = pair.partition("=")
        if not is_pair:
            raise SettingsError(Problem("a field has no value", found=name[:40], wanted="--field NAME=TEXT"))
        fields[name] = value
    found = answer(root, arguments.task, fields, arguments.text)
    text = f"{found['answer']}  (probability {found['probability']:.2f}, version {found['version']})"
    show(json.dumps(found, ensure_ascii=False) if arguments.json else text)
    return 0


def _promote(root: Path, arguments: argparse.Namespace) -> int:
    """Asks the gate about the challenger."""
    from rungwise.pipeline.effects import promote
    from rungwise.workspace.layout import settings_of

    settings_of(root)
    with locked(root, "rungwise promote"):
        action, reasons = promote(root, arguments.task)
    if arguments.json:
        show(json.dumps({"action": action, "reasons": reasons}, ensure_ascii=False))
    else:
        show(f"{action}: " + "\n  ".join(reasons))
    return 1 if action == "refuse" else 0


def _pin(root: Path, arguments: argparse.Namespace) -> int:
    """Writes the hub's commits into params.yaml."""
    from rungwise.config import pin
    from rungwise.model.bases import newest_commit
    from rungwise.workspace.layout import Paths

    with locked(root, "rungwise pin"):
        found = pin(Paths(root).params, newest_commit)
    for name, commit in found.items():
        show(f"{name}@{commit}")
    if not found:
        show("no rung names a hub model without its commit; nothing was changed")
    return 0


def _init(root: Path, arguments: argparse.Namespace) -> int:
    """Makes a workspace from a file of rows."""
    from rungwise.init.init import init

    told = init(
        Path(arguments.dir),
        Path(arguments.rows),
        arguments.text,
        arguments.answer,
        records=arguments.records,
        test=Path(arguments.test) if arguments.test else None,
        test_records=arguments.test_records,
        dev=Path(arguments.dev) if arguments.dev else None,
        dev_records=arguments.dev_records,
        bases=arguments.base,
        ladder=arguments.ladder,
    )
    show("\n".join(told))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rungwise",
        description="Fine-tune the smallest model that is good enough, and climb only when the evidence says so.",
        epilog="Commands work in the current folder, or in RUNGWISE_WORKSPACE.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, act: Callable[[Path, argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(act=act)
        return command

    data.add(add)
    training.add(add)
    add("run", _run, "from the rows in data/raw to a champion: dvc repro, register, promote")
    status = add("status", _status, "ladder, evidence, decision and its reasons, champion")
    explain = add(
        "explain", _explain, "each rung of the last climb: what it showed, and why the climb went on or stopped"
    )
    predict = add("predict", _predict, "the champion's answer to a text")
    promote = add("promote", _promote, "let the test rows judge the challenger; exit code 1 if they refuse it")
    for command in (predict, promote):
        command.add_argument("task", metavar="TASK", help="a task of params.yaml")
    predict.add_argument("text", nargs="?", metavar="TEXT", help="fills the prompt's only slot")
    predict.add_argument("--field", action="append", default=[], metavar="NAME=TEXT", help="fills a slot by name")
    add("pin", _pin, "ask the hub for the commit of each base that has none, and write it into params.yaml")
    init = add("init", _init, "a workspace of one's own from a file of rows: guesses the task and says why")
    init.add_argument("dir", metavar="DIR", help="the workspace's folder; it is made, or joins its git repository")
    init.add_argument(
        "--rows",
        required=True,
        metavar="FILE",
        help="CSV, TSV, JSON, JSON lines, or lines of a label and a text (.label)",
    )
    init.add_argument("--text", required=True, metavar="COLUMN", help="what is read")
    init.add_argument("--answer", required=True, metavar="COLUMN", help="what is to be answered")
    init.add_argument("--dev", metavar="FILE", help="rows that steer, where you have split them yourself")
    init.add_argument("--test", metavar="FILE", help="rows that judge, where you have split them yourself")
    init.add_argument("--records", default="[]", metavar="PATH", help="where a JSON file's rows stand, as `train.[]`")
    for name in ("--dev-records", "--test-records"):
        init.add_argument(name, metavar="PATH", help="the same for those; without their file, of the file of --rows")
    init.add_argument("--base", action="append", default=[], metavar="MODEL", help="a folder or hub name; repeatable")
    init.add_argument("--ladder", metavar="NAME", help="a preset of infra/ladders")
    explain.add_argument("task", metavar="TASK", nargs="?", help="a task of params.yaml; all without it")
    for command in (status, explain, predict, promote):
        command.add_argument("--json", action="store_true", help="print JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    if rest:
        # argparse takes an optional word only where it follows the one before it: `predict TASK --json TEXT`
        if arguments.command != "predict" or arguments.text is not None or len(rest) > 1 or rest[0].startswith("-"):
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        arguments.text = rest[0]
    prepare_environment()
    try:
        return int(arguments.act(workspace_root(), arguments))
    except RungwiseError as error:
        say(f"rungwise: {error}")
        return 2
    except KeyboardInterrupt:
        kept = {
            "run": "; finished attempts are kept, the same command goes on from there",
            "generate": "; usable answers of a server are kept, the same command goes on from there",
        }
        say(f"rungwise: stopped{kept.get(arguments.command, '; the same command does it again')}")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
