"""The commands about a workspace itself: init, pin, upgrade."""

import argparse
from pathlib import Path

from rungwise.cli.common import Add, show


def add(add: Add) -> None:
    """Adds the commands."""
    init = add("init", _init, "make a workspace from a file of rows; guesses the task and says why")
    init.add_argument("dir", metavar="DIR", help="the workspace's folder; it is created, or joins its git repository")
    init.add_argument(
        "--rows",
        required=True,
        metavar="FILE",
        help="CSV, TSV, JSON, JSON lines, or lines of a label and a text (.label)",
    )
    init.add_argument("--text", required=True, metavar="COLUMN", help="the column that the model reads")
    init.add_argument("--answer", required=True, metavar="COLUMN", help="the column with the right answers")
    init.add_argument("--dev", metavar="FILE", help="validation rows, if you have split them yourself")
    init.add_argument("--test", metavar="FILE", help="test rows, if you have split them yourself")
    init.add_argument("--records", default="[]", metavar="PATH", help="where the rows are in a JSON file: `train.[]`")
    for name in ("--dev-records", "--test-records"):
        init.add_argument(name, metavar="PATH", help="the same for those; without their file, in the file of --rows")
    init.add_argument("--base", action="append", default=[], metavar="MODEL", help="a folder or hub name; repeatable")
    init.add_argument("--ladder", metavar="NAME", help="a preset: qwen3, pythia")
    add("pin", _pin, "ask the hub for the commit of each base that has none, and write it into params.yaml")
    add("upgrade", _upgrade, "adapt params.yaml and dvc.yaml of an older version of rungwise to this one")


def _init(root: Path, arguments: argparse.Namespace) -> int:
    """Makes a workspace from a file of rows."""
    from rungwise.init.init import init

    del root
    lines = init(
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
    show("\n".join(lines))
    return 0


def _pin(root: Path, arguments: argparse.Namespace) -> int:
    """Writes the hub's commits into params.yaml."""
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
        show("no rung names a hub model without its commit; nothing was changed")
    return 0


def _upgrade(root: Path, arguments: argparse.Namespace) -> int:
    """Adapts an older workspace."""
    from rungwise.workspace.lock import locked
    from rungwise.workspace.upgrade import upgrade

    del arguments
    with locked(root, "rungwise upgrade"):
        lines = upgrade(root)
    show("\n".join(lines) or "this workspace is up to date; nothing was changed")
    return 0
