"""Rows in the shapes in which people have them: `init` reads them as their author meant, or says why not."""

import csv
import gzip
import json
import zipfile
from pathlib import Path

import pytest

from rungwise.config import load
from rungwise.core.errors import DataError
from rungwise.core.folders import read_lines
from rungwise.dataset.readers import wide_encoding
from rungwise.init.init import init
from rungwise.pipeline.stages import run_stage
from tests.conftest import planted_rows

pytestmark = pytest.mark.usefixtures("repository")

ROWS = planted_rows(120)


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNGWISE_BASES", str(tmp_path / "cache"))
    monkeypatch.setattr("rungwise.init.training.speedup", lambda: 4.0)


def ingested(tmp_path, file, text=None, answer=None, **options):
    """Returns what `init` printed, and the rows after `ingest`."""
    root = tmp_path / "ws"
    lines = init(root, file, text, answer, task="task", **options)
    run_stage(root, "ingest")
    return "\n".join(lines), list(read_lines(root / "data/ingest/task/examples.jsonl"))


def lines_of(rows, **more):
    return "".join(json.dumps({"body": t, "queue": q, **more}) + "\n" for t, q in rows)


def csv_text(rows=ROWS, header="body,queue\n"):
    return header + "".join(f"{t},{q}\n" for t, q in rows)


def plain(path: Path):
    path = path.with_suffix(".csv")
    path.write_text(csv_text())
    return path


