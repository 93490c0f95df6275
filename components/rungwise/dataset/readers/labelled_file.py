"""Reads lines of `LABEL text`, and of fastText's `__label__LABEL text`, as the columns `label` and `text`.

https://fasttext.cc/docs/en/supervised-tutorial.html
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rungwise.config import SourceSettings
from rungwise.dataset.readers.cells import Cell
from rungwise.dataset.readers.csv_file import column_index
from rungwise.dataset.readers.opened import opened_text
from rungwise.dataset.readers.row import Bad, Row, checked

FASTTEXT: Final = "__label__"
"""What each label begins with in fastText's format."""


def labelled_rows(source: SourceSettings, path: Path, needed: tuple[str, ...]) -> Iterator[Row | Bad]:
    """Yields the rows of a file of labelled lines.

    Raises:
        DataError: a column other than `label` and `text` is needed.
    """
    columns = ["label", "text"]
    index_of = {name: column_index(source, name, columns, path) for name in needed}
    with opened_text(source, path) as stream:
        for line, content in enumerate(stream, start=1):
            label, text = _label_and_text(content)
            if label and text:
                cells: tuple[Cell, str] = (label, text)
                yield checked(line, {name: cells[place] for name, place in index_of.items()})
            elif content.strip():
                yield Bad(line, "too_few_fields", "no label or no text, wanted both")


def _label_and_text(line: str) -> tuple[Cell, str]:
    """Returns the label of a line, a tuple of several ones, and its text."""
    labels: list[str] = []
    while line.lstrip().startswith(FASTTEXT):
        label, _, line = line.strip().partition(" ")
        labels.append(label.removeprefix(FASTTEXT))
    if labels:
        return (labels[0] if len(labels) == 1 else tuple(labels)), line.strip()
    first, *rest = line.split(maxsplit=1) or [""]
    return first, "".join(rest).strip()
