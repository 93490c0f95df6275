"""Reads Parquet files, and Arrow files as Hugging Face `datasets` writes them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from rungwise.config import SourceSettings
from rungwise.core.errors import DataError, Problem
from rungwise.dataset.readers.chats import is_chat
from rungwise.dataset.readers.growth import check_growth
from rungwise.dataset.readers.objects import check_columns, first_key, picked
from rungwise.dataset.readers.row import Bad, Note, Row

CHUNK_ROWS: Final = 5_000
"""Rows that are held as Python objects at a time."""


def arrow_rows(source: SourceSettings, path: Path, needed: tuple[str, ...]) -> Iterator[Row | Bad | Note]:
    """Yields the rows of a Parquet or Arrow file; class labels become their names.

    Raises:
        DataError: the file can't be read, or a needed column is missing.
    """
    import pyarrow as pa
    from pyarrow import parquet

    def batches() -> Iterator[Any]:
        if path.suffix.lower() == ".parquet" or source.format == "parquet":
            with parquet.ParquetFile(path) as file:
                columns = _columns_to_read(source, needed, file.schema_arrow)
                check_growth(path, columns)
                yield from file.iter_batches(batch_size=CHUNK_ROWS, columns=columns)
            return
        with pa.memory_map(str(path)) as stream:
            try:
                chunks: Any = pa.ipc.open_stream(stream)
            except pa.ArrowInvalid:
                file = pa.ipc.open_file(stream)
                chunks = (file.get_batch(i) for i in range(file.num_record_batches))
            for batch in chunks:
                yield from (batch.slice(at, CHUNK_ROWS) for at in range(0, batch.num_rows, CHUNK_ROWS))

    seen: set[str] = set()
    line = 0
    try:
        for batch in batches():
            seen.update(batch.schema.names)
            labels = _class_labels(batch.schema)
            for value in batch.to_pylist():
                line += 1
                named = {key: _class_name(value.get(key), names) for key, names in labels.items()}
                yield picked(source, line, {**value, **named}, needed)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(
            Problem(
                "a file can't be read",
                where=str(path),
                found=str(error).splitlines()[0][:200],
                wanted="a complete Parquet or Arrow file",
                do="copy it again: it may be cut off",
            )
        ) from None
    check_columns(source, path, needed, seen, line)


def arrow_columns(source: SourceSettings, path: Path) -> list[str]:
    """Returns the columns of a Parquet or Arrow file; none if it can't be read."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        if path.suffix.lower() == ".parquet" or source.format == "parquet":
            return list(parquet.read_schema(path).names)
        with pa.memory_map(str(path)) as stream:
            try:
                return list(pa.ipc.open_stream(stream).schema.names)
            except pa.ArrowInvalid:
                return list(pa.ipc.open_file(stream).schema.names)
    except (pa.ArrowException, OSError):
        return []


def _columns_to_read(source: SourceSettings, needed: tuple[str, ...], schema: Any) -> list[str] | None:
    """Returns the columns of a Parquet file to read, or None to read all of them."""
    first = {first_key(source.columns.get(name, name)) for name in needed}
    names = [name for name in schema.names if name in first]
    return names if len(names) == len(first) and not is_chat(schema.names, source.chat) else None


def _class_labels(schema: Any) -> dict[str, list[str]]:
    """Returns column -> names of its classes, or of those in its lists, from the metadata that `datasets` writes."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        inner = {name: _item_of(feature) for name, feature in features.items()}
        classes = {name: one["names"] for name, one in inner.items() if one.get("_type") == "ClassLabel"}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {name: names for name, names in classes.items() if all(isinstance(n, str) for n in names)}


def _item_of(feature: Any) -> Any:
    """Returns the type of a list's items, or the type of another column itself."""
    if isinstance(feature, list):
        return feature[0]
    return feature["feature"] if feature.get("_type") in ("Sequence", "List", "LargeList") else feature


def _class_name(value: Any, names: list[str]) -> Any:
    """Returns the name of a class, or the names of a list of classes; None for -1, which means that there is no label.

    Any other value is returned unchanged.
    """
    if isinstance(value, list):
        return [_class_name(one, names) for one in value]
    if not isinstance(value, int) or isinstance(value, bool) or value >= len(names):
        return value
    return names[value] if value >= 0 else None