def folder(path: Path):
    path.mkdir()
    (path / "a.csv").write_text(csv_text(ROWS[:60]))
    (path / "b.csv").write_text(csv_text(ROWS[60:]))
    (path / "README").write_text("not rows")
    for name in (".a.csv", "._b.csv", ".ipynb_checkpoints/a-checkpoint.csv", "__MACOSX/a.csv", "in/.git/a.csv"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(csv_text(ROWS[:60]))
    return path


def pattern(path: Path):
    return folder(path) / "*.csv"


def several(path: Path):
    folder(path)
    return [path / "a.csv", path / "b.csv"]


def gz(path: Path):
    with gzip.open(path.with_suffix(".csv.gz"), "wt") as stream:
        stream.write(csv_text())
    return path.with_suffix(".csv.gz")


def zipped(path: Path):
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as packed:
        packed.writestr("inner/rows.jsonl", lines_of(ROWS))
        packed.writestr("__MACOSX/inner/._rows.jsonl", "x")
        packed.writestr("inner/.hidden.csv", "x")
        packed.writestr("inner/README.md", "not rows")
        packed.writestr("LICENSE", "not rows")
    return path.with_suffix(".zip")


def written(ending, content):
    def make(path: Path):
        path = path.with_suffix(ending)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


COLUMNS = {"body": [t for t, _ in ROWS], "queue": [q for _, q in ROWS]}
OBJECTS = [{"body": t, "queue": q} for t, q in ROWS]
SHAPES = {
    "plain": plain,
    "folder": folder,
    "pattern": pattern,
    "several": several,
    "gz": gz,
    "zip": zipped,
    "lines named json": written(".json", lines_of(ROWS)),
    "one list in an object": written(".json", json.dumps({"version": "1", "data": OBJECTS})),
    "a list two keys deep": written(".json", json.dumps({"result": {"rows": OBJECTS, "n": 1}})),
    "column-wise": written(".json", json.dumps({"body": [t for t, _ in ROWS], "queue": [q for _, q in ROWS]})),
    "column-wise as pandas": written(
        ".json", json.dumps({"body": {str(i): t for i, (t, _) in enumerate(ROWS)},
                             "queue": {str(i): q for i, (_, q) in enumerate(ROWS)}})),
    "column-wise with its version": written(".json", json.dumps({"version": 1, **COLUMNS})),
    "column-wise below a key": written(".json", json.dumps({"data": COLUMNS, "version": 1, "sides": {"a": [1, 2], "b": [3, 4]}})),
    "a table below a key": written(".json", json.dumps({"data": {"columns": ["body", "queue"], "rows": ROWS}})),
    "a list three keys deep": written(".json", json.dumps({"a": {"b": {"rows": OBJECTS}}})),
    "a list on one line": written(".jsonl", json.dumps(OBJECTS)),
    "a list on one line after an empty one": written(".jsonl", "\n" + json.dumps(OBJECTS) + "\n\n"),
    "a table as pandas": written(".json", json.dumps({"schema": {"fields": [{"name": "body", "type": "string"}]}, "data": OBJECTS})),
    "a list of labels next to the rows": written(".json", json.dumps({"labels": [{"id": 1, "name": "a"}], "rows": OBJECTS})),
    "lone carriage returns": written(".csv", csv_text().replace("\n", "\r")),
    "lines with lone carriage returns": written(".jsonl", lines_of(ROWS).replace("\n", "\r")),
    "utf-16 without a mark": written(".csv", csv_text().encode("utf-16-le")),
    "utf-16 with a mark": written(".csv", csv_text().encode("utf-16")),
    "utf-32 without a mark": written(".jsonl", lines_of(ROWS).encode("utf-32-be")),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_in_any_shape_are_all_read(tmp_path, shape):
    _, rows = ingested(tmp_path, SHAPES[shape](tmp_path / "given"), "body", "queue")
    assert sorted((row["fields"]["body"], row["answer"]) for row in rows) == sorted(ROWS)


SENTENCES = {
    "column-wise with its version": "it has a list for each column",
    "column-wise below a key": "its rows are at `data.columns`; the shorter `sides.columns` is not read",
    "a table below a key": "its rows are at `data.table`",
    "a list three keys deep": "its rows are at `a.b.rows.[]`",
    "a table as pandas": "its rows are at `data.[]`; the shorter `schema.fields.[]` is not read",
    "a list of labels next to the rows": "its rows are at `rows.[]`; the shorter `labels.[]` is not read",
}


@pytest.mark.parametrize(("given", "title"), [("parts", "parts"), ("parts/*.csv", "*.csv")])
def test_a_folder_is_named_with_its_files_and_what_was_decided_about_each_is_said(tmp_path, given, title):
    folder(tmp_path / "parts")
    lines = [f'"{t},{q}' if i in (5, 9) else f"{t},{q}" for i, (t, q) in enumerate(ROWS[60:])]
    (tmp_path / "parts/b.csv").write_text("\n".join(["body,queue", *lines]) + "\n")
    text, rows = ingested(tmp_path, tmp_path / given, "body", "queue")
    assert text.startswith(f"120 rows in 2 files of {title}: about") and len(rows) == 120
    assert "b.csv: quotes are ordinary characters and every line is a row: otherwise 5 lines" in text


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_chinese_in_utf_16_without_a_mark_is_read(tmp_path, encoding):
    rows = [(f"我的帐篷坏了请帮我修理{i}号订单", ("账单", "帐篷", "快递")[i % 3]) for i in range(120)]
    file = tmp_path / "x.csv"
    file.write_bytes(csv_text(rows, "文本,标签\n").encode(encoding))
    text, read = ingested(tmp_path, file, "文本", "标签")
    assert f"was read as {encoding}" in text and [(row["fields"]["text"], row["answer"]) for row in read] == rows


@pytest.mark.parametrize("encoding", ["gb18030", "big5", "shift_jis", "euc_kr", "latin-1"])
def test_no_text_in_another_encoding_is_taken_for_utf_16(encoding):
    line = {"euc_kr": "텐트가 고장", "latin-1": "Zelt für Käse", "shift_jis": "テントが壊れ"}.get(encoding, "我的文件")
    for text in (f"{line},a\n" * 100, f"{line}\0\n{line}x\0\n" * 100):
        assert wide_encoding(text.encode(encoding)) is None


def test_two_lists_of_like_rows_are_two_sides_and_none_is_chosen(tmp_path):
    for n in (10, 60):
        text = refusal(tmp_path, "x.json", json.dumps({"train": OBJECTS[n:], "test": OBJECTS[:n]}))
        assert "a JSON file has several lists of rows" in text and "train.[], test.[]" in text


def test_what_was_found_out_is_said(tmp_path):
    text, _ = ingested(tmp_path, SHAPES["one list in an object"](tmp_path / "x"), "body", "queue")
    assert "x.json: its rows are at `data.[]`." in text
    for shape, sentence in SENTENCES.items():
        (tmp_path / shape).mkdir()
        text, _ = ingested(tmp_path / shape, SHAPES[shape](tmp_path / f"{shape} of x"), "body", "queue")
        assert f"x.json: {sentence}." in text
    (tmp_path / "two").mkdir()
    text, _ = ingested(tmp_path / "two", SHAPES["several"](tmp_path / "parts"), "body", "queue")
    assert text.startswith("120 rows in a.csv, b.csv: about")


def test_columns_are_guessed_and_shown_with_an_example(tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_text(lines_of(ROWS, ticket=7))
    text, rows = ingested(tmp_path, file)
    assert "The model reads column body, and the answers are in column queue." in text and len(rows) == 120
    assert f"The columns: body ({ROWS[0][0][:40]!r}" in text and "ticket ('7')" in text


def test_a_column_that_can_not_be_guessed_or_is_misspelled_lists_the_columns(tmp_path):
    file = tmp_path / "x.csv"
    file.write_text("a,b\n" + "".join(f"{t} {i},{t}\n" for i, (t, _) in enumerate(ROWS)))
    with pytest.raises(DataError, match=r"(?s)--answer is missing and can't be guessed.*a \('.*b \('"):
        init(tmp_path / "ws", file)
    with pytest.raises(DataError, match=r"(?s)a column is missing.*a \('.*wanted: queue.*--no-header"):
        init(tmp_path / "ws", file, "a", "queue")


def test_a_file_without_a_header_has_numbered_columns(tmp_path):
    file = tmp_path / "x.csv"
    file.write_text(csv_text(header=""))
    _, rows = ingested(tmp_path, file, "[0]", "[1]", has_header=False)
    assert len(rows) == 120 and "header: false" in (tmp_path / "ws/params.yaml").read_text()


def test_an_encoding_can_be_named(tmp_path):
    file = tmp_path / "x.csv"
    file.write_bytes(csv_text([(f"{t} ł", q) for t, q in ROWS]).encode("cp1250"))
    text, rows = ingested(tmp_path, file, "body", "queue", encoding="cp1250")
    assert rows[0]["fields"]["body"].endswith("ł") and "not UTF-8" not in text


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
PAGE = b"<!-- a page -->\n<!-- of two -->\n<HTML>sign in</HTML>"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
        ("x.jsonl", b"\xef\xbb\xbf <!DOCTYPE html><html>sign in</html>", "an HTML page, not data"),
        *((name, LFS, "a pointer of Git LFS.*git lfs pull") for name in ("x.parquet", "x.arrow", "x.csv.gz", "x.zip")),
        *((name, PAGE, "an HTML page, not data") for name in ("x.parquet", "x.arrow", "x.jsonl.gz", "x.zip", "x.csv")),
        ("x.csv", b'<?xml version="1.0"?>\n<!DOCTYPE html><html>', "an HTML page, not data"),
        ("x.csv", b"<head><title>sign in", "an HTML page, not data"),
        ("x.zip", b"PK\x05\x06" + bytes(18), "a .zip file is empty.*no file"),
        ("x.zip", b"nothing", "a .zip file can't be read"),
        ("x.csv.gz", b"\x1f\x8b nothing", "a packed file can't be read"),
        ("x.json", b'{"a": [{"x": 1}], "b": [{"x": 1}]}', r"several lists of rows.*a\.\[\], b\.\[\].*--records"),
        ("x.json", b'{"a": 1}', "rows of a JSON file can't be found.*found:  an object with a\n"),
        ("x.json", b'{"a": ["b"], "c": ["d", "e"]}', r"found:  an object with a \(1 item\), c \(2 items\)"),
        ("x.json", b"3", "rows of a JSON file can't be found.*found:  int"),
    ],
)
def test_a_file_without_rows_is_named_as_what_it_is(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"(?s){message}"):
        init(tmp_path / "ws", tmp_path / name, "body", "queue")
    assert not (tmp_path / "ws").exists()


def as_lists(rows, write):
    return [(t, write([q, "urgent"] if i % 3 else [q])) for i, (t, q) in enumerate(rows)]


@pytest.mark.parametrize("write", [json.dumps, repr, lambda items: "[" + " ".join(map(repr, items)) + "]", tuple])
def test_lists_in_cells_are_lists(tmp_path, write):
    rows = as_lists(ROWS, write)
    file = tmp_path / "x.jsonl"
    file.write_text("".join(json.dumps({"body": t, "tags": tags}) + "\n" for t, tags in rows))
    text, read = ingested(tmp_path, file, "body", "tags")
    assert "Format list" in text
    assert [row["answer"] for row in read] == [f"{q}; urgent" if i % 3 else q for i, (_, q) in enumerate(ROWS)]


def test_no_item_contains_the_separator_and_numbers_and_parts_are_texts(tmp_path):
    file = tmp_path / "x.jsonl"
    items = [[f"{q}; now | {i % 9}", 3, ["a", 4]] for i, (_, q) in enumerate(ROWS)]
    file.write_text(
        "".join(json.dumps({"body": t, "tags": tags}) + "\n" for (t, _), tags in zip(ROWS, items, strict=True))
    )
    _, read = ingested(tmp_path, file, "body", "tags")
    answer = load(tmp_path / "ws/params.yaml").tasks["task"].answer
    assert answer.separator == "," and read[0]["answer"] == f"{ROWS[0][1]}; now | 0, 3, a | 4"


def test_an_empty_list_is_an_answer_but_an_empty_cell_is_not(tmp_path):
    file = tmp_path / "x.jsonl"
    tags = [[] if i % 10 == 0 else None if i % 10 == 1 else [q] for i, (_, q) in enumerate(ROWS)]
    file.write_text(
        "".join(json.dumps({"body": t, "tags": tag}) + "\n" for (t, _), tag in zip(ROWS, tags, strict=True))
    )
    text, read = ingested(tmp_path, file, "body", "tags")
    assert "12 are empty, which is an answer" in text and len(read) == 108
    assert sum(not row["answer"] for row in read) == 12
    run_stage(tmp_path / "ws", "validate")
    assert len(list(read_lines(tmp_path / "ws/data/validate/task/examples.jsonl"))) == 108


def test_lists_of_zeros_and_ones_and_of_objects_are_refused(tmp_path):
    for tags, message in (([0, 1, 0], "one-hot"), ([{"a": 1}], "lists of objects")):
        file = tmp_path / "x.jsonl"
        rows = ({"body": t, "tags": tags if i % 2 else tags[::-1] + tags[:0]} for i, (t, _) in enumerate(ROWS))
        file.write_text("".join(json.dumps({**row, "tags": [*row["tags"]]}) + "\n" for row in rows))
        file.write_text(file.read_text().replace("[0, 1, 0]", "[1, 0, 0]", 9).replace('{"a": 1}', '{"a": 2}', 9))
        with pytest.raises(DataError, match=message):
            init(tmp_path / "ws", file, "body", "tags")


def test_objects_are_answers_with_fields(tmp_path):
    file = tmp_path / "x.csv"
    objects = [json.dumps({"queue": q, "words": [q, "now"]}).replace('"', '""') for _, q in ROWS]
    file.write_text("body,answer\n" + "".join(f'{t},"{one}"\n' for (t, _), one in zip(ROWS, objects, strict=True)))
    text, read = ingested(tmp_path, file, "body", "answer")
    assert "Format json: the answers are objects with the keys queue (label), words (list)" in text
    assert json.loads(read[0]["answer"]) == {"queue": ROWS[0][1], "words": [ROWS[0][1], "now"]}


def test_words_for_no_value_are_read_as_no_answer(tmp_path):
    file = tmp_path / "x.csv"
    file.write_text(csv_text([(t, "N/A" if i % 20 == 0 else q) for i, (t, q) in enumerate(ROWS)]))
    text, read = ingested(tmp_path, file, "body", "queue")
    assert "6 answers are 'N/A', which is read as no answer" in text and len(read) == 114
    assert load(tmp_path / "ws/params.yaml").tasks["task"].answer.no_value == ("N/A",)


def test_nan_in_json_is_not_an_answer_and_many_of_them_do_not_stop_the_run(tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_text(lines_of(ROWS).replace('"queue": "', '"queue": NaN, "x": "', 30))
    text, read = ingested(tmp_path, file, "body", "queue")
    assert len(read) == 90 and "`ingest.max_rejected_share` is set to 0.3" in text
    assert "30 of 120 rows in x.jsonl can't be used: no_answer: 30 (first: line 1, column queue is empty)" in text


@pytest.mark.parametrize("marker", ["<|endoftext|>", "</s>", "[END]", "###"])
def test_a_marker_at_the_end_of_the_answers_is_neither_learned_nor_a_separator(tmp_path, marker):
    file = tmp_path / "x.jsonl"
    rows = [(t, f"We will look at your {q} mail number {i}.{marker}") for i, (t, q) in enumerate(ROWS)]
    file.write_text(lines_of(rows))
    text, read = ingested(tmp_path, file, "body", "queue")
    assert f"Warning: answers begin or end with {marker!r}" in text and "Format text" in text
    assert read[0]["answer"] == rows[0][1].removesuffix(marker)


def test_a_phrase_that_all_texts_share_is_reported_but_stays(tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_text(
        lines_of(
            [
                (t, f"Dear customer, your {q} mail {i} was read. We write in {i * 7} days.")
                for i, (t, q) in enumerate(ROWS)
            ]
        )
    )
    text, read = ingested(tmp_path, file, "body", "queue")
    assert "nearly all answers begin or end with 'Dear customer, your'" in text and read[0]["answer"].startswith("Dear")


def test_labels_that_differ_only_in_form_are_listed_and_can_be_merged(tmp_path):
    file = tmp_path / "x.jsonl"
    forms = {"billing": ["billing", "Billing ", "BILLING"], "account": ["caf\u00e9", "cafe\u0301", "caf\u00e9"]}
    rows = [(t, forms.get(q, ["1", "1.0", "1"])[i % 3]) for i, (t, q) in enumerate(ROWS)]
    file.write_text(lines_of(rows))
    text, _ = ingested(tmp_path, file, "body", "queue")
    assert "'1' = '1.0', 'billing' = " in text and "'BILLING'" in text and r"'caf\xe9' = 'cafe\u0301'" in text
    params = tmp_path / "ws/params.yaml"
    params.write_text(params.read_text().replace("format: label", "format: label, merge_labels: true"))
    run_stage(tmp_path / "ws", "ingest")
    answers = {row["answer"] for row in read_lines(tmp_path / "ws/data/ingest/task/examples.jsonl")}
    assert answers == {"billing", "caf\u00e9", "1"}


def test_labels_that_no_training_row_has_limit_the_score(tmp_path, capsys):
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_text(csv_text([(t, q) for t, q in ROWS if q != "account"]))
    test.write_text(csv_text(planted_rows(80, 5)))
    n = sum(q == "account" for _, q in planted_rows(80, 5))
    text, _ = ingested(tmp_path, train, "body", "queue", test=test)
    said = f"1 label without a training row in the test rows: 'account' ({n}). No rung can answer these {n} of 80 rows"
    assert said in text
    for verb in ("validate", "split"):
        run_stage(tmp_path / "ws", verb)
    assert said in capsys.readouterr().err


def test_test_rows_without_answers_are_refused_before_anything_is_trained(tmp_path):
    train, test = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    train.write_text(lines_of(ROWS))
    test.write_text(lines_of([(t, None) for t, _ in planted_rows(80, 5)]))
    with pytest.raises(DataError, match="0 rows with text and answer, of 80: no_answer: 80"):
        init(tmp_path / "ws", train, "body", "queue", test=test)
    root = tmp_path / "ws"
    init(root, train, "body", "queue")
    (root / "data/raw/test.jsonl").write_text(test.read_text())
    params = root / "params.yaml"
    params.write_text(
        params.read_text().replace("validate:", "    - {name: t, path: test.jsonl, role: test}\nvalidate:")
    )
    with pytest.raises(DataError, match=r"(?s)none of a source's rows has an answer.*they are the test rows"):
        run_stage(root, "ingest")


def test_few_rows_make_a_workspace_that_runs_to_its_verdict(tmp_path):
    file = tmp_path / "x.csv"
    file.write_text(csv_text())
    text, _ = ingested(tmp_path, file, "body", "queue")
    assert "40 validation rows are" not in text and load(tmp_path / "ws/params.yaml").decide.min_scored == 20
    assert "about 40 for training, about 40 for validation, about 40 for test" in text


def chats(tmp_path, name, make):
    file = tmp_path / name
    file.write_text("".join(json.dumps(make(t, q)) + "\n" for t, q in ROWS))
    return file


def turns(text, answer):
    return [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]


def test_columns_next_to_a_chat_are_read_or_named(tmp_path):
    file = chats(tmp_path, "x.jsonl", lambda t, q: {"system": "Sort.", "messages": turns(t, q), "source": "web"})
    text, rows = ingested(tmp_path, file, "messages", None)
    assert "A chat format: messages, system become `prompt` and `completion`." in text and "Not read: source." in text
    assert rows[0]["fields"]["prompt"] == f"System: Sort.\nUser: {ROWS[0][0]}" and rows[0]["answer"] == ROWS[0][1]


def test_an_instruction_with_its_input_is_one_prompt_whatever_column_is_named(tmp_path):
    file = chats(tmp_path, "x.jsonl", lambda t, q: {"instruction": "Sort", "input": t, "output": q})
    _, rows = ingested(tmp_path, file, "instruction", "output")
    assert rows[0]["fields"]["prompt"] == f"Sort\n\n{ROWS[0][0]}"


def test_a_union_of_two_chat_formats_is_read_whole(tmp_path):
    def make(text, answer):
        if len(text) % 2:
            return {
                "messages": None,
                "conversations": [{"from": "human", "value": text}, {"from": "gpt", "value": answer}],
            }
        return {"messages": turns(text, answer), "conversations": None}

    _, rows = ingested(tmp_path, chats(tmp_path, "x.jsonl", make), "prompt", "completion")
    assert sorted((row["fields"]["prompt"], row["answer"]) for row in rows) == sorted(ROWS)


def test_a_chat_in_a_cell_is_read_and_one_that_is_not_json_is_counted_with_its_reason(tmp_path):
    file = tmp_path / "x.csv"
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["messages"])
        writer.writerows([[json.dumps(turns(t, q))] for t, q in ROWS])
    _, rows = ingested(tmp_path, file)
    assert len(rows) == 120
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["messages"])
        writer.writerows([[repr(turns(t, q))[:-1]] for t, q in ROWS])
    with pytest.raises(
        DataError, match=r"(?s)bad_shape: 120 \(first: line 2, a conversation is a text that is not JSON"
    ):
        init(tmp_path / "other", file)


@pytest.mark.parametrize("printed", [repr, lambda turns: f"[{turns[0]}\n {turns[1]}]"])
def test_a_chat_as_python_and_numpy_print_it_is_read(tmp_path, printed):
    file = tmp_path / "x.csv"
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([["messages"], *([printed(turns(t, q))] for t, q in ROWS)])
    _, rows = ingested(tmp_path, file)
    assert sorted((row["fields"]["prompt"], row["answer"]) for row in rows) == sorted(ROWS)


def chatml(text, answer):
    return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n"


@pytest.mark.parametrize(
    ("make", "read", "left_out"),
    [
        (lambda t, q: {"text": chatml(t, q)}, "text", ""),
        (lambda t, q: {"text": chatml(t, q), "source": "web"}, "text", "Not read: source."),
        (lambda t, q: {"dialog": [{"human": t, "assistant": q}]}, "dialog", ""),
        (lambda t, q: {"prompt": t, "chosen": q, "rejected": "no"}, "chosen, prompt", "Not read: rejected."),
    ],
)
def test_conversations_are_found_in_any_column(tmp_path, make, read, left_out):
    text, rows = ingested(tmp_path, chats(tmp_path, "x.jsonl", make))
    assert f"A chat format: {read} become `prompt` and `completion`." in text and left_out in text
    assert sorted((row["fields"]["prompt"], row["answer"]) for row in rows) == sorted(ROWS)


def test_columns_that_mean_something_together_are_one_prompt(tmp_path):
    file = tmp_path / "x.jsonl"
    words = [(f"The customer wrote: {ROWS[i // 6][0]}", f"{text} {i}") for i, (text, _) in enumerate(ROWS)]
    file.write_text(
        "".join(
            json.dumps({"idx": i, "Premise": a, "hypothesis": b, "label": i % 3}) + "\n"
            for i, (a, b) in enumerate(words)
        )
    )
    text, rows = ingested(tmp_path, file)
    assert "The model reads columns Premise, hypothesis, and the answers are in column label." in text
    prompt = load(tmp_path / "ws/params.yaml").tasks["task"].prompt
    assert prompt == "Premise: {Premise}\nHypothesis: {hypothesis}\nLabel:"
    assert rows[0]["fields"] == {"Premise": words[0][0], "hypothesis": words[0][1]}


def test_several_text_columns_can_be_named(tmp_path):
    file = tmp_path / "x.csv"
    file.write_text(
        "Mail text,from/to,queue,note\n" + "".join(f"{t},{t[:3]}-{i},{q},n\n" for i, (t, q) in enumerate(ROWS))
    )
    text, rows = ingested(tmp_path, file, "from/to,Mail text", "queue")
    assert "Not read: note. The model reads several columns with --text A,B." in text
    prompt = load(tmp_path / "ws/params.yaml").tasks["task"].prompt
    assert prompt == "From to: {from_to}\nMail text: {mail_text}\nLabel:"
    assert rows[5]["fields"] == {"from_to": f"{ROWS[5][0][:3]}-5", "mail_text": ROWS[5][0]}


def squad(i, text):
    return {"id": str(i), "title": "t", "context": f"In {text} it was {i}.", "question": f"When was {text}?",
            "answers": {"text": [f"in {i}"], "answer_start": [3]}}  # fmt: skip


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_the_spans_of_a_text_are_answers_to_a_question_about_it(tmp_path, form):
    rows = [squad(i, text) for i, (text, _) in enumerate(ROWS)]
    file = tmp_path / f"x.{form}"
    if form == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with file.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows({**row, "answers": numpy_printed(row["answers"])} for row in rows)
    text, read = ingested(tmp_path, file)
    assert "The answers are in column answers, key `text`" in text and "columns context, question" in text
    assert read[0]["answer"] == "in 0" and read[0]["fields"]["context"] == rows[0]["context"]


def numpy_printed(answers):
    return f"{{'text': array({answers['text']}, dtype=object), 'answer_start': array([3], dtype=int32)}}"


def csv_of(file, header, rows):
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    return file


def test_columns_that_are_not_needed_hide_nothing(tmp_path):
    file = csv_of(
        tmp_path / "x.csv", ["body", "queue", "Label", "Label", "", ""], [[t, q, 1, 2, "", ""] for t, q in ROWS]
    )
    _, rows = ingested(tmp_path, file)
    assert rows[0]["fields"] == {"body": ROWS[0][0]} and len(rows) == len(ROWS)


def test_a_column_that_is_not_text_does_not_hide_the_others(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"body": [t for t, _ in ROWS], "image": [b"x"] * len(ROWS), "queue": [q for _, q in ROWS]})
    parquet.write_table(table, tmp_path / "x.parquet")
    _, rows = ingested(tmp_path, tmp_path / "x.parquet")
    assert len(rows) == len(ROWS)


