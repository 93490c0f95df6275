"""The `rungwise` command.

Exit codes: 0 done; 1 a gate refused (`promote`); 2 an error that the user can fix, printed without a traceback; 130
stopped by Ctrl-C.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from rungwise.cli import data, release, run, training, workspace
from rungwise.cli.common import show
from rungwise.core.errors import RungwiseError
from rungwise.core.progress import say
from rungwise.workspace.process import prepare_environment, workspace_root

_RESUMES = {
    "run": "; finished attempts are kept, run the same command again to continue",
    "generate": "; usable answers of a server are kept, run the same command again to continue",
}
"""Command -> what Ctrl-C leaves of its work."""


class _Version(argparse.Action):
    """Prints the version when it is asked for: looking it up costs more than the rest of the parser."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from rungwise import __version__

        show(f"rungwise {__version__}")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """Returns the command's parser; each command's arguments are defined with its action."""
    top = argparse.ArgumentParser(
        prog="rungwise",
        description="Fine-tune the smallest model that is good enough, and climb only when the evidence says so.",
        epilog="Commands work in the current folder, or in RUNGWISE_WORKSPACE.",
    )
    top.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")

    def add(name: str, act: Callable[[Path, argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(act=act)
        return command

    for group in (workspace, run, release, training, data):
        group.add(add)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    top = parser()
    arguments, rest = top.parse_known_args(argv)
    if rest:
        # argparse takes an optional word only where it follows the one before it: `predict TASK --json TEXT`
        if arguments.command != "predict" or arguments.text is not None or len(rest) > 1 or rest[0].startswith("-"):
            top.error(f"unrecognized arguments: {' '.join(rest)}")
        arguments.text = rest[0]
    if arguments.command is None:
        show(top.format_help().rstrip())
        return 0
    prepare_environment()
    warnings.showwarning = _show_warning
    try:
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
    """Shows a warning as one line, without the place in the code that it came from."""
    say(f"rungwise: warning: {message}")


if __name__ == "__main__":
    sys.exit(main())
