import json

import pytest

from components.config import SourceSettings
from components.dataset.sources import Bad, Row, files, rows
from components.errors import DataError


def read(tmp_path, content, name="x.csv", needed=("body", "queue"), **settings):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(rows(SourceSettings(name="s", path=name, **settings), path, needed))


def test_csv_with_quotes_newlines_and_a_mark_of_byte_order(tmp_path):
    found = read(tmp_path, '\ufeffqueue,body\na,"one, ""two""\nthree"\nb,\n')
    assert found == [Row(2, {"body": 'one, "two"\nthree', "queue": "a"}), Row(4, {"body": None, "queue": "b"})]


def test_rows_with_too_many_or_too_few_fields_are_counted_not_fatal(tmp_path):
    found = read(tmp_path, "body,queue\na,b,c\nd\n\ne,f\n")
    assert [r.reason for r in found if isinstance(r, Bad)] == ["too_many_fields", "too_few_fields"]
    assert found[-1] == Row(5, {"body": "e", "queue": "f"})


def test_bytes_that_are_no_text_cost_only_their_row(tmp_path):
    found = read(tmp_path, b"body,queue\ngood,a\nb\xffd,b\nfine,c\n")
    assert [type(r) for r in found] == [Row, Bad, Row]
    assert found[1].reason == "not_utf8" and found[1].line == 3
    assert read(tmp_path, b"body,queue\nb\xfcd,b\n", encoding="latin-1") == [Row(2, {"body": "büd", "queue": "b"})]


def test_lines_of_a_label_and_a_text(tmp_path):
    found = read(tmp_path, b"NUM:dist  How far ?\n\nHUM\nLOC:city Wh\xe4t ?\n", "x.label", ("text", "label"))
    assert found[0] == Row(1, {"text": "How far ?", "label": "NUM:dist"})
    assert [(r.line, r.reason) for r in found[1:]] == [(3, "too_few_fields"), (4, "not_utf8")]
    with pytest.raises(DataError, match="column is missing"):
        read(tmp_path, "a b\n", "x.label", ("text", "queue"))
    many = read(tmp_path, "a b\n", "x.txt", ("text",), format="labelled")
    assert many == [Row(1, {"text": "b"})]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_mark_of_byte_order_is_no_text_in_any_format(tmp_path, encoding):
    settings = {"encoding": "utf-16"} if encoding == "utf-16" else {}
    row = {"body": "b\xfcd\u2028x", "queue": "a"}
    for name, text in (
        ("x.jsonl", json.dumps(row, ensure_ascii=False) + "\n"),
        ("x.json", json.dumps([row])),
        ("x.csv", f"body,queue\n{row['body']},a\n"),
    ):
        (found,) = read(tmp_path, text.encode(encoding), name, **settings)
        assert found.values == row, name
    label = read(tmp_path, "a b\n".encode(encoding), "x.label", ("text", "label"), **settings)
    assert label == [Row(1, {"text": "b", "label": "a"})]


def test_a_quote_that_is_not_closed_costs_every_line_it_swallows(tmp_path):
    lines = [*(f"row {i},a" for i in range(50)), '"my screen is 5,b', *(f"row {i},a" for i in range(50))]
    found = read(tmp_path, "body,queue\n" + "\n".join(lines) + "\n")
    bad = [r for r in found if isinstance(r, Bad)]
    assert len(found) == 101 and {r.reason for r in bad} == {"bad_csv"} and bad[0].line == 52 and len(bad) == 51


def test_a_text_that_is_not_in_its_encoding_is_one_message(tmp_path):
    with pytest.raises(DataError, match="not in its encoding"):
        read(tmp_path, "body,queue\na,b\n", encoding="utf-16")
    with pytest.raises(DataError, match="missing"):
        files(SourceSettings(name="s", path="."), tmp_path)


def test_a_headerless_file_shows_little_of_its_first_row(tmp_path):
    with pytest.raises(DataError) as error:
        read(tmp_path, "my card number is 4111111111111111,a\n")
    assert "4111" not in str(error.value)


def test_a_missing_column_is_named_with_what_was_found(tmp_path):
    with pytest.raises(DataError, match=r"(?s)column is missing.*found:\s+text, queue.*wanted: body"):
        read(tmp_path, "text,queue\na,b\n")
    with pytest.raises(DataError, match="twice"):
        read(tmp_path, "body,queue,body\na,b,c\n")
    with pytest.raises(DataError, match=r"(?s)column is missing.*all 1 rows"):
        read(tmp_path, '{"text": "a", "queue": "b"}\n', "x.jsonl")


def test_a_column_may_stand_under_another_name(tmp_path):
    found = read(tmp_path, "Mail text,queue\na,b\n", columns={"body": "Mail text"})
    assert found == [Row(2, {"body": "a", "queue": "b"})]


def test_jsonl_counts_what_is_no_row(tmp_path):
    lines = [b'{"body": "a", "queue": 3}', b"{", b"[1]", b'{"body": [1], "queue": "b"}', b'{"queue": "c"}', b'"\xff"']
    found = read(tmp_path, b"\n".join(lines), "x.jsonl")
    assert found[0] == Row(1, {"body": "a", "queue": "3"})
    assert [r.reason for r in found[1:4]] == ["bad_json", "bad_json", "not_text"]
    assert found[4] == Row(5, {"body": None, "queue": "c"})
    assert found[5].reason == "not_utf8"


def test_nested_json_by_path(tmp_path):
    document = {
        "Weather": [{"data": [{"text": "will it "}, {"text": "rain"}]}],
        "Music": [{"data": [{"text": "play"}]}],
    }
    columns = {"body": "data[].text"}
    found = read(tmp_path, json.dumps(document), "x.json", ("body", "intent"), records="{intent}.[]", columns=columns)
    assert [r.values for r in found] == [
        {"body": "will it rain", "intent": "Weather"},
        {"body": "play", "intent": "Music"},
    ]
    with pytest.raises(DataError, match="another form"):
        read(tmp_path, json.dumps(document), "x.json", records="[]")
    with pytest.raises(DataError, match="can't be read"):
        read(tmp_path, "{", "x.json")


def test_files_are_there_not_empty_and_inside(tmp_path):
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
    with pytest.raises(DataError, match="leads out"):
        files(SourceSettings(name="s", path="link.csv"), raw)
    with pytest.raises(DataError, match="ending"):
        list(rows(SourceSettings(name="s", path="x.doc"), raw / "x.doc", ()))