def test_lines_of_delimiters_are_empty_and_a_delimiter_at_the_end_of_each_row_is_ignored(tmp_path):
    file = tmp_path / "x.csv"
    file.write_text("body,queue\n" + ",\n" * 400 + "".join(f"{t},{q},\n" for t, q in ROWS))
    text, rows = ingested(tmp_path, file)
    assert len(rows) == len(ROWS) and "can't be used" not in text


def test_tags_of_words_are_refused(tmp_path):
    file = tmp_path / "x.jsonl"
    tagged = [(t.split(), ["O"] * (len(t.split()) - 1) + ["B-ITEM"]) for t, _ in ROWS]
    file.write_text("".join(json.dumps({"tokens": a, "ner_tags": b}) + "\n" for a, b in tagged))
    for named in ((None, None), ("tokens", "ner_tags")):
        with pytest.raises(DataError, match=r"(?s)tags, one for each word.*column tokens, of 2 different tags"):
            init(tmp_path / "ws", file, *named)


@pytest.mark.parametrize("answer", [{"queue": "a{}", "note": None}, {"queue": "a{}", "tags": []}])
def test_a_field_that_is_always_empty_is_not_asked_for(tmp_path, answer):
    file = chats(tmp_path, "x.jsonl", lambda t, q: {"body": t, "answer": {**answer, "queue": q, "why": t[:5]}})
    text, rows = ingested(tmp_path, file)
    assert "is always empty and is not asked for" in text
    assert json.loads(rows[0]["answer"]).keys() == {"queue", "why"}


