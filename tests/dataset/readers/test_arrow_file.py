import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rungwise.config import SourceSettings
from rungwise.core.errors import DataError
from rungwise.dataset.readers import Row, files, rows
from tests.dataset.conftest import CHAT, read, tables


def arrow_table():
    import pyarrow as pa

    features = {
        "queue": {"names": ["billing", "repair"], "_type": "ClassLabel"},
        "body": {"dtype": "string", "_type": "Value"},
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.table({"body": ["one", None, "three"], "queue": [1, 0, -1]}).replace_schema_metadata(metadata)


def test_parquet_and_arrow_files_and_folders_of_them(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    folder = tmp_path / "saved"
    folder.mkdir()
    parquet.write_table(arrow_table(), tmp_path / "x.parquet")
    with (
        pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as stream,
        pa.ipc.new_stream(stream, arrow_table().schema) as writer,
    ):
        writer.write_table(arrow_table())
    with (
        pa.OSFile(str(tmp_path / "file.arrow"), "wb") as stream,
        pa.ipc.new_file(stream, arrow_table().schema) as writer,
    ):
        writer.write_table(arrow_table())
    (folder / "state.json").write_text("{}")
    (found,) = files(SourceSettings(name="s", path="saved"), tmp_path)
    assert found.name == "data-00000-of-00001.arrow"
    for path in (tmp_path / "x.parquet", tmp_path / "file.arrow", found):
        assert list(rows(SourceSettings(name="s", path="x"), path, ("body", "queue"))) == [
            Row(1, {"body": "one", "queue": "repair"}),
            Row(2, {"body": None, "queue": "billing"}),
            Row(3, {"body": "three", "queue": None}),  # -1: no class
        ]
    half = (tmp_path / "x.parquet").read_bytes()
    with pytest.raises(DataError, match=r"(?s)can't be read.*cut off"):
        read(tmp_path, half[: len(half) // 2], "half.parquet")
    with pytest.raises(DataError, match="can't be read"):
        read(tmp_path, found.read_bytes()[:200], "half.arrow")
    with pytest.raises(DataError, match="column is missing"):
        read(tmp_path, half, "whole.parquet", ("nothing",))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables, st.sampled_from([("body", "queue"), CHAT]))
def test_any_parquet_table_gives_rows_or_one_clear_error(tmp_path, table, needed):
    import pyarrow as pa
    from pyarrow import parquet

    try:
        columns = {name: [row.get(name) for row in table] for name in {key for row in table for key in row}}
        parquet.write_table(pa.table(columns), tmp_path / "x.parquet")
    except (pa.ArrowException, OverflowError, UnicodeError):
        return  # no such table can be written
    try:
        list(rows(SourceSettings(name="s", path="x"), tmp_path / "x.parquet", needed))
    except DataError:
        return
