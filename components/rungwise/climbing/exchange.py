"""A rung's attempt as a bundle: packed for another machine, and its result unpacked into the store."""

from pathlib import Path
from typing import TYPE_CHECKING

from rungwise.climbing.rungs import run_options, task_climb, training_rows
from rungwise.config import Settings
from rungwise.core.errors import Problem, RungwiseError, SettingsError, WorkspaceError
from rungwise.core.folders import joined
from rungwise.core.methods import METHODS
from rungwise.workspace.layout import Paths, settings_of

if TYPE_CHECKING:
    from rungwise.attempts.bundle import Bundle


def pack(root: Path, task: str, rung: str, folder: Path) -> str:
    """Writes a rung's attempt as a bundle that another machine can run; returns the attempt's name.

    Raises:
        RungwiseError: there is no such task or rung, the rung does not train, its rows are not split yet, or `folder`
            holds other files.
    """
    from rungwise.attempts import bundle as bundles

    settings = settings_of(root)
    settings.task(task)
    trainable = [r.name for r in settings.ladder if METHODS[r.method].travels]
    if rung not in trainable:
        raise SettingsError(
            Problem(
                "there is no such rung to train",
                where="params.yaml: ladder",
                found=rung[:60],
                wanted=f"one of {joined(trainable)}"
                if trainable
                else "a rung with a method that another machine can train: this ladder has none",
            )
        )
    bundle = _bundle(root, settings, task, rung)
    bundles.pack(folder, bundle, with_base=True)
    return bundle.name


def unpack(root: Path, folder: Path) -> tuple[str, tuple[str, ...]]:
    """Stores the result of a bundle; returns the attempt's name, and `task/rung` for each rung that it belongs to.

    Raises:
        WorkspaceError: the bundle was not run or was changed after its run, or its result is not that of a rung: it was
            changed, or params.yaml, the prepared rows or the base changed after it was packed.
    """
    from rungwise.attempts import bundle as bundles

    name, expected = bundles.name_of(folder), _expected(root)
    places = tuple(place for place, bundle in expected.items() if bundle.name == name)
    if not places:
        raise WorkspaceError(
            Problem(
                "a result belongs to no rung of this workspace",
                where=str(folder),
                found=f"attempt {name[:12]}",
                wanted=joined(f"{bundle.name[:12]} for {place}" for place, bundle in expected.items()),
                do="restore params.yaml, the rows and the base with which it was packed (`rungwise run` prepares the "
                "rows); or pack the rung again, and run the new bundle",
            )
        )
    bundles.unpack(folder, expected[places[0]], Paths(root).attempts)
    return name, places


def _expected(root: Path) -> "dict[str, Bundle]":
    """Returns `task/rung` -> the attempt that a climb would run for it.

    A rung whose rows or base are missing is left out.
    """
    settings, expected = settings_of(root), {}
    for task in settings.tasks:
        for rung in (r.name for r in settings.ladder if METHODS[r.method].travels):
            try:
                expected[f"{task}/{rung}"] = _bundle(root, settings, task, rung)
            except RungwiseError:  # its rows are not prepared or its base is missing, so no climb could run it
                continue
    return expected


def _bundle(root: Path, settings: Settings, task: str, rung: str) -> "Bundle":
    from rungwise.attempts.run import bundle_of

    climb = task_climb(root, settings, task)
    spec = climb.spec(rung)
    rows, eval_rows = training_rows(climb.train, spec)
    return bundle_of(spec, rows, root, eval_rows=eval_rows, options=run_options(climb, rung))
