"""The files that come with the package: dvc.yaml, presets of ladders, the pocket bases.

They are in the package's folder, both in a clone and in an installed wheel.
"""

from importlib.resources import files
from pathlib import Path
from typing import Final

from rungwise.core.errors import Problem, WorkspaceError

POCKET_BASES: Final = ("pocket-s", "pocket-m", "pocket-l")
"""The bases that come with the package, smallest first. A rung uses one with `base: pocket-s`."""


def package_file(*parts: str) -> Path:
    """Returns the path of a file or folder of the package; `parts` are relative to `rungwise/`.

    Raises:
        WorkspaceError: the file is missing in this installation.
    """
    path = Path(str(files("rungwise"))).joinpath(*parts)
    if not path.exists():
        raise WorkspaceError(
            Problem(
                "a file is missing in this installation of rungwise",
                where=str(path),
                wanted="/".join(("rungwise", *parts)),
                do="install rungwise again: `pip install --force-reinstall --no-deps rungwise`",
            )
        )
    return path


def pocket_base(name: str) -> Path | None:
    """Returns the folder of a base that comes with the package; None if `name` is not one of them.

    Raises:
        WorkspaceError: the base is missing in this installation.
    """
    return package_file("init", "models", name) if name in POCKET_BASES else None
