"""The first rows of a file, and its columns with an example each."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from rungwise.config import SourceSettings
from rungwise.core.folders import joined
from rungwise.dataset.readers import Cell, Row, columns, object_in, rows, text_of

SAMPLED_ROWS = 300
SHOWN_CHARACTERS = 40
"""Longest example of a cell in a message."""


def sampled(source: SourceSettings, path: Path) -> dict[str, list[Cell]]:
    """Returns column -> its cells in the first rows that can be read."""
    plain = source.model_copy(update={"columns": {}})
    names = tuple(name for name, n in Counter(columns(source, path)).items() if n == 1 and name)
    if names and not any(_readable(plain, path, names)):  # a column that is not text does not hide the others
        names = tuple(name for name in names if any(_readable(plain, path, (name,)))) or names
    sample: dict[str, list[Cell]] = {name: [] for name in names}
    for row in islice(_readable(plain, path, names) if names else (), SAMPLED_ROWS):
        for name in names:
            sample[name].append(row.values[name])
    return sample


def _readable(source: SourceSettings, path: Path, names: tuple[str, ...]) -> Iterator[Row]:
    return (row for row in rows(source, path, names) if isinstance(row, Row))


def examples(sample: Mapping[str, Sequence[Cell]]) -> str:
    """Returns the columns with an example each, as one line; of an object, each of its keys."""
    shown = []
    for name, cells in sample.items():
        first = next((text_of(cell) for cell in cells if cell), "")
        keys = object_in(first) if first else None
        for path, text in {f"{name}.{key}": str(value) for key, value in keys.items()}.items() if keys else ():
            shown.append(f"{path} ({_shortened(text)})")
        if not keys:
            shown.append(f"{name} ({_shortened(first)})" if first else f"{name} (empty)")
    return joined(shown, 20) if shown else "no columns"


def _shortened(text: str) -> str:
    return f"{text[:SHOWN_CHARACTERS]!r}{'...' if len(text) > SHOWN_CHARACTERS else ''}"
