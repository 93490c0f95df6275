"""Names a new workspace and its task: they name what people see in MLflow and type on the command line."""

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from rungwise.config import check_name
from rungwise.core.errors import Problem, SettingsError
from rungwise.init.rows_file import RowsFile

_PLAIN = {
    "task", "answer", "answers", "completion", "label", "labels", "output", "outputs", "target", "targets", "class",
    "response", "result", "text", "value", "y",
}  # fmt: skip
"""Names of columns and folders that say nothing about a task."""


@dataclass(frozen=True)
class Names:
    """The names of a new workspace and of its task."""

    workspace: str
    """The name of its experiment in MLflow, and the beginning of its models' names."""
    task: str

    @property
    def models(self) -> str:
        """The names of the registered models (see `RegisterSettings.models`)."""
        return "{task}" if self.workspace == self.task else f"{self.workspace}-{{task}}"


def names_of(target: Path, file: RowsFile, task: str | None) -> Names:
    """Returns the names: the task's as given, or that of its answer column, or that of the folder."""
    folder = _name(target.resolve().name)
    parts = [_name(part) for part in file.answer.split(".")]
    column = "" if file.columns.one_hot or all(part in _PLAIN for part in parts) else _name(file.answer)
    telling = [name for name in (column, folder) if name and name not in _PLAIN]
    return Names(folder or "workspace", task or next(iter(telling), "answers"))


def _name(text: str) -> str:
    """Returns a text as a name (see `config.check_name`); an empty text if nothing is left, or YAML reads a value."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(c))
    name = re.sub(r"[^a-z0-9]+", "-", plain).lstrip("-0123456789")[:40].strip("-")
    return "" if name in ("true", "false", "null") else name


def check_task(task: str | None) -> None:
    """Raises SettingsError for a text that can't be the name of a task."""
    try:
        check_name("task" if task is None else task)
    except ValueError as error:
        raise SettingsError(
            Problem("a task can't have this name", where="--task", found=str(task)[:60], wanted=str(error))
        ) from None
