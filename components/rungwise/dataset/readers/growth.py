"""Whether a Parquet or packed file stays within bounds when it is read: a kilobyte can hold gigabytes of repeated text.

Pages of Parquet are compressed, and a value that repeats is stored once. Both are counted before a row is read.
https://parquet.apache.org/docs/file-format/data-pages/encodings/
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rungwise.core.errors import DataError, Problem
from rungwise.core.texts import number_of

MAX_GROWTH: Final = 200
"""Most bytes of memory for each byte of a file. Text becomes 2 to 20 times as large."""
FREE_BYTES: Final = 64 * 2**20
"""So much memory may be used by any file."""
_ROW_BYTES: Final = 64
"""What a row takes at least."""


def check_growth(path: Path, columns: Sequence[str] | None) -> None:
    """Checks that some columns of a Parquet file, or all of them, do not grow beyond bounds.

    Raises:
        DataError: they do.
    """
    from pyarrow import parquet

    metadata = parquet.read_metadata(path)
    limit = growth_limit(path)
    leaves = [metadata.schema.column(i) for i in range(metadata.num_columns)]
    chosen = [i for i, leaf in enumerate(leaves) if columns is None or leaf.path.split(".")[0] in columns]
    groups = range(metadata.num_row_groups)
    pages = sum(metadata.row_group(g).column(i).total_uncompressed_size for g in groups for i in chosen)
    check_size(path, pages + _ROW_BYTES * metadata.num_rows, limit)
    texts = [leaves[i].path for i in chosen if leaves[i].physical_type == "BYTE_ARRAY"]
    total = _ROW_BYTES * metadata.num_rows
    with parquet.ParquetFile(path, read_dictionary=texts) as file:
        for group in groups:
            for name in texts:
                (column,) = file.read_row_group(group, columns=[name]).columns
                total += sum(_text_bytes(chunk) for chunk in column.chunks)
                check_size(path, total, limit)


def _text_bytes(array: Any) -> int:
    """Returns the bytes of all texts in a column whose values are stored once each."""
    import pyarrow as pa
    from pyarrow import compute

    while not pa.types.is_dictionary(array.type):
        if array.type.num_fields == 0:
            return int(array.nbytes)
        array = array.field(0) if pa.types.is_struct(array.type) else array.flatten()
    lengths = compute.binary_length(array.dictionary)
    return int(compute.sum(compute.take(lengths, array.indices)).as_py() or 0)


def growth_limit(path: Path) -> int:
    """Returns how many bytes a file may stand for."""
    return max(FREE_BYTES, MAX_GROWTH * path.stat().st_size)


def check_size(path: Path, size: int, limit: int) -> None:
    """Checks that a file unpacks to at most `limit` bytes.

    Raises:
        DataError: it unpacks to more.
    """
    if size > limit:
        raise DataError(
            Problem(
                "a file grows too much when it is read",
                where=str(path),
                found=f"{number_of(path.stat().st_size, 'byte')} that unpack to more than {size:,}",
                wanted=f"at most {limit:,}",
                do="don't use it if it comes from others; otherwise write its rows as JSON lines",
            )
        )