def test_answers_that_lack_a_field_are_counted_and_left_out(tmp_path):
    file = tmp_path / "x.jsonl"
    answers = [{"queue": q, "why": None if i % 3 == 0 else t[:8]} for i, (t, q) in enumerate(ROWS)]
    file.write_text(
        "".join(json.dumps({"body": t, "answer": a}) + "\n" for (t, _), a in zip(ROWS, answers, strict=True))
    )
    text, rows = ingested(tmp_path, file)
    assert "Warning: 40 answers are empty, or without a field" in text and len(rows) == 80


def test_objects_in_a_chat_are_read_by_their_keys(tmp_path):
    file = chats(tmp_path, "x.jsonl", lambda t, q: {"messages": turns(t, json.dumps({"queue": q, "why": t[:9]}))})
    text, rows = ingested(tmp_path, file)
    assert "Format json" in text and json.loads(rows[0]["answer"]) == {
        "queue": ROWS[0][1],
        "why": ROWS[0][0][:9].strip(),
    }


def test_a_list_of_calls_is_one_text(tmp_path):
    file = chats(
        tmp_path, "x.jsonl", lambda t, q: {"query": t, "tools": "[]", "answers": json.dumps([{"name": q, "of": t[:6]}])}
    )
    text, _ = ingested(tmp_path, file)
    assert "Format text: the answers are lists of objects" in text and "columns tools, query" in text


