"""Everything that Rungwise raises on purpose, each with one message that says what to do.

    RungwiseError
    ├── SettingsError        params.yaml or a command's argument is not what was wanted
    ├── DataError            rows or files that the run can't go on with
    ├── ModelError           a base model, tokenizer, template or adapter that can't be used
    ├── TrainingError        a training that must not go on (non-finite loss)
    ├── WorkspaceError       the folder, its lock, its recorded state
    │   ├── WorkspaceBusy    somebody else holds the lock
    │   └── ChangedUnderRun  an input was edited while a run was using it
    └── RegistryError        MLflow's answer, a missing version, a failed proof

Every class takes exactly one argument, so that it survives pickling between processes.
"""


class RungwiseError(Exception):
    """A fault that a person can mend; the command line prints it without a traceback and exits 2."""


class SettingsError(RungwiseError):
    """params.yaml or a command's argument is not what was wanted."""


class DataError(RungwiseError):
    """Rows or files that the run can't go on with."""


class ModelError(RungwiseError):
    """A base model, tokenizer, template or adapter that can't be used."""


class TrainingError(RungwiseError):
    """A training that must not go on."""


class GenerateError(RungwiseError):
    """A generator that can't go on: refused, out of budget, or failing again and again."""


class WorkspaceError(RungwiseError):
    """The workspace's folder, lock or recorded state is not usable."""


class WorkspaceBusy(WorkspaceError):
    """Another process holds the workspace's lock."""


class ChangedUnderRun(WorkspaceError):
    """An input was edited while a run was using it."""


class RegistryError(RungwiseError):
    """The registry refused, lacks a version, or holds one that fails its proof."""


def problem(what: str, *, where: str = "", found: str = "", wanted: str = "", do: str = "") -> str:
    """Returns the one message of an error: what, then where, found, wanted and what to do, a line each."""
    parts = (("where", where), ("found", found), ("wanted", wanted), ("do", do))
    return "\n".join([_shown(what), *(f"  {name + ':':<7} {_shown(text)}" for name, text in parts if text)])


def _shown(text: str) -> str:
    """Returns text in which what would steer a terminal is spelt out; lines stay lines."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
