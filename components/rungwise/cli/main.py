"""The `rungwise` command.

Exit codes: 0 success; 1 the gate refuses the challenger (`promote`); 2 an error that the user can fix, printed without
a traceback; 130 stopped by Ctrl-C.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from rungwise.cli import bases, data, release, run, training, workspace
from rungwise.cli.common import show
from rungwise.core.disk import disk_errors
from rungwise.core.errors import RungwiseError
from rungwise.core.progress import say
from rungwise.workspace.process import prepare_environment, workspace_root

_RESUMES = {
    "run": "; finished attempts are kept, run the same command again to continue",
    "incumbent": "; the server's answers are kept, run the same command again to continue",
    "generate": "; usable answers of a server are kept, run the same command again to continue",
}
"""Command -> what its message after Ctrl-C says about resuming."""


class _Version(argparse.Action):
    """Prints the version. It is looked up only on request, because that takes longer than building the parser."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from rungwise import __version__

        show(f"rungwise {__version__}")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """Returns the command's parser. The arguments of each subcommand are defined next to its action."""
    top = argparse.ArgumentParser(
        prog="rungwise",
        description="Fine-tune the smallest model that is good enough, and climb to a larger one only on evidence.",
        epilog="Commands work in the current folder, or in RUNGWISE_WORKSPACE.",
    )
    top.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")

    def add(name: str, act: Callable[[Path, argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(act=act)
        return command

    for group in (workspace, run, release, training, bases, data):
        group.add(add)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    top = parser()
    arguments, rest = top.parse_known_args(argv)
    if rest:
        # argparse does not accept an optional positional after an option: `predict TASK --json TEXT`
        if arguments.command != "predict" or arguments.text is not None or len(rest) > 1 or rest[0].startswith("-"):
            top.error(f"unrecognized arguments: {' '.join(rest)}")
        arguments.text = rest[0]
    if arguments.command is None:
        show(top.format_help().rstrip())
        return 0
    prepare_environment()
    warnings.showwarning = _show_warning
    try:
        with disk_errors():
            return int(arguments.act(workspace_root(), arguments))
    except RungwiseError as error:
        say(f"rungwise: {error}")
        return 2
    except KeyboardInterrupt:
        say(f"rungwise: stopped{_RESUMES.get(arguments.command, '; run the same command again to repeat it')}")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Shows a warning as one line, without its place in the code."""
    say(f"rungwise: warning: {message}")


if __name__ == "__main__":
    sys.exit(main())
