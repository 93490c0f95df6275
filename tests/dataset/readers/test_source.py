import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rungwise.config import SourceSettings
from rungwise.core.errors import DataError
from rungwise.dataset.readers import Bad, Note, Row, files, rows, source
from tests.dataset.conftest import CHAT, read, tables


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_not_text_in_any_format(tmp_path, encoding):
    settings = {"encoding": "utf-16"} if encoding == "utf-16" else {}
    row = {"body": "b\xfcd\u2028x", "queue": "a"}
    for name, text in (
        ("x.jsonl", json.dumps(row, ensure_ascii=False) + "\n"),
        ("x.json", json.dumps([row])),
        ("x.csv", f"body,queue\n{row['body']},a\n"),
    ):
        (result,) = read(tmp_path, text.encode(encoding), name, **settings)
        assert result.values == row, name
    label = read(tmp_path, "a b\n".encode(encoding), "x.label", ("text", "label"), **settings)
    assert label == [Row(1, {"text": "b", "label": "a"})]


def test_text_in_another_encoding_is_one_error(tmp_path):
    with pytest.raises(DataError, match="not in its encoding"):
        read(tmp_path, "body,queue\na,b\n", encoding="utf-16")
    with pytest.raises(DataError, match="missing"):
        files(SourceSettings(name="s", path="."), tmp_path)


def test_a_missing_column_is_an_error_that_names_the_columns(tmp_path):
    with pytest.raises(DataError, match=r"(?s)column is missing.*found:\s+text, queue.*wanted: body"):
        read(tmp_path, "text,queue\na,b\n")
    with pytest.raises(DataError, match="twice"):
        read(tmp_path, "body,queue,body\na,b,c\n")
    with pytest.raises(DataError, match=r"(?s)column is missing.*all of 1 row"):
        read(tmp_path, '{"text": "a", "queue": "b"}\n', "x.jsonl")


def test_files_must_exist_have_content_and_be_inside_data_raw(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "b.csv").write_text("x")
    (raw / "a.csv").write_text("x")
    assert [p.name for p in files(SourceSettings(name="s", path="*.csv"), raw)] == ["a.csv", "b.csv"]
    with pytest.raises(DataError, match=r"(?s)missing.*a\.csv, b\.csv"):
        files(SourceSettings(name="s", path="c.csv"), raw)
    (raw / "empty.csv").touch()
    with pytest.raises(DataError, match=r"(?s)is empty.*empty\.csv"):
        files(SourceSettings(name="s", path="empty.csv"), raw)
    (tmp_path / "secret.csv").write_text("x")
    (raw / "link.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(DataError, match="outside data/raw"):
        files(SourceSettings(name="s", path="link.csv"), raw)
    with pytest.raises(DataError, match="ending"):
        list(rows(SourceSettings(name="s", path="x.doc"), raw / "x.doc", ()))


def test_undeclared_utf_16_is_an_error(tmp_path):
    for content in ("body,queue\na,b\n".encode("utf-16"), "body,queue\na,b\n".encode("utf-16-le")):
        with pytest.raises(DataError, match="begins like UTF-16"):
            read(tmp_path, content)


def test_a_nul_rejects_its_row(tmp_path):
    result = read(tmp_path, "body,queue\na\0b,c\nd,e\n")
    assert [getattr(r, "reason", "") for r in result] == ["nul", ""]
    assert read(tmp_path, '{"body": "a\\u0000", "queue": "b"}', "x.jsonl")[0].reason == "nul"


def test_a_field_of_ten_megabytes_is_read_and_deep_json_is_rejected(tmp_path):
    (row,) = read(tmp_path, f"body,queue\n{'x' * 10_000_000},b\n")
    assert len(row.values["body"]) == 10_000_000
    assert read(tmp_path, "[" * 200_000, "x.jsonl")[0].reason == "bad_json"
    with pytest.raises(DataError, match="can't be read"):
        read(tmp_path, "[" * 200_000, "x.json")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["csv", "tsv", "jsonl", "json", "label", "parquet", "arrow"]),
    st.binary(max_size=200)
    | st.text(max_size=200).map(str.encode)
    | tables.map(lambda t: json.dumps(t).encode())
    | tables.map(lambda t: "\n".join(map(json.dumps, t)).encode()),
    st.sampled_from(["utf-8", "latin-1", "utf-16"]),
    st.sampled_from([("body", "queue"), CHAT, ("label", "text")]),
    st.booleans(),
    st.booleans(),
)
def test_any_bytes_give_rows_counted_rejections_or_one_clear_error(
    tmp_path, ending, content, encoding, needed, header, quotes
):
    try:
        result = read(tmp_path, content, f"x.{ending}", needed, encoding=encoding, header=header, quotes=quotes)
    except DataError:
        return
    assert all(isinstance(r, Bad | Note) or set(r.values) == set(needed) for r in result)
    for row in result:
        for cell in row.values.values() if isinstance(row, Row) else ():
            assert cell is None or (isinstance(cell, str) and cell.encode()) or all(i.encode() for i in cell)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_pipes_and_devices_are_refused_and_not_opened(tmp_path, kind):
    path = tmp_path / "x.csv"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    for name in ("x.csv", "*.csv"):
        with pytest.raises(DataError, match="is a pipe, a socket or a device"):
            files(SourceSettings(name="s", path=name), tmp_path)


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl"])
def test_a_cell_that_no_base_can_read_is_a_rejection(tmp_path, name, monkeypatch):
    monkeypatch.setattr(source, "MAX_CELL_CHARACTERS", 9)
    cells = [{"body": "b" * n, "queue": "a"} for n in (9, 10)]
    lines = ["body,queue", *(f"{c['body']},a" for c in cells)] if name == "x.csv" else map(json.dumps, cells)
    first, second = read(tmp_path, "\n".join(lines) + "\n", name)
    assert first.values["body"] == "b" * 9
    assert (second.reason, second.detail) == ("too_long_to_read", "column body holds 10 characters, at most 9 are read")


def test_links_of_a_cache_are_named_with_the_remedy(tmp_path):
    raw, cache = tmp_path / "data/raw", tmp_path / ".dvc/cache"
    raw.mkdir(parents=True)
    cache.mkdir(parents=True)
    (cache / "3f").write_text("body,queue\na,b\n")
    (raw / "x.csv").symlink_to(cache / "3f")
    with pytest.raises(DataError, match=r"(?s)is a link to .*3f.*dvc unprotect data/raw/x.csv"):
        files(SourceSettings(name="s", path="x.csv"), raw)
    (cache / "3f").unlink()
    for pattern in ("x.csv", "*.csv"):
        with pytest.raises(
            DataError, match=r"(?s)a link to a file that does not exist.*x.csv -> .*dvc checkout --relink"
        ):
            files(SourceSettings(name="s", path=pattern), raw)
