import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rungwise.config import SourceSettings
from rungwise.core.errors import DataError
from rungwise.dataset.sources import Bad, Row, files, rows


def read(tmp_path, content, name="x.csv", needed=("body", "queue"), **options):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(rows(SourceSettings(name="s", path=name, **options), path, needed))


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


def test_a_file_without_a_header_has_numbered_columns_and_quotes_can_be_letters(tmp_path):
    columns = {"queue": "[0]", "body": "[1]"}
    text = 'ham\tsay "hi to him\nspam\t"win" now\n'
    found = read(tmp_path, text, "x.tsv", columns=columns, header=False, quotes=False)
    assert [r.values for r in found] == [
        {"queue": "ham", "body": 'say "hi to him'},
        {"queue": "spam", "body": '"win" now'},
    ]
    assert [r.line for r in found] == [1, 2]


def test_a_wrong_delimiter_names_the_right_one(tmp_path):
    with pytest.raises(DataError, match=r"set `delimiter: \";\"` in source s"):
        read(tmp_path, "body;queue\na;b\n")
    assert read(tmp_path, "body;queue\na;b\n", delimiter=";") == [Row(2, {"body": "a", "queue": "b"})]


def test_utf_16_without_saying_so_is_named(tmp_path):
    for content in ("body,queue\na,b\n".encode("utf-16"), "body,queue\na,b\n".encode("utf-16-le")):
        with pytest.raises(DataError, match="begins like UTF-16"):
            read(tmp_path, content)


def test_a_nul_costs_its_row(tmp_path):
    found = read(tmp_path, "body,queue\na\0b,c\nd,e\n")
    assert [getattr(r, "reason", "") for r in found] == ["nul", ""]
    assert read(tmp_path, '{"body": "a\\u0000", "queue": "b"}', "x.jsonl")[0].reason == "nul"


def test_ten_megabytes_in_a_field_and_deep_json_are_no_tracebacks(tmp_path):
    (row,) = read(tmp_path, f"body,queue\n{'x' * 10_000_000},b\n")
    assert len(row.values["body"]) == 10_000_000
    assert read(tmp_path, "[" * 200_000, "x.jsonl")[0].reason == "bad_json"
    with pytest.raises(DataError, match="can't be read"):
        read(tmp_path, "[" * 200_000, "x.json")


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
            Row(3, {"body": "three", "queue": "-1"}),
        ]
    half = (tmp_path / "x.parquet").read_bytes()
    with pytest.raises(DataError, match=r"(?s)can't be read.*cut off"):
        read(tmp_path, half[: len(half) // 2], "half.parquet")
    with pytest.raises(DataError, match="can't be read"):
        read(tmp_path, found.read_bytes()[:200], "half.arrow")
    with pytest.raises(DataError, match="column is missing"):
        read(tmp_path, half, "whole.parquet", ("nothing",))


CHAT = ("prompt", "completion")


@pytest.mark.parametrize(
    ("row", "prompt", "completion"),
    [
        ({"prompt": "a", "completion": "b"}, "a", "b"),
        ({"instruction": "Sort", "input": "b a", "output": "a b"}, "Sort\n\nb a", "a b"),
        ({"instruction": "Sing", "input": "", "output": "la"}, "Sing", "la"),
        ({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}, "hi", "ho"),
        (
            {
                "messages": [
                    {"role": "system", "content": "Be kind."},
                    {"role": "user", "content": [{"type": "text", "text": "weather?"}]},
                    {"role": "assistant", "content": None, "tool_calls": [{"name": "w"}]},
                    {"role": "tool", "content": "rain"},
                    {"role": "assistant", "content": "It rains."},
                ]
            },
            'System: Be kind.\nUser: weather?\nAssistant: [{"name": "w"}]\nTool: rain',
            "It rains.",
        ),
        (
            {
                "conversations": [
                    {"from": "human", "value": "cook"},
                    {"from": "function_call", "value": "{}"},
                    {"from": "observation", "value": "soup"},
                    {"from": "gpt", "value": "Soup!"},
                ]
            },
            "User: cook\nAssistant: {}\nTool: soup",
            "Soup!",
        ),
        (
            {"prompt": [{"role": "user", "content": "hi"}], "completion": [{"role": "assistant", "content": "ho"}]},
            "hi",
            "ho",
        ),
        ({"messages": [{"role": "user", "content": "hi"}]}, "hi", None),
    ],
)
def test_the_usual_shapes_are_a_prompt_and_a_completion(tmp_path, row, prompt, completion):
    expected = [Row(1, {"prompt": prompt, "completion": completion})]
    assert read(tmp_path, json.dumps(row) + "\n", "x.jsonl", CHAT) == expected
    assert read(tmp_path, json.dumps([row]), "x.json", CHAT) == expected


def test_shapes_in_tables_and_broken_ones(tmp_path):
    assert read(tmp_path, "instruction,input,output\nSort,b a,a b\n", needed=CHAT) == [
        Row(2, {"prompt": "Sort\n\nb a", "completion": "a b"})
    ]
    broken = ({"messages": "hi"}, {"messages": ["hi"]}, {"messages": [{"role": "cat", "content": ""}]},
              {"messages": [{"role": "user", "content": {"a": 1}}]})  # fmt: skip
    found = read(tmp_path, "\n".join(json.dumps(row) for row in broken), "x.jsonl", CHAT)
    assert [r.reason for r in found] == ["bad_shape"] * 4


tables = st.lists(
    st.dictionaries(
        st.sampled_from(["body", "queue", "messages", "conversations", "instruction", "output", "prompt"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["role", "content", "from", "a"]), inner, max_size=3)
            ),
            max_leaves=6,
        ),
        max_size=5,
    ),
    max_size=4,
)


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
def test_whatever_the_bytes_there_are_rows_counted_faults_or_one_clear_error(
    tmp_path, ending, content, encoding, needed, header, quotes
):
    try:
        found = read(tmp_path, content, f"x.{ending}", needed, encoding=encoding, header=header, quotes=quotes)
    except DataError:
        return
    assert all(isinstance(r, Bad) or set(r.values) == set(needed) for r in found)
    for row in found:
        for text in row.values.values() if isinstance(row, Row) else ():
            assert text is None or (isinstance(text, str) and text.encode())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables, st.sampled_from([("body", "queue"), CHAT]))
def test_whatever_the_table_a_parquet_file_gives_rows_or_one_clear_error(tmp_path, table, needed):
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
