"""Files that come with the package: dvc.yaml, presets of ladders, the pocket bases.

They are found beside the modules, in a clone and in an installed wheel alike.
"""

from importlib.resources import files
from pathlib import Path
from typing import Final

from rungwise.core.errors import Problem, WorkspaceError

POCKET_BASES: Final = ("pocket-s", "pocket-m", "pocket-l")
"""The bases that come with the package, smallest first; a rung names one as `base: pocket-s`."""


def package_file(*parts: str) -> Path:
    """Returns the path of a file or folder of the package, given from `rungwise/` on.

    Raises:
        WorkspaceError: this installation lacks it.
    """
    path = Path(str(files("rungwise"))).joinpath(*parts)
    if not path.exists():
        raise WorkspaceError(
            Problem(
                "this installation of rungwise lacks a file",
                where=str(path),
                wanted="/".join(("rungwise", *parts)),
                do="install rungwise again: `pip install --force-reinstall --no-deps rungwise`",
            )
        )
    return path


def pocket_base(name: str) -> Path | None:
    """Returns the folder of a base that comes with the package; None where `name` is not one.

    Raises:
        WorkspaceError: it is one, but this installation lacks it.
    """
    return package_file("init", "models", name) if name in POCKET_BASES else None
