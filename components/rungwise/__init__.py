"""Fine-tune the smallest language model that is good enough, and climb to a larger one only when the evidence says so.

    from rungwise import Workspace

    workspace = Workspace("tickets")
    workspace.run()
    print(workspace.predict("route", "The zip of my tent is stuck").answer)

`Workspace`, `RungwiseError` and `__version__` are the promised interface; the modules below may change.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rungwise.api import Workspace
    from rungwise.core.errors import RungwiseError

    __version__: str

__all__ = ["RungwiseError", "Workspace", "__version__"]


def __getattr__(name: str) -> Any:
    """Loads a public name when it is first used, so that `import rungwise` costs nothing."""
    if name == "Workspace":
        from rungwise.api import Workspace

        return Workspace
    if name == "RungwiseError":
        from rungwise.core.errors import RungwiseError

        return RungwiseError
    if name == "__version__":
        from importlib.metadata import version

        return version("rungwise")
    raise AttributeError(f"module 'rungwise' has no attribute {name!r}")
