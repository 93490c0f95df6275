"""Where things lie in a workspace, what each stage depends on, and whether that changed under a run.

The only file that knows paths under data/. A snapshot is taken when a run starts and compared before anything is
written or recorded, so that nothing is recorded that was not run.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rungwise.config import SECTIONS, Settings, parse, read_raw
from rungwise.core.errors import ChangedUnderRun, Problem, SettingsError
from rungwise.core.folders import MARKER, file_digest, open_sealed, tree_digests
from rungwise.core.recipes import RECIPES
from rungwise.core.records import digest

PARAMS: Mapping[str, tuple[str, ...]] = {
    "ingest": ("tasks", "ingest", "split"),
    "validate": ("tasks", "validate"),
    "split": ("tasks", "split"),
    "augment": ("seed", "tasks", "augment"),
    "climb": ("seed", "tasks", "ladder", "train", "evaluate", "decide"),
}
"""The sections of params.yaml that each stage's output depends on; dvc.yaml repeats them."""


@dataclass(frozen=True)
class Paths:
    """Where things lie in a workspace."""

    root: Path

    @property
    def params(self) -> Path:
        """The settings."""
        return self.root / "params.yaml"

    @property
    def raw(self) -> Path:
        """The rows as they came."""
        return self.root / "data" / "raw"

    def output(self, verb: str) -> Path:
        """The folder that a verb's stage writes."""
        return self.root / "data" / verb

    @property
    def attempts(self) -> Path:
        """The store of attempts: RUNGWISE_ATTEMPTS, otherwise data/attempts."""
        return Path(os.environ.get("RUNGWISE_ATTEMPTS") or self.root / "data" / "attempts")

    @property
    def history(self) -> Path:
        """A line for every accepted version of the rows."""
        return self.root / "data" / "versions.jsonl"

    @property
    def versions(self) -> Path:
        """Each accepted version's profile and lock file."""
        return self.root / "data" / "versions"

    @property
    def ledger(self) -> Path:
        """Every look at test rows."""
        return self.root / "data" / "promote" / "ledger.jsonl"


@dataclass(frozen=True)
class Snapshot:
    """What a run must find unchanged at its end: name of a section or file -> digest."""

    inputs: Mapping[str, str]


def data_version(root: Path) -> str:
    """Returns the short name (12 hexadecimal digits) of the split and augmented rows.

    Reads the folders' seals alone, so that it costs nothing; whoever reads the rows checks them.

    Raises:
        WorkspaceError: the rows are not prepared.
    """
    seals = {verb: Paths(root).output(verb) / MARKER for verb in ("split", "augment")}
    for verb, seal in seals.items():
        if not seal.is_file():
            open_sealed(seal.parent, verb)  # says so
    return digest([seal.read_text(encoding="utf-8") for seal in seals.values()])[:12]


def settings_of(root: Path) -> Settings:
    """Returns the workspace's settings; raises SettingsError."""
    return parse(read_raw(Paths(root).params), str(Paths(root).params))


def snapshot(root: Path) -> Snapshot:
    """Returns the digests of everything that a user may edit while a run is on."""
    values = read_raw(Paths(root).params)
    inputs = {f"params.yaml: {name}": digest(values.get(name)) for name in SECTIONS}
    inputs |= {f"data/raw/{name}": found for name, found in tree_digests(Paths(root).raw).items()}
    graph = root / "dvc.yaml"
    return Snapshot(inputs | ({"dvc.yaml": file_digest(graph)} if graph.is_file() else {}))


def check_unchanged(root: Path, before: Snapshot) -> None:
    """Returns if nothing in `before` has changed since.

    Raises:
        ChangedUnderRun: naming every section and file that did.
    """
    now = snapshot(root)
    names = dict.fromkeys((*before.inputs, *now.inputs))
    changed = [name for name in names if now.inputs.get(name) != before.inputs.get(name)]
    if changed:
        raise ChangedUnderRun(
            Problem(
                "an input was changed while the run was using it",
                where=str(root),
                found="changed: " + ", ".join(changed),
                wanted="the same inputs from the start of a run to its end",
                do="run again; finished attempts are not trained twice",
            )
        )


def stage_command(verb: str, recipe: int) -> str:
    """Returns the command by which dvc.yaml runs a stage.

    `exec` makes the stage DVC's own child; `-P` keeps folders of the workspace from hiding installed packages.
    """
    return f"exec python -P -m rungwise.pipeline.stages {verb} --recipe {recipe}"


def check_recipe(root: Path, verb: str, recipe: int | None = None) -> None:
    """Checks that dvc.yaml runs this version's recipe of a stage; `recipe`: the number that it passed, if it did.

    Raises:
        SettingsError: dvc.yaml was written for another version, so DVC would take its outputs for this version's.
    """
    graph = root / "dvc.yaml"
    text = graph.read_text(encoding="utf-8") if graph.is_file() else ""
    if recipe is None:
        named = re.search(rf"rungwise\.pipeline\.stages {verb} --recipe (\d+)", text)
        recipe = int(named.group(1)) if named else None
    if recipe != RECIPES[verb]:
        raise SettingsError(
            Problem(
                "dvc.yaml was written for another recipe of a stage",
                where=f"{graph}: {verb}",
                found="no such command" if recipe is None else f"--recipe {recipe}",
                wanted=stage_command(verb, RECIPES[verb]),
                do="`rungwise upgrade` corrects dvc.yaml",
            )
        )


def check_graph(root: Path) -> None:
    """Checks that dvc.yaml runs the stages of this version, before DVC runs what an older version wrote.

    Raises:
        SettingsError: it does not, or is not there.
    """
    for verb in RECIPES:
        check_recipe(root, verb)
