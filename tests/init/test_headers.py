"""Lists of cells as rows, and files with and without a header side by side."""

import json

import pytest

from rungwise.core.errors import DataError
from rungwise.init.init import init

N = 60
ROWS = [(f"text {n}", ("billing", "tech")[n % 2]) for n in range(N)]


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", lines([("text", "label"), *ROWS])),
        ("rows.json", lines([("text", "label"), *ROWS])),
        ("rows.json", json.dumps([("text", "label"), *ROWS])),
        ("rows.jsonl", json.dumps([("text", "label"), *ROWS], indent=1)),
    ],
)
@pytest.mark.parametrize("named", [(), ("text", "label")])
def test_lists_with_a_header_are_a_table(ingested, tmp_path, name, content, named):
    (tmp_path / name).write_text(content)
    _, read = ingested(tmp_path / name, *named)
    assert [(row["fields"]["text"], row["answer"]) for row in read] == ROWS


@pytest.mark.parametrize("named", [(), ("[0]", "[1]")])
@pytest.mark.parametrize("as_lines", [True, False])
def test_lists_without_a_header_have_numbered_columns(ingested, tmp_path, named, as_lines):
    (tmp_path / "rows.jsonl").write_text(lines(ROWS) if as_lines else json.dumps(ROWS))
    said, read = ingested(tmp_path / "rows.jsonl", *named)
    assert [(row["fields"]["text"], row["answer"]) for row in read] == ROWS
    assert "the first list looks like a row" in said


def test_lists_after_objects_are_counted_rejections(ingested, tmp_path):
    rows = [{"text": text, "label": label} for text, label in ROWS]
    (tmp_path / "rows.jsonl").write_text(lines([*rows, ROWS[0], ROWS[1]]))
    said, read = ingested(tmp_path / "rows.jsonl")
    assert len(read) == N and "bad_json: 2 (first: line 61, a list of cells after objects" in said


def test_a_first_row_of_sentences_is_a_header_only_if_nothing_else_is_said(ingested, tmp_path):
    pairs = [(f"This is text number {n} of many.", f"Dies ist der Text {n} von vielen.") for n in range(N)]
    (tmp_path / "rows.jsonl").write_text(lines(pairs))
    with pytest.raises(DataError, match=r"(?s)--answer is missing.*use --no-header if the first row is not a header"):
        init(tmp_path / "refused", tmp_path / "rows.jsonl")
    _, read = ingested(tmp_path / "rows.jsonl", "[0]", "[1]")
    assert [(row["fields"]["text"], row["answer"]) for row in read] == pairs


def test_a_list_of_another_length_is_a_counted_rejection(ingested, tmp_path):
    (tmp_path / "rows.jsonl").write_text(lines([("text", "label"), *ROWS, ("text x",), ("text y", "tech", "more")]))
    said, read = ingested(tmp_path / "rows.jsonl")
    assert len(read) == N and "too_few_fields: 1 (first: line 62, 1 cell, the first row has 2)" in said


@pytest.mark.parametrize("cell", ["None", ""])
def test_a_first_line_with_a_cell_that_says_none_may_still_be_a_row(ingested, tmp_path, cell):
    (tmp_path / "rows.csv").write_text("".join(f"{t},{a},{cell}\n" for t, a in ROWS))
    said, read = ingested(tmp_path / "rows.csv")
    assert len(read) == N and "the first line looks like a row" in said


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_file_with_a_header_and_one_without_are_refused_with_both_names(ingested, tmp_path, ending, is_first):
    def write(name, rows):
        path = tmp_path / f"{name}.{ending}"
        path.write_text(lines(rows) if ending == "jsonl" else "".join(f"{t},{a}\n" for t, a in rows))
        return path

    headed, plain = write("headed", [("text", "label"), *ROWS]), write("plain", [(f"more {t}", a) for t, a in ROWS])
    with pytest.raises(DataError, match="only one of two files has a header") as caught:
        init(tmp_path / "ws", [headed, plain] if is_first else [plain, headed])
    assert f"headed.{ending}" in str(caught.value) and f"plain.{ending}" in str(caught.value)


@pytest.mark.parametrize("headed", ["a", "c"])
def test_a_folder_of_files_of_which_one_has_a_header_is_refused(tmp_path, headed):
    folder = tmp_path / "rows"
    folder.mkdir()
    for name, rows in (("a", ROWS[:30]), ("b", ROWS[30:]), ("c", [(f"more {t}", a) for t, a in ROWS])):
        header = "text,label\n" if name == headed else ""
        (folder / f"{name}.csv").write_text(header + "".join(f"{t},{a}\n" for t, a in rows))
    plain = "b" if headed == "a" else "a"
    with pytest.raises(
        DataError, match=rf"{headed}\.csv has the names of the columns, that of {plain}\.csv looks like"
    ):
        init(tmp_path / "ws", folder)


def test_objects_next_to_a_table_without_a_header_are_not_said_to_have_one(tmp_path):
    (tmp_path / "plain.csv").write_text("".join(f"{t},{a}\n" for t, a in ROWS))
    (tmp_path / "test.jsonl").write_text(lines([{"text": f"more {t}", "label": a} for t, a in ROWS]))
    with pytest.raises(DataError, match="a column is missing") as caught:
        init(tmp_path / "ws", tmp_path / "plain.csv", test=tmp_path / "test.jsonl")
    assert "test.jsonl" in str(caught.value)


def test_parts_without_a_header_are_compared_with_the_lines_of_the_first(ingested, tmp_path):
    folder = tmp_path / "rows"
    folder.mkdir()
    (folder / "a.csv").write_text("".join(f"{t},{a}\n" for t, a in ROWS))
    (folder / "b.csv").write_text("a last text,tech\n")
    said, read = ingested(folder)
    assert len(read) == N + 1 and "looks like a row" in said