def test_right_answers_to_a_question_are_not_items_of_a_list(tmp_path):
    file = chats(tmp_path, "x.jsonl", lambda t, q: {"question": f"{t}?", "answer": [q, f"the {t[:7]}"]})
    _, rows = ingested(tmp_path, file)
    assert load(tmp_path / "ws/params.yaml").tasks["task"].answer.any_of and len(rows[0]["references"]) == 1


def test_tags_in_angle_brackets_are_a_list(tmp_path):
    file = csv_of(
        tmp_path / "x.csv", ["body", "tags"], [[t, f"<{q}><c#>" if len(t) % 2 else f"<{q}>"] for t, q in ROWS]
    )
    text, rows = ingested(tmp_path, file)
    assert "Format list" in text and {len(row["answer"].split(";")) for row in rows} == {1, 2}


def test_one_tag_in_each_answer_is_a_label(tmp_path):
    file = csv_of(tmp_path / "x.csv", ["body", "queue"], [[t, f"<{q}>"] for t, q in ROWS])
    text, rows = ingested(tmp_path, file)
    assert "Format label" in text and rows[0]["answer"] == f"<{ROWS[0][1]}>"


def test_tags_that_belong_to_an_answer_are_not_stripped(tmp_path):
    file = chats(tmp_path, "x.jsonl", lambda t, q: {"body": t, "answer": f"<think>It says {t}.</think>\n{q}"})
    ingested(tmp_path, file)
    assert load(tmp_path / "ws/params.yaml").tasks["task"].answer.strip == ()


