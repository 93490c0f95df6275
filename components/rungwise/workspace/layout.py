"""The paths of a workspace, the inputs of each stage, and the check that inputs did not change during a run.

No other file builds paths under data/. A snapshot of the inputs is taken when a run starts and compared before anything
is written or recorded, so that recorded results always belong to the recorded inputs.
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
    "climb": ("seed", "tasks", "bars", "ladder", "train", "evaluate", "decide"),
}
"""The sections of params.yaml that each stage's output depends on; dvc.yaml repeats them."""


REFUSALS = "data/promote/refusals.json"
"""The only file that a stage depends on and that DVC does not keep: git does."""


@dataclass(frozen=True)
class Paths:
    """The paths of a workspace."""

    root: Path

    @property
    def params(self) -> Path:
        """params.yaml."""
        return self.root / "params.yaml"

    @property
    def raw(self) -> Path:
        """The folder of the unchanged source files."""
        return self.root / "data" / "raw"

    def output(self, verb: str) -> Path:
        """The output folder of a stage."""
        return self.root / "data" / verb

    @property
    def attempts(self) -> Path:
        """The store of attempts: RUNGWISE_ATTEMPTS, by default data/attempts."""
        return Path(os.environ.get("RUNGWISE_ATTEMPTS") or self.root / "data" / "attempts")

    @property
    def history(self) -> Path:
        """The log of the accepted versions of the rows, one line each."""
        return self.root / "data" / "versions.jsonl"

    @property
    def versions(self) -> Path:
        """The profile and lock file of each accepted version."""
        return self.root / "data" / "versions"

    @property
    def incumbent(self) -> Path:
        """The folder with the incumbent's answers to the validation rows, one folder for each task."""
        return self.root / "data" / "incumbent"

    @property
    def ledger(self) -> Path:
        """The ledger: a line for every look at the test set."""
        return self.root / "data" / "promote" / "ledger.jsonl"

    @property
    def refusals(self) -> Path:
        """The rungs that today's test rows refused; the climb depends on it."""
        return self.root / REFUSALS

    def alone(self, task: str) -> Path:
        """The climb of one task alone, for `status` and `explain`; nothing is registered from it."""
        return self.root / ".rungwise" / "alone" / f"{task}.json"


@dataclass(frozen=True)
class Snapshot:
    """The inputs of a run, which must not change until it ends: name of a section or file -> digest."""

    inputs: Mapping[str, str]


def data_version(root: Path) -> str:
    """Returns the short name (12 hexadecimal digits) of the split and augmented rows.

    It reads only the folders' seals, which is fast. Opening the rows checks them.

    Raises:
        WorkspaceError: the rows are not prepared yet.
    """
    seals = {verb: Paths(root).output(verb) / MARKER for verb in ("split", "augment")}
    for verb, seal in seals.items():
        if not seal.is_file():
            open_sealed(seal.parent, verb)  # raises the error
    return digest([seal.read_text(encoding="utf-8") for seal in seals.values()])[:12]


def settings_of(root: Path) -> Settings:
    """Returns the workspace's settings; raises SettingsError."""
    return parse(read_raw(Paths(root).params), str(Paths(root).params))


def snapshot(root: Path) -> Snapshot:
    """Returns the digests of everything that a user may edit during a run."""
    values = read_raw(Paths(root).params)
    inputs = {f"params.yaml: {name}": digest(values.get(name)) for name in SECTIONS}
    inputs |= {f"data/raw/{name}": value for name, value in tree_digests(Paths(root).raw).items()}
    graph = root / "dvc.yaml"
    return Snapshot(inputs | ({"dvc.yaml": file_digest(graph)} if graph.is_file() else {}))


def check_unchanged(root: Path, before: Snapshot) -> None:
    """Checks that no input has changed since `before`.

    Raises:
        ChangedUnderRun: it names every section and file that changed.
    """
    now = snapshot(root)
    names = dict.fromkeys((*before.inputs, *now.inputs))
    changed = [name for name in names if now.inputs.get(name) != before.inputs.get(name)]
    if changed:
        raise ChangedUnderRun(
            Problem(
                "an input changed during the run",
                where=str(root),
                found="changed: " + ", ".join(changed),
                wanted="the same inputs from the start of the run to its end",
                do="run again; finished attempts are not trained again",
            )
        )


def stage_command(verb: str, recipe: int) -> str:
    """Returns a stage's command in dvc.yaml.

    `exec` makes the stage a direct child of DVC. `-P` prevents folders of the workspace from hiding installed packages.
    """
    return f"exec python -P -m rungwise.pipeline.stages {verb} --recipe {recipe}"


def check_recipe(root: Path, verb: str, recipe: int | None = None) -> None:
    """Checks that dvc.yaml runs this version's recipe of a stage.

    Args:
        root: the workspace.
        verb: the stage.
        recipe: the recipe number that dvc.yaml passed; None reads it from the file.

    Raises:
        SettingsError: dvc.yaml is missing, or is for another version: DVC would mistake old outputs for this one's.
    """
    graph = root / "dvc.yaml"
    if not graph.is_file():
        raise SettingsError(
            Problem(
                "there is no dvc.yaml here",
                where=str(graph),
                wanted="the pipeline of a Rungwise workspace",
                do="restore it from git or a copy; `rungwise init` writes an equal one into a new workspace",
            )
        )
    if recipe is None:
        text = graph.read_text(encoding="utf-8")
        named = re.search(rf"rungwise\.pipeline\.stages {verb} --recipe (\d+)", text)
        recipe = int(named.group(1)) if named else None
    if recipe != RECIPES[verb]:
        raise SettingsError(
            Problem(
                "dvc.yaml is for another version of a stage",
                where=f"{graph}: {verb}",
                found="no such command" if recipe is None else f"--recipe {recipe}",
                wanted=f"--recipe {RECIPES[verb]}",
                do="run `rungwise upgrade`, which updates dvc.yaml",
            )
        )


def check_graph(root: Path) -> None:
    """Checks that dvc.yaml runs the stages of this version, before DVC runs those of an older one.

    Raises:
        SettingsError: it does not, or it is missing.
    """
    for verb in RECIPES:
        check_recipe(root, verb)
