"""Reads lines of `LABEL text` as the columns `label` and `text`."""

from collections.abc import Iterator
from pathlib import Path

from rungwise.config import SourceSettings
from rungwise.dataset.readers.csv_file import column_index
from rungwise.dataset.readers.opened import opened_text
from rungwise.dataset.readers.row import Bad, Row, checked


def labelled_rows(source: SourceSettings, path: Path, needed: tuple[str, ...]) -> Iterator[Row | Bad]:
    """Yields the rows of a file of labelled lines.

    Raises:
        DataError: a column other than `label` and `text` is needed.
    """
    columns = ["label", "text"]
    index_of = {name: column_index(source, name, columns, path) for name in needed}
    with opened_text(source, path) as stream:
        for line, text in enumerate(stream, start=1):
            cells = text.split(maxsplit=1)
            if len(cells) == 2:
                yield checked(line, {name: cells[place].strip() for name, place in index_of.items()})
            elif cells:
                yield Bad(line, "too_few_fields", "one word, wanted a label and a text")