def test_one_hot_lists_as_numpy_prints_them_are_refused(tmp_path):
    file = csv_of(
        tmp_path / "x.csv", ["body", "labels"], [[t, ["[0. 1.]", "[1. 0.]"][i % 2]] for i, (t, _) in enumerate(ROWS)]
    )
    with pytest.raises(DataError, match="one-hot lists"):
        init(tmp_path / "ws", file)


def test_wanted_and_unwanted_completions_are_warned_of(tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_text(
        "".join(json.dumps({"prompt": t, "completion": q, "label": i % 2 == 0}) + "\n" for i, (t, q) in enumerate(ROWS))
    )
    text, _ = ingested(tmp_path, file)
    assert "Warning: column label is true or false in each row" in text


def test_names_of_classes_in_lists_are_read(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    info = {
        "info": {
            "features": {"labels": {"feature": {"_type": "ClassLabel", "names": ["joy", "anger"]}, "_type": "Sequence"}}
        }
    }
    table = pa.table({"body": [t for t, _ in ROWS], "labels": [[i % 2] if i % 3 else [0, 1] for i in range(len(ROWS))]})
    parquet.write_table(table.replace_schema_metadata({"huggingface": json.dumps(info)}), tmp_path / "x.parquet")
    _, rows = ingested(tmp_path, tmp_path / "x.parquet")
    assert {row["answer"] for row in rows} == {"joy; anger", "joy", "anger"}


def test_a_text_file_with_tabs_and_a_list_in_a_file_of_lines_are_read(tmp_path):
    tabs, lines = tmp_path / "x.txt", tmp_path / "y.jsonl"
    tabs.write_text(csv_text().replace(",", "\t"))
    lines.write_text(json.dumps([{"body": t, "queue": q} for t, q in ROWS], indent=1))
    for number, file in enumerate((tabs, lines)):
        root = tmp_path / str(number)
        init(root, file, task="task")
        run_stage(root, "ingest")
        assert len(list(read_lines(root / "data/ingest/task/examples.jsonl"))) == len(ROWS)


def test_the_keys_of_an_object_are_offered_as_columns(tmp_path):
    file = chats(tmp_path, "x.jsonl", lambda t, q: {"translation": {"en": t, "de": t[::-1]}})
    with pytest.raises(DataError, match=r"(?s)translation.en \('.*translation.de \('"):
        init(tmp_path / "ws", file)
    _, rows = ingested(tmp_path, file, "translation.en", "translation.de")
    assert rows[0]["answer"] == rows[0]["fields"]["text"][::-1]


@pytest.mark.parametrize(("wrapped", "place"), [(False, "{id}"), (True, "data.{id}")])
def test_rows_under_their_ids_are_read_as_rows(tmp_path, wrapped, place):
    file = tmp_path / "x.json"
    rows = {f"r{i}": {"body": t, "queue": q} for i, (t, q) in enumerate(ROWS)}
    file.write_text(json.dumps({"data": rows, "version": 1} if wrapped else rows))
    text, read = ingested(tmp_path, file, "body", "queue")
    assert f"x.json: its rows are at `{place}`." in text and len(read) == len(ROWS)


def test_a_line_that_names_the_delimiter_is_not_a_header(tmp_path):
    file = tmp_path / "x.csv"
    file.write_text(
        "sep=;\n" + csv_text(header="body,queue\n").replace(",", ";").replace("queue\n", "queue\n", 1) + "lost\n"
    )
    text, rows = ingested(tmp_path, file, "body", "queue")
    assert len(rows) == len(ROWS) and "too_few_fields: 1 (first: line 123" in text


def test_another_spelling_of_a_column_in_the_test_file_is_the_same_column(tmp_path):
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_text(csv_text(ROWS[:60]))
    test.write_text(csv_text([(t, q.upper()) for t, q in ROWS[60:]], header="Body, QUEUE\n"))
    text, rows = ingested(tmp_path, train, "body", "queue", test=test)
    assert "test.csv: column 'Body' is body, column ' QUEUE' is queue." in text
    assert sum(row["role"] == "test" for row in rows) == 60
    assert "differ only in case" in text and "`answer.merge_labels: true` makes them one" in text


def test_flags_of_a_row_are_no_labels_and_marks_are(tmp_path):
    file = tmp_path / "x.csv"
    names = ["pay", "parcel"]
    file.write_text(
        "body,is_read,has_image,pay,parcel\n"
        + "".join(f"{t},{i % 2},1,{'x' * (i % 2)},{'' if i % 2 else 'X'}\n" for i, (t, _) in enumerate(ROWS))
    )
    text, rows = ingested(tmp_path, file)
    assert "the answers are in columns pay, parcel" in text
    assert [row["answer"] for row in rows[:2]] == [names[1], names[0]]


def test_a_column_that_occurs_twice_is_to_be_renamed(tmp_path):
    file = tmp_path / "x.csv"
    file.write_text(csv_text([(t, f"{q},{q}") for t, q in ROWS], header="body,queue,queue\n"))
    with pytest.raises(DataError, match=r"(?s)occurs twice.*rename one of them in the header"):
        init(tmp_path / "ws", file, "body", "queue")


def test_several_right_answers_are_kept_and_the_first_is_the_answer(tmp_path):
    file = tmp_path / "rows.jsonl"
    facts = [["Ada", "LIVES_IN", "Rome"], ["Ada", "BORN", "1900"]]
    texts = ["Ada lives in the city of {} today.", "The city of {} is where Ada lives now."]
    file.write_text(
        "".join(
            json.dumps({"facts": [*facts, ["N", "IS", str(i)]], "notes": [{"text": t.format(i)} for t in texts]}) + "\n"
            for i in range(120)
        )
    )
    said, rows = ingested(tmp_path, file, "facts", "notes[*].text")
    assert "Format text: the answers are lists of 2.0 texts" in said and "learns the first" in said
    assert rows[3]["fields"] == {"facts": "Ada | LIVES_IN | Rome; Ada | BORN | 1900; N | IS | 3"}
    assert rows[3]["answer"] == "Ada lives in the city of 3 today."
    assert rows[3]["references"] == ["The city of 3 is where Ada lives now."]


@pytest.mark.parametrize("answer", [None, "tech,billing"])
def test_one_hot_columns_are_found_or_named(tmp_path, answer):
    file = tmp_path / "rows.csv"
    queues = ["billing", "tech", "other"]
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["number", "body", *queues])
        for i in range(120):
            writer.writerow([i, f"mail number {i}", *(int(i % 3 == place) for place in range(3))])
    said, rows = ingested(tmp_path, file, "body", answer)
    if answer is None:
        assert "the answers are in columns billing, tech, other: 1 means that it applies" in said
        assert "Format label: exactly one of 3 columns applies to each row" in said
        assert [row["answer"] for row in rows[:3]] == queues
    else:
        assert "Format list: 0.7 of 2 columns apply to a row on average; 40 rows have none" in said
        assert [row["answer"] for row in rows[:3]] == ["billing", "tech", ""]


def test_a_cell_that_is_neither_one_nor_zero_is_counted(tmp_path):
    file = tmp_path / "rows.csv"
    rows = [f"mail number {i},{i % 2},{1 - i % 2}\n" for i in range(120)]
    file.write_text("body,billing,tech\n" + "mail number x,maybe,1\n" + "".join(rows))
    said, rows = ingested(tmp_path, file, "body", "billing,tech")
    assert "not_one_hot: 1 (first: line 2, column billing must say 1 or 0, true or false, yes or no)" in said
    assert len(rows) == 120


def test_a_column_that_numbers_the_rows_is_not_a_label(tmp_path):
    file = tmp_path / "rows.csv"
    lines = [f"{i % 2},mail number {i},{int(i % 3 == 0)},{int(i % 3 > 0)}\n" for i in range(120)]
    file.write_text("id,body,billing,tech\n" + "".join(lines))
    said, rows = ingested(tmp_path, file)
    assert "the answers are in columns billing, tech" in said and rows[0]["answer"] == "billing"


def test_a_system_text_or_history_that_says_nothing_is_none(tmp_path):
    file = tmp_path / "rows.csv"
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["messages", "system", "history"])
        for i in range(120):
            chat = [{"role": "user", "content": f"mail {i}"}, {"role": "assistant", "content": "ab"[i % 2]}]
            writer.writerow([json.dumps(chat), ["null", "None", "", "Sort."][i % 4], ["nan", "", "[]"][i % 3]])
    _, rows = ingested(tmp_path, file)
    assert rows[0]["fields"]["prompt"] == "mail 0" and len(rows) == 120
    assert rows[3]["fields"]["prompt"] == "System: Sort.\nUser: mail 3"


