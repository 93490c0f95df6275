"""The commands for a workspace itself: init, pin, upgrade; and the completion for shells."""

import argparse
from pathlib import Path

from rungwise.cli.common import Add, show
from rungwise.core.errors import Problem, SettingsError


def add(add: Add) -> None:
    """Adds the commands."""
    init = add("init", _init, "make a workspace from a file of rows; it guesses the task and prints its reasons")
    init.add_argument("dir", metavar="DIR", help="the workspace's folder; it is created if it does not exist")
    init.add_argument(
        "--rows",
        required=True,
        action="append",
        metavar="FILE",
        help="the rows: a file, a folder or a pattern (CSV, TSV, JSON, JSON lines, Parquet, Arrow, lines of a label "
        "and a text; also .gz and .zip); can be repeated",
    )
    init.add_argument(
        "--text", metavar="COLUMN", help="the column that the model reads, or several: A,B; guessed by default"
    )
    init.add_argument("--answer", metavar="COLUMN", help="the column with the right answers; guessed by default")
    init.add_argument("--task", metavar="NAME", help="the task's name; by default from the answer column or the folder")
    init.add_argument("--dev", metavar="FILE", help="validation rows, if you have split them yourself")
    init.add_argument("--test", metavar="FILE", help="test rows, if you have split them yourself")
    init.add_argument("--encoding", metavar="NAME", help="the text encoding, such as cp1252; found out by default")
    init.add_argument(
        "--no-header",
        action="store_true",
        help="the first row of a table is a row, not a header; columns are [0], [1] ...",
    )
    init.add_argument(
        "--records",
        metavar="PATH",
        help="the path of the rows in a JSON file, such as `train.[]`; found out by default",
    )
    for name in ("--dev-records", "--test-records"):
        init.add_argument(
            name, metavar="PATH", help="the same for validation or test rows; without their file, in the file of --rows"
        )
    init.add_argument(
        "--base",
        action="append",
        default=[],
        metavar="MODEL",
        help="a folder, a GGUF file, a hub name, or one of `rungwise bases`; can be repeated",
    )
    init.add_argument(
        "--ladder", metavar="NAME", help="a preset of hub models: smollm2, gemma3, qwen3, llama3 or pythia"
    )
    completion = add("completion", _completion, "print a script that completes commands and options in a shell")
    completion.add_argument(
        "shell", choices=("bash", "zsh", "tcsh"), help="source the script in the shell's start file"
    )
    add("pin", _pin, "add the newest commit of each hub model to params.yaml, unless it has one")
    add("upgrade", _upgrade, "update params.yaml and dvc.yaml of an older version of rungwise")


def _init(root: Path, arguments: argparse.Namespace) -> int:
    """Makes a workspace from a file of rows."""
    from rungwise.init.init import init

    del root
    for option in ("rows", "dev", "test"):
        given = getattr(arguments, option)
        if given == "" or (option == "rows" and "" in given):  # an empty path is the current folder
            raise SettingsError(Problem(f"--{option} is empty", wanted="a file, a folder or a pattern"))
    lines = init(
        Path(arguments.dir),
        [Path(path) for path in arguments.rows],
        arguments.text,
        arguments.answer,
        records=arguments.records,
        test=Path(arguments.test) if arguments.test else None,
        test_records=arguments.test_records,
        dev=Path(arguments.dev) if arguments.dev else None,
        dev_records=arguments.dev_records,
        bases=arguments.base,
        ladder=arguments.ladder,
        encoding=arguments.encoding,
        has_header=False if arguments.no_header else None,
        task=arguments.task,
    )
    show("\n".join(lines))
    return 0


def _completion(root: Path, arguments: argparse.Namespace) -> int:
    """Prints a shell's completion script; needs no workspace."""
    import shtab

    from rungwise.cli.main import parser

    del root
    show(shtab.complete(parser(), arguments.shell).rstrip())
    return 0


def _pin(root: Path, arguments: argparse.Namespace) -> int:
    """Adds the commits of hub models to params.yaml."""
    from rungwise.config import pin
    from rungwise.model.bases import newest_commit
    from rungwise.workspace.layout import Paths
    from rungwise.workspace.lock import locked

    del arguments
    with locked(root, "rungwise pin"):
        pinned = pin(Paths(root).params, newest_commit)
    for name, commit in pinned.items():
        show(f"{name}@{commit}")
    if not pinned:
        show("every hub model on the ladder has its commit; nothing was changed")
    return 0


def _upgrade(root: Path, arguments: argparse.Namespace) -> int:
    """Updates a workspace of an older version."""
    from rungwise.workspace.lock import locked
    from rungwise.workspace.upgrade import upgrade

    del arguments
    with locked(root, "rungwise upgrade"):
        lines = upgrade(root)
    show("\n".join(lines) or "this workspace is up to date; nothing was changed")
    return 0
