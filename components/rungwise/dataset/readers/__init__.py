"""Reads the rows of a source file one by one: each is a mapping of columns to text, or the reason why it can't be read.

Reads CSV/TSV (RFC 4180 quoting), JSON lines, nested JSON, lines of `LABEL text`, Parquet, and the Arrow files of
Hugging Face `datasets`. An error in one row is a `Bad` value that the caller counts. An error in the whole
file (missing, empty, cut off, a missing column) is a DataError.
"""

from rungwise.dataset.readers.row import LOST_BYTE, Bad, Row
from rungwise.dataset.readers.source import files, rows

__all__ = ["LOST_BYTE", "Bad", "Row", "files", "rows"]
