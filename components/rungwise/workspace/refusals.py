"""Rungs that passed a climb and that the test rows refused: a file between the promotion gate and the climb.

The climb never reads test rows. It depends on this file, which the gate derives from its ledger, so that DVC runs it
again after a refusal. It holds no scores and no times: equal refusals are equal bytes.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from rungwise.core.errors import Problem, WorkspaceError
from rungwise.core.folders import check_conflicts, json_text, read_json, replace_text
from rungwise.core.records import from_json


@dataclass(frozen=True, order=True)
class Refusal:
    """An attempt that today's test rows refused."""

    task: str
    attempt: str
    """The attempt's digest."""
    metric: str
    bar: float
    """The bar that it did not reach, 0 to 1."""


def read_refusals(path: Path) -> tuple[Refusal, ...]:
    """Returns the refusals of a workspace; a missing file has none.

    Raises:
        WorkspaceError: the file can't be read.
    """
    if not path.is_file():
        return ()
    try:
        return tuple(from_json(Refusal, row) for row in read_json(path))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        check_conflicts(path)
        raise WorkspaceError(
            Problem(
                "the refusals of the test rows can't be read",
                where=str(path),
                found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
                wanted="a JSON list as `rungwise run` writes it",
                do="`rungwise run` writes it again, from the ledger",
            )
        ) from None


def write_refusals(path: Path, refusals: Iterable[Refusal]) -> bool:
    """Writes the refusals, sorted; returns whether they differ from those that were there."""
    text = json_text([asdict(one) for one in sorted(refusals)])
    if path.is_file() and path.read_bytes() == text.encode():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, text)
    return True
