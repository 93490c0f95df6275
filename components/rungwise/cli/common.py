"""Types and functions that all commands use: adding a command, printing its result."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from rungwise.core.texts import visible

Act = Callable[[Path, argparse.Namespace], int]
"""Runs a command in a workspace; returns the exit code."""


class Add(Protocol):
    """Adds a command to the parser."""

    def __call__(self, name: str, act: Act, text: str) -> argparse.ArgumentParser:
        """Returns the command's own parser."""
        ...


def show(text: str) -> None:
    """Writes a result to standard output, text or JSON; text of rows in it can't control the terminal."""
    sys.stdout.write(visible(text) + "\n")
    sys.stdout.flush()  # a closed pipe raises here, where it is handled


def at_least_one(text: str) -> int:
    """Returns a number of the command line; it must be 1 or more."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number
