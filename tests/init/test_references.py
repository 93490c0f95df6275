"""Several right answers of a row in columns of their own: found by `init`, said aloud, read by ingest."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from rungwise.config import load
from rungwise.core.errors import DataError, RungwiseError
from rungwise.init.init import init

N = 150


def table(path: Path, names: list[str], rows: list[list[Any]]) -> Path:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([names, *rows])
    return path


def reworded(i: int) -> list[str]:
    """Returns a text and three ways to say it in plain words; the third is missing in most rows."""
    third = f"Number {i} of them came home." if i % 4 == 0 else ""
    return [f"The vessel numbered {i} returned to port.", f"Ship {i} came back.", f"Boat {i} is back.", third]


@pytest.mark.parametrize(
    "names",
    [
        ["src", "ref1", "ref2", "ref3"],
        ["text", "reference_0", "reference_1", "reference_2"],
        ["text", "target", "target2", "target3"],
        ["text", "Reference 1", "Reference 2", "Reference 10"],
    ],
)
def test_numbered_columns_of_references_are_found_and_said(ingested, tmp_path, names):
    file = table(tmp_path / "rows.csv", names, [reworded(i) for i in range(N)])
    text, read = ingested(file)
    answer = load(tmp_path / "ws/params.yaml").tasks["task"].answer
    assert (answer.column, answer.others, answer.format) == (names[1], tuple(names[2:]), "text")
    assert f"the answers are in column {names[1]}. Further right answers are in columns {names[2]}, {names[3]}" in text
    assert "of which any counts (`answer.others`)" in text
    assert "Not read" not in text
    by_answer = {row["answer"]: row.get("references", []) for row in read}
    assert by_answer["Ship 4 came back."] == ["Boat 4 is back.", "Number 4 of them came home."]
    assert by_answer["Ship 5 came back."] == ["Boat 5 is back."]


def test_the_users_own_names_and_lists_in_the_cells(ingested, tmp_path):
    rows = [{"body": a, "ann": b, "bob": [c, d] if d else []} for a, b, c, d in map(reworded, range(N))]
    rows[7]["ann"] = None
    rows[7]["bob"] = ["Only Bob answered."]
    text, read = ingested(rows, "body", "ann,bob")
    answer = load(tmp_path / "ws/params.yaml").tasks["task"].answer
    assert (answer.column, answer.others) == ("ann", ("bob",)) and "Format text" in text
    by_answer = {row["answer"]: row.get("references", []) for row in read}
    assert by_answer["Ship 4 came back."] == ["Boat 4 is back.", "Number 4 of them came home."]
    assert by_answer["Ship 5 came back."] == [] and by_answer["Only Bob answered."] == []


def test_lists_that_are_written_as_text_are_read_when_all_cells_are_lists(ingested, tmp_path):
    rows = [{"body": a, "ann": json.dumps([b]), "bob": json.dumps([c, d])} for a, b, c, d in map(reworded, range(N))]
    _, read = ingested(rows, "body", "ann,bob")
    assert load(tmp_path / "ws/params.yaml").tasks["task"].answer.any_of
    assert {row["answer"]: row.get("references", []) for row in read}["Ship 5 came back."] == ["Boat 5 is back."]


def test_short_references_are_texts_and_markers_are_stripped(ingested, tmp_path):
    rows = [{"question": f"Where is {i}?", "ref1": f"in {i % 5}</s>", "ref2": f"at {i % 7}</s>"} for i in range(N)]
    text, read = ingested(rows, "question", "ref1,ref2")
    assert "Format text" in text and load(tmp_path / "ws/params.yaml").tasks["task"].answer.strip == ("</s>",)
    assert (read[8]["answer"], read[8]["references"]) == ("in 3", ["at 1"])


def test_a_named_column_alone_is_read_alone_and_the_others_are_named(ingested, tmp_path):
    file = table(tmp_path / "rows.csv", ["src", "ref1", "ref2", "ref3"], [reworded(i) for i in range(N)])
    text, read = ingested(file, "src", "ref1")
    assert load(tmp_path / "ws/params.yaml").tasks["task"].answer.others == ()
    assert "Not read: ref2, ref3." in text and "--answer ref1,ref2,ref3 takes each as a right answer" in text
    assert not any(row.get("references") for row in read)


def test_test_rows_with_more_references_than_the_training_rows(ingested, tmp_path):
    file = table(tmp_path / "train.csv", ["src", "target"], [reworded(i)[:2] for i in range(N)])
    test = table(tmp_path / "test.csv", ["src", "Target", "target2"], [reworded(i)[:3] for i in range(900, 990)])
    text, read = ingested(file, "src", test=test)
    answer = load(tmp_path / "ws/params.yaml").tasks["task"].answer
    assert (answer.column, answer.others) == ("target", ("target2",)) and "Format text: columns target, target2" in text
    by_answer = {row["answer"]: row.get("references", []) for row in read}
    assert by_answer["Ship 5 came back."] == [] and by_answer["Ship 905 came back."] == ["Boat 905 is back."]


def test_test_rows_with_fewer_references_than_the_training_rows(ingested, tmp_path):
    file = table(tmp_path / "train.csv", ["src", "a", "b"], [reworded(i)[:3] for i in range(N)])
    test = table(tmp_path / "test.csv", ["src", "a"], [reworded(i)[:2] for i in range(900, 990)])
    _, read = ingested(file, "src", "a,b", test=test)
    by_answer = {row["answer"]: row.get("references", []) for row in read}
    assert by_answer["Ship 5 came back."] == ["Boat 5 is back."] and by_answer["Ship 905 came back."] == []


def test_a_choice_of_answers_is_not_taken_for_references(ingested, tmp_path):
    rows = [
        [f"What is {i} times two, please?", f"it is {2 * i}", f"it is {2 * i}", f"it is {2 * i + 1}"] for i in range(N)
    ]
    file = table(tmp_path / "rows.csv", ["question", "answer", "answer1", "answer2"], rows)
    ingested(file)
    assert load(tmp_path / "ws/params.yaml").tasks["task"].answer.others == ()


def test_labels_of_several_people_and_scores_are_not_references(tmp_path):
    rows = [[f"a long mail with number {i}", ["tent", "boat"][i % 2], ["tent", "boat"][i % 3 % 2]] for i in range(N)]
    file = table(tmp_path / "rows.csv", ["mail", "target1", "target2"], rows)
    with pytest.raises(DataError, match="can't be guessed"):
        init(tmp_path / "ws", file, "mail")


def test_a_missing_column_is_named(tmp_path):
    file = table(tmp_path / "rows.csv", ["src", "ref1", "ref2", "ref3"], [reworded(i) for i in range(N)])
    with pytest.raises(RungwiseError, match="ref4"):
        init(tmp_path / "ws", file, "src", "ref1,ref4")