def test_files_named_after_sides_are_reported_when_they_are_mixed(tmp_path):
    (tmp_path / "both").mkdir()
    for name, rows in (("train.csv", ROWS[:80]), ("test.csv", ROWS[80:])):
        (tmp_path / "both" / name).write_text(csv_text(rows))
    said, _ = ingested(tmp_path, tmp_path / "both")
    assert "the files are named test, train" in said and "--rows TRAIN" in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text,label\n" + "".join(f'"He said "hi" then, {i}",a\n' for i in range(90)), "line 2"),
        ("text,label\n", "no rows below the header"),
    ],
)
def test_a_file_without_a_readable_row_says_why(tmp_path, text, message):
    file = tmp_path / "rows.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=f"(?s)no row of a file can be read.*{message}"):
        init(tmp_path / "ws", file)


def test_a_text_column_that_some_rows_leave_empty_is_optional(tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_text(
        "".join(
            json.dumps({"title": t[:9] if i % 3 else "", "body": "" if i == 7 else t, "queue": q}) + "\n"
            for i, (t, q) in enumerate(ROWS)
        )
    )
    text, rows = ingested(tmp_path, file)
    assert "Column title is empty in some rows, which is allowed" in text and "no_text: 1 (first: line 8" in text
    assert load(tmp_path / "ws/params.yaml").tasks["task"].optional == ("title",)
    assert len(rows) == len(ROWS) - 1 and rows[0]["fields"]["title"] == ""
    run_stage(tmp_path / "ws", "validate")
    assert len(list(read_lines(tmp_path / "ws/data/validate/task/examples.jsonl"))) == len(rows)


def test_a_title_above_the_header_is_to_be_removed(tmp_path):
    file = tmp_path / "x.csv"
    file.write_text("Export of tickets\n" + csv_text())
    with pytest.raises(DataError, match=r"(?s)no row of a file can be read.*remove what comes before the header"):
        init(tmp_path / "ws", file)


def refusal(tmp_path, name, content, *columns):
    """Returns the error of `init` for a file with this content."""
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as caught:
        init(tmp_path / "ws", tmp_path / name, *columns)
    return str(caught.value)


def json_lines(write):
    return "".join(write({"body": t, "queue": q}) + "\n" for t, q in ROWS)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", json_lines(repr), "bad_json: 120 (first: line 1, an object as Python prints it, wanted JSON)"),
        ("x.jsonl", json_lines(lambda row: json.dumps(row)[:-2]), "(first: line 1, no JSON value: the line is cut off)"),
        ("x.jsonl", json_lines(lambda row: json.dumps(row) + ","), "(first: line 1, a comma after the object)"),
        ("x.jsonl", json_lines(lambda row: "{" + json.dumps(row)), "(first: line 1, no JSON value, from character 2 on)"),
        ("x.jsonl", json_lines(lambda row: json.dumps(str(row))), "str, wanted an object"),
        ("x.json", json.dumps([t for t, _ in ROWS]), "bad_json: 120 (first: line 1, wanted an object or a list of cells)"),
        ("x.parquet", b"PAR1 cut off", "a complete Parquet or Arrow file"),
        ("x.arrow", b"ARROW1\0\0cut off", "a complete Parquet or Arrow file"),
        ("x.csv", "body,queue\n" + 'a,b,c\n"d" e,f,g\n' * 30, "too_many_fields: 30 (first: line 2, 3 fields, the header "
         "has 2); bad_csv: 30 (first: line 3"),
        ("x.csv", "a,a\n" + "b,c\n" * 30, "30 rows without a column that has a name of its own"),
        ("x.json", "[]", "no rows\n"),
    ],
)  # fmt: skip
def test_a_file_that_can_not_be_read_shows_all_reasons_with_their_first_lines(tmp_path, name, content, message):
    for columns in ((), ("body", "queue")):
        text = refusal(tmp_path, name, content, *columns)
        assert message in text and "no rows below the header" not in text


def test_a_column_whose_cells_can_not_be_read_says_why(tmp_path):
    content = csv_text([(f"{t}\0", q) for t, q in ROWS])
    text = refusal(tmp_path, "x.csv", content, "body", "queue")
    assert text.startswith("no cell of a column can be read")
    assert "nul: 120 (first: line 2, column body holds NUL characters)" in text and "is missing" not in text
    text = refusal(tmp_path, "x.csv", content)
    assert "No cell can be read of: nul: 120 (first: line 2, column body holds NUL characters)" in text


def test_objects_with_one_key_are_read_as_its_values(ingested):
    rows = [{"q": {"text": f"word{n} of a mail"}, "cls": {"name": ("x", "y", "z")[n % 3]}} for n in range(200)]
    said, read = ingested(rows)
    assert "The model reads column q.text, and the answers are in column cls.name." in said
    assert {(row["fields"]["text"], row["answer"]) for row in read} == {
        (r["q"]["text"], r["cls"]["name"]) for r in rows
    }
