"""Runs one bundle: `python -m rungwise.attempts BUNDLE`, alone or under a launcher of several processes.

It needs only torch, transformers, peft, accelerate, pandas and pydantic, for method `embed` scikit-learn too. The first
process writes the result.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rungwise.attempts import bundle as bundles
from rungwise.attempts.launch import ERROR, PROGRESS
from rungwise.attempts.run import RunOptions, train_attempt
from rungwise.attempts.store import attempt_digest, versions_of
from rungwise.core.errors import Problem, RungwiseError, WorkspaceError
from rungwise.core.folders import check_plain, sweep
from rungwise.core.progress import LineProgress, say
from rungwise.workspace.process import prepare_environment


def run(folder: Path, root: Path | None = None, *, for_a_parent: bool = False, allow_code: str = "") -> Path:
    """Runs the bundle in `folder`; returns the result's folder.

    Args:
        folder: the bundle.
        root: the folder that the base's path is relative to, by default the bundle.
        for_a_parent: whether `launched` started this process and reads its lines.
        allow_code: the hash of the base's code that may run; empty: none may.

    Raises:
        WorkspaceError: it is not a bundle, holds a link, or was packed for other libraries than this machine has.
        ModelError: it needs code of its base that was not allowed.
        RungwiseError: the training fails.
    """
    rank = int(os.environ.get("RANK", "0"))
    if not rank and folder.exists():  # the others write nothing here, and would see files that the first one removes
        check_plain(folder.resolve())
    bundle = bundles.read(folder, root)
    bundles.check_code(bundle, allow_code)
    digest_here = attempt_digest(bundle.spec, bundle.rows, bundle.root, bundle.eval_rows)
    if digest_here != bundle.name:
        raise WorkspaceError(
            Problem(
                "the attempt would be a different one on this machine",
                where=str(folder),
                found=", ".join(f"{name} {number}" for name, number in versions_of(bundle.spec).items()),
                wanted=", ".join(f"{name} {number}" for name, number in bundle.versions.items())
                + ", and the base that it was packed with",
                do="install these versions and the Rungwise that packed the bundle, or pack it with the versions found",
            )
        )
    store = folder / bundles.RESULT
    if store.exists() and not store.is_dir():
        raise WorkspaceError(
            Problem("a result can't be written", where=str(store), found="a file", wanted="a folder", do="remove it")
        )
    options = RunOptions(
        checkpoint_steps=bundle.options["checkpoint_steps"],
        limits=bundle.options["limits"],
        shown=folder / "audit.txt",
        resume=store / f"resume-{bundle.name}",
        say=(lambda text: say(f"note: {text}")) if for_a_parent else say,
    )
    if rank:
        with tempfile.TemporaryDirectory() as discarded:
            train_attempt(
                Path(discarded),
                bundle.spec,
                bundle.rows,
                bundle.root,
                _silent,
                eval_rows=bundle.eval_rows,
                options=options,
            )
        return store
    sweep(store)  # partial results of a killed run of this bundle
    show = _to_the_parent if for_a_parent else LineProgress("train")
    return train_attempt(
        store, bundle.spec, bundle.rows, bundle.root, show, eval_rows=bundle.eval_rows, options=options
    ).folder


def _silent(done: int, total: int, what: str) -> None:
    del done, total, what


def _to_the_parent(done: int, total: int, what: str) -> None:
    say(PROGRESS + json.dumps([done, total, what]))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one bundle; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m rungwise.attempts", description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--root", type=Path, help="folder that the base's path is relative to (default: the bundle)")
    parser.add_argument("--allow-code", metavar="HASH", default="", help="hash of the base's code that may run")
    parser.add_argument("--for-a-parent", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    prepare_environment()
    try:
        result = run(
            arguments.bundle, arguments.root, for_a_parent=arguments.for_a_parent, allow_code=arguments.allow_code
        )
    except RungwiseError as error:
        report = ERROR + json.dumps([type(error).__name__, asdict(error.problem)])
        say(report if arguments.for_a_parent else f"rungwise: {error}")
        return 2
    if not arguments.for_a_parent and int(os.environ.get("RANK", "0")) == 0:
        say(f"the result is {result}; copy {arguments.bundle} back and run `rungwise unpack` on it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
