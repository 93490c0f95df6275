"""Files that are small on the disk and large in memory are refused before a row is read."""

import gzip
import zipfile

import pytest

from rungwise.core.errors import DataError
from rungwise.dataset.readers import growth
from rungwise.dataset.readers.growth import check_growth
from tests.dataset.conftest import read


def written(path, columns, **more):
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table(columns), path, compression="zstd", **more)
    return path


def repeated(n_rows, n_characters):
    """A column of one long text, which takes its memory once."""
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(pa.array([0] * n_rows, pa.int32()), ["a" * n_characters])


@pytest.mark.parametrize("kind", ["pages", "dictionary", "rows", "chats"])
def test_a_file_that_grows_a_thousandfold_is_refused(tmp_path, kind):
    import pyarrow as pa

    texts = repeated(2_000, 100_000)  # 200 MB
    queue = repeated(2_000, 4)
    match kind:
        case "pages":
            path = written(
                tmp_path / "x.parquet", {"body": ["a" * 1_000_000] * 70, "queue": ["b"] * 70}, use_dictionary=False
            )
        case "dictionary":
            path = written(tmp_path / "x.parquet", {"body": texts, "queue": queue})
        case "rows":
            path = written(tmp_path / "x.parquet", {"body": repeated(2_000_000, 4), "queue": repeated(2_000_000, 4)})
        case "chats":
            turns = pa.StructArray.from_arrays([repeated(2_000, 4), texts], ["role", "content"])
            path = written(tmp_path / "x.parquet", {"messages": pa.ListArray.from_arrays(list(range(2_001)), turns)})
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match="grows too much"):
        check_growth(path, None)
    if kind != "chats":
        with pytest.raises(DataError, match="grows too much"):
            read(tmp_path, path.read_bytes(), "y.parquet")


def test_only_the_columns_that_are_read_count(tmp_path, monkeypatch):
    path = written(
        tmp_path / "x.parquet", {"body": ["one", None], "other": ["a" * 5_000] * 2, "n": [1, 2], "l": [["x"], None]}
    )
    monkeypatch.setattr(growth, "FREE_BYTES", 1_000)
    monkeypatch.setattr(growth, "MAX_GROWTH", 1)
    check_growth(path, ["body", "n"])
    with pytest.raises(DataError, match="grows too much"):
        check_growth(path, None)


@pytest.mark.parametrize("ending", [".csv.gz", ".zip"])
def test_a_packed_file_that_grows_without_end_is_refused_before_it_costs_memory(tmp_path, ending):
    path, line = tmp_path / f"x{ending}", b"a" * 2**20
    if ending == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed, packed.open("x.csv", "w") as stream:
            for _ in range(80):
                stream.write(line)
    else:
        with gzip.open(path, "wb") as stream:
            for _ in range(80):
                stream.write(line)
    with pytest.raises(DataError, match="grows too much"):
        read(tmp_path, path.read_bytes(), path.name)
