"""Everything that Rungwise raises on purpose. Each error carries one Problem that says what to do.

    RungwiseError
    ├── SettingsError        params.yaml or a command's argument is not valid
    ├── DataError            rows or files that the run can't continue with
    ├── ModelError           a base model, tokenizer, template or adapter that can't be used
    ├── TrainingError        a training run that must not continue (non-finite loss)
    ├── GenerateError        a generator that can't continue: refused, out of budget, or failing again and again
    ├── WorkspaceError       the folder, its lock, its recorded state
    │   ├── WorkspaceBusy    another process holds the lock
    │   └── ChangedUnderRun  an input was edited while a run was using it
    └── RegistryError        MLflow's answer, a missing version, a failed proof

Every class takes exactly one argument, so that it survives pickling between processes.
"""

from dataclasses import dataclass

from rungwise.core.texts import visible


@dataclass(frozen=True)
class Problem:
    """What is wrong and what to do about it. Code reads the fields; text is made where it is shown."""

    what: str
    """The fault in one line, without the particulars."""
    where: str = ""
    """File and key, command option, base, row."""
    found: str = ""
    wanted: str = ""
    do: str = ""
    """The next thing to try."""
    setting: str = ""
    """The setting at fault, where a command has an option of its own for it: `columns`, `format`, `records`, `base`."""
    is_transient: bool = False
    """Whether the same call may succeed later without a change: a server that can't be reached, or is too busy."""

    def __str__(self) -> str:
        """Returns the message: what, then where, found, wanted and do, each on a line of its own where it is given."""
        parts = (("where", self.where), ("found", self.found), ("wanted", self.wanted), ("do", self.do))
        return "\n".join([visible(self.what), *(f"  {name + ':':<7} {visible(text)}" for name, text in parts if text)])

    @property
    def line(self) -> str:
        """The message on one line."""
        return " ".join(str(self).split())


class RungwiseError(Exception):
    """A fault that the user can fix. The command line prints it without a traceback and exits with 2."""

    def __init__(self, problem: Problem | str) -> None:
        self.problem = problem if isinstance(problem, Problem) else Problem(problem)
        super().__init__(self.problem)


class SettingsError(RungwiseError):
    """params.yaml or a command's argument is not valid."""


class DataError(RungwiseError):
    """Rows or files that the run can't continue with."""


class ModelError(RungwiseError):
    """A base model, tokenizer, template or adapter that can't be used."""


class TrainingError(RungwiseError):
    """A training run that must not continue."""


class GenerateError(RungwiseError):
    """A generator that can't continue: refused, out of budget, or failing again and again."""


class WorkspaceError(RungwiseError):
    """The workspace's folder, lock or recorded state is not usable."""


class WorkspaceBusy(WorkspaceError):
    """Another process holds the workspace's lock."""


class ChangedUnderRun(WorkspaceError):
    """An input was edited while a run was using it."""


class RegistryError(RungwiseError):
    """The registry refused, lacks a version, or holds one that fails its proof."""
