"""Rows of a source file, one by one: a mapping of columns to text, or a reason why the row can't be read.

Reads CSV/TSV (RFC 4180 quoting), JSON lines, nested JSON, lines of `LABEL text`, Parquet, and the Arrow files of
Hugging Face `datasets`. A fault of one row is a `Bad` value that the caller counts; a fault of the whole file
(missing, empty, cut off, no such column) is a DataError.
"""

from rungwise.dataset.readers.row import LOST_BYTE, Bad, Row
from rungwise.dataset.readers.source import files, rows

__all__ = ["LOST_BYTE", "Bad", "Row", "files", "rows"]
