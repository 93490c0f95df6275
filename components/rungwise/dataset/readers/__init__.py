"""Reads the rows of a source file one by one: each is its cells, or the reason why it can't be read.

Reads CSV/TSV, JSON lines, nested or column-wise JSON, lines of `LABEL text`, Parquet, and the Arrow files of Hugging
Face `datasets`; text files also inside .gz and .zip. An error in one row is a `Bad` value that the caller counts. What
a reader decided or doubts about a whole file is a `Note`. An error in the whole file (missing, empty, cut off, a
missing column) is a DataError.
"""

from rungwise.dataset.readers.cells import Cell, list_in, object_in, text_of, value_in
from rungwise.dataset.readers.chats import columns_of_turns, columns_read, ends_with_a_reply, is_chat, is_conversation
from rungwise.dataset.readers.dialect import dialect_of, named_delimiter, opened_csv
from rungwise.dataset.readers.json_file import document_of, lists_in
from rungwise.dataset.readers.json_records import COLUMN_WISE, TABLE, has_rows_by_id, is_column_wise, table_in
from rungwise.dataset.readers.opened import beginning, opened, opened_text, wide_encoding
from rungwise.dataset.readers.row import LOST_BYTE, Bad, Note, Row
from rungwise.dataset.readers.source import columns, files, files_in, form_of, rows

__all__ = [
    "COLUMN_WISE", "LOST_BYTE", "TABLE", "Bad", "Cell", "Note", "Row", "beginning", "columns", "columns_of_turns",
    "columns_read", "dialect_of", "document_of", "ends_with_a_reply", "files", "files_in", "form_of", "has_rows_by_id",
    "is_chat", "is_column_wise", "is_conversation", "list_in", "lists_in", "named_delimiter", "object_in", "opened",
    "opened_csv", "opened_text", "rows", "table_in", "text_of", "value_in", "wide_encoding",
]  # fmt: skip
