"""Updates a workspace of an older version: renamed settings in params.yaml, the stages' commands in dvc.yaml.

A stage whose recipe number did not change keeps its record in dvc.lock, so that it does not run again.
"""

import re
from pathlib import Path
from typing import Final

from rungwise.config import rename_settings
from rungwise.core.folders import replace_text
from rungwise.core.recipes import RECIPES
from rungwise.workspace.layout import Paths, stage_command
from rungwise.workspace.refusals import write_refusals
from rungwise.workspace.resources import package_file

_FIGURES: Final = "# What `dvc metrics`"
"""The part of dvc.yaml from here on names what DVC shows."""
_COMMAND: Final = re.compile(
    r"exec python (?:-P )?-m (?:components\.stages|rungwise\.pipeline\.stages) (\w+) --recipe (\d+)"
)
"""A stage's command as written by any version."""

_OLD_DEPS: Final = "deps: [data/augment, data/split]"
_DEPS: Final = "deps: [data/augment, data/promote/refusals.json, data/split]"


def upgrade(root: Path) -> list[str]:
    """Updates the workspace's files to this version; returns the changes, one line each.

    Raises:
        SettingsError: params.yaml can't be read, or is written in a form that can't be edited.
    """
    lines = [f"params.yaml: {old} is now {new}" for old, new in rename_settings(Paths(root).params).items()]
    for name, keeps_recipe in (("dvc.yaml", False), ("dvc.lock", True)):
        path = root / name
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")

        def current(match: re.Match[str], keeps_recipe: bool = keeps_recipe) -> str:
            verb, recipe = match[1], int(match[2])
            if verb not in RECIPES:
                return match[0]
            return stage_command(verb, recipe if keeps_recipe else RECIPES[verb])

        if (changed := _COMMAND.sub(current, text)) != text:
            lines.append(f"{name}: updated the commands of the stages")
        if not keeps_recipe and (more := _with_bars_and_figures(changed)) != changed:
            changed = more
            lines.append(f"{name}: the climb depends on `bars`, and DVC shows its scores")
        if not keeps_recipe and (more := changed.replace(_OLD_DEPS, _DEPS)) != changed:
            changed = more
            lines.append(f"{name}: the climb depends on the refusals of the test rows")
        if changed != text:
            replace_text(path, changed)
    if not Paths(root).refusals.is_file():
        write_refusals(Paths(root).refusals, ())
        lines.append("data/promote/refusals.json: the test rows refused no rung yet")
    return lines


def _with_bars_and_figures(graph: str) -> str:
    """Returns dvc.yaml with the section `bars` as a parameter of the climb, and with the files that DVC shows."""
    graph = graph.replace("params: [seed, tasks, ladder,", "params: [seed, tasks, bars, ladder,")
    if re.search(r"^(metrics|plots):", graph, flags=re.MULTILINE):
        return graph
    own = package_file("init", "graph.yaml").read_text(encoding="utf-8")
    return graph.rstrip("\n") + "\n" + own[own.index(_FIGURES) :]
