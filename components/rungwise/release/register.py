"""Registers a task's climb in MLflow: a run per attempt, and the attempt that passed as the challenger."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rungwise.climbing.ladder import BEST, last_climb
from rungwise.config import Settings
from rungwise.core.folders import is_sealed
from rungwise.core.prompts import slots
from rungwise.core.records import digest
from rungwise.workspace.layout import Paths, data_version, settings_of


@dataclass(frozen=True)
class Registration:
    """The result of registering one task's climb."""

    task: str
    rung: str | None
    """The rung that passed; None if none did, and then nothing was registered."""
    version: int | None
    """The challenger's version in the registry; None if no rung passed."""


def split_version(settings: Settings) -> str:
    """Returns the short name of the rules that split the rows.

    Under the same rules a row never moves from training to test.
    """
    roles = sorted((s.name, s.role) for s in settings.ingest.sources if s.role)
    rules = {**settings.split.model_dump(mode="json"), "min_test": 200}  # a setting that was here until version 0.2
    return digest([rules, roles])[:12]


def register(
    root: Path, task: str, prove: Callable[[Path], None] | None = None, *, source: str = "rungwise run"
) -> Registration:
    """Logs a run per attempt of the task's climb, and registers the attempt that passed, if any, as challenger.

    `prove`: proves the model in a folder; default: in a process of its own. See `parity.Prover`. `source`: the
    command or function that does this, which MLflow shows.

    Raises:
        WorkspaceError: the task was not climbed yet.
        RegistryError: MLflow refuses, or the stored model does not reload with equal logits.
    """
    from rungwise.release import parity
    from rungwise.release.abstain import shown_by
    from rungwise.release.connection import Connection
    from rungwise.release.leftovers import remove_leftovers
    from rungwise.release.pictures import pictures_of
    from rungwise.release.registry import Registry
    from rungwise.release.runs import log_climb
    from rungwise.release.versions import add_version

    settings, climb = settings_of(root), last_climb(root, task)
    connection, data = Connection(root), data_version(root)
    folders = {e.rung: Paths(root).attempts / f"train-{e.attempt}" for e in climb.evidence}
    attempts = {rung: folder if is_sealed(folder) else None for rung, folder in folders.items()}
    shown = shown_by(root, settings, climb, climb.decision.rung)
    pictures = pictures_of(climb, Paths(root).output("climb") / task / "predictions", *shown)
    runs = log_climb(connection, settings.register_.experiment, climb, attempts, data, pictures=pictures, source=source)
    remove_leftovers(connection, task, Registry(root).model(task), [evidence.attempt for evidence in climb.evidence])
    rung = climb.decision.rung
    if rung is None or not climb.decision.passes:
        return Registration(task, None, None)
    attempt_files = Paths(root).output("climb") / task / BEST
    prove = prove or functools.partial(parity.prove, root=root)
    names = slots(settings.task(task).prompt)
    version = add_version(root, climb, attempt_files, runs[rung], data, split_version(settings), prove, slots=names)
    return Registration(task, rung, version.number)
