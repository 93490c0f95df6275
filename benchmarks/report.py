"""The interface that all benchmarks share: arguments, figures, the last printed line and the recorded result.

A result is `{"benchmark": NAME, "machine": ..., "figures": {name: {"value", "goal", "met", "unit", "peer"}}}`. The last
line that a benchmark prints is its result as JSON. `--write` stores the result in `benchmarks/results/NAME.json`,
with the raw measurements under "detail". Standard library only, because `benchmarks.gpu` runs on machines that have
nothing but the training libraries.
"""

import argparse
import json
import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

RESULTS: Final = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Figure:
    """One measured value and what it is compared with."""

    value: float | None
    goal: float | None = None
    """None: the figure is reported and has no goal."""
    met: bool | None = None
    """Whether the goal is met; None without a goal."""
    unit: str = ""
    peer: str | float | None = None
    """The other program or rule: its name where `value` is relative to it, otherwise its own value."""


def at_least(value: float, goal: float | None, unit: str = "", peer: str | float | None = None) -> Figure:
    """Returns a figure that meets its goal if it is as large as the goal or larger."""
    return Figure(value, goal, None if goal is None else value >= goal, unit, peer)


def at_most(value: float, goal: float | None, unit: str = "", peer: str | float | None = None) -> Figure:
    """Returns a figure that meets its goal if it is as small as the goal or smaller."""
    return Figure(value, goal, None if goal is None else value <= goal, unit, peer)


def parser(doc: str | None, *, quick: str, needs_source: str = "") -> argparse.ArgumentParser:
    """Returns a parser of the shared arguments.

    Args:
        doc: the module's docstring, shown by `--help`.
        quick: what `--quick` measures.
        needs_source: what the folder given with `--source` has to contain; empty if the benchmark needs no data.
    """
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if needs_source:
        made.add_argument("--source", type=Path, required=True, metavar="FOLDER", help=f"contains {needs_source}")
    made.add_argument("--quick", action="store_true", help=f"tiny input, at most a minute: {quick}")
    made.add_argument("--write", action="store_true", help=f"store the result in {RESULTS.name}/")
    return made


def machine(*more: str) -> str:
    """Returns the machine in a few words: architecture, cores, `more`, Python's version."""
    return ", ".join([platform.machine(), f"{os.cpu_count()} cores", *more, f"Python {platform.python_version()}"])


def slug(name: str) -> str:
    """Returns a name as part of a file name: `NVIDIA H100` becomes `nvidia-h100`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def publish(
    benchmark: str,
    figures: Mapping[str, Figure],
    detail: Mapping[str, Any],
    options: argparse.Namespace,
    *,
    machine: str,
    suffix: str = "",
) -> None:
    """Prints the result as the last line; with `--write` stores it together with `detail`.

    A quick result never replaces a recorded one: it goes to NAME-quick.json. `suffix` is appended to NAME, for example
    the name of a GPU.
    """
    result = {"benchmark": benchmark, "machine": machine, "figures": {name: asdict(f) for name, f in figures.items()}}
    if options.write:
        stem = "-".join(part for part in (benchmark, suffix, "quick" if options.quick else "") if part)
        path = RESULTS / f"{stem}.json"
        path.write_text(json.dumps({**result, "detail": detail}, indent=1) + "\n", encoding="utf-8")
        print(f"stored in {path}", file=sys.stderr)
    print(json.dumps(result), flush=True)
