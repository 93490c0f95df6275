"""Finds the labels in the exports of annotation tools, next to the columns that the tools keep for themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rungwise.dataset.readers import Cell, text_of
from rungwise.dataset.readers.exports import DECISIONS, is_label_studio

_LABEL_STUDIO: Final = ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement")
"""What Label Studio's JSON-MIN and CSV add to a row."""
_PRODIGY: Final = ("answer", "options", "config", "meta", "score", "priority", "spans", "tokens")
"""What Prodigy adds to a row, in addition to names that begin with `_`."""
_PRODIGY_ANSWERS: Final = ("accept", "user_input", "label")
"""Where Prodigy writes what was chosen, typed or decided about."""


@dataclass(frozen=True)
class Export:
    """What is known of a tool's export."""

    kept: frozenset[str]
    """Columns that are no task's text or answer."""
    answer: str | None = None
    """The column with the labels, if the tool says which one it is."""
    sentence: str = ""
    """How decisions are read, if `answer` is."""

    def sentences(self, answer: str | None) -> list[str]:
        """Returns what is said if a column is the answer."""
        return [self.sentence] if self.sentence and answer == self.answer else []

    def free(self, sample: Mapping[str, Sequence[Cell]]) -> dict[str, Sequence[Cell]]:
        """Returns the columns that may be the text or the answer."""
        return {name: cells for name, cells in sample.items() if name not in self.kept}


def export_of(sample: Mapping[str, Sequence[Cell]]) -> Export:
    """Returns what is known of the tool that exported a file; of other files nothing."""
    if is_label_studio(sample):
        return Export(frozenset(_LABEL_STUDIO))
    decisions = {text_of(cell) for cell in sample.get("answer", ())}
    if "_task_hash" not in sample or not decisions <= {*DECISIONS, ""}:
        return Export(frozenset())
    kept = frozenset(name for name in sample if name.startswith("_") or name in _PRODIGY)
    several = (name for name in _PRODIGY_ANSWERS if len({*sample.get(name, ())} - {None, ()}) > 1)
    if answer := next(several, None):
        return Export(
            kept, answer, "A Prodigy export: a row whose `answer` is not accept has no label, and is left out."
        )
    if any(sample.get("spans", ())):
        return Export(kept, "spans")
    return Export(
        kept,
        "answer",
        "A Prodigy export with one label: the answers are its decisions, accept and reject; the other "
        "rows are left out.",
    )
