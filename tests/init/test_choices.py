"""Questions with options: the prompt lists them with their letters, and the answer is a letter."""

import csv
import json

import pytest
from ruamel.yaml import YAML

from rungwise.config import parse
from rungwise.core.errors import DataError, SettingsError

N = 60
TEXTS = ("red", "green", "blue", "black")


def options(n):
    return [f"{TEXTS[(n + place) % 4]} {n}" for place in range(4)]


def settings(tmp_path):
    return YAML(typ="safe").load((tmp_path / "ws/params.yaml").read_text())


def check(tmp_path, read, last="D. {D}"):
    """Row 6 asks `question 6`, and its third option is right."""
    prompt = settings(tmp_path)["tasks"]["task"]["prompt"]
    assert prompt.splitlines()[-1] == "Answer:" and "\nA. {" in prompt and last in prompt
    row = next(row for row in read if "question 6" in row["fields"].values())
    assert [row["fields"][slot] for slot in settings(tmp_path)["tasks"]["task"]["answer"]["options"]] == options(6)
    assert row["answer"] == "C"


ANSWERS = {
    "letter": lambda n: "ABCD"[n % 4],
    "small": lambda n: f"({'abcd'[n % 4]})",
    "from 0": lambda n: n % 4,
    "from 1": lambda n: n % 4 + 1,
    "text": lambda n: options(n)[n % 4],
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_answers_name_options_by_letter_number_or_text(ingested, tmp_path, kind):
    rows = [{"question": f"question {n}", "choices": options(n), "answer": ANSWERS[kind](n)} for n in range(N)]
    said, read = ingested(rows)
    check(tmp_path, read)
    assert "Multiple choice: " in said and "the answer is its letter" in said


@pytest.mark.parametrize(
    ("names", "answer", "first"),
    [
        (("A", "B", "C", "D"), "answer", None),
        (("option_a", "option_b", "option_c", "option_d"), "label", 0),
        (("opa", "opb", "opc", "opd"), "cop", 1),
        (("ending0", "ending1", "ending2", "ending3"), "label", 0),
    ],
)
def test_options_in_columns_of_a_csv_file(ingested, tmp_path, names, answer, first):
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "question", *names, answer])
        for n in range(N):
            writer.writerow([n, f"question {n}", *options(n), "ABCD"[n % 4] if first is None else n % 4 + first])
    _, read = ingested(tmp_path / "rows.csv")
    check(tmp_path, read, "D. {")


@pytest.mark.parametrize(
    "form",
    [
        lambda n: {"text": options(n), "label": list("ABCD" if n % 2 else "1234")},
        lambda n: [{"text": text, "label": "ABCD"[place]} for place, text in enumerate(options(n))],
        lambda n: dict(zip("ABCD", options(n), strict=True)),
        lambda n: str(options(n)),
    ],
)
def test_forms_of_options(ingested, tmp_path, form):
    def names(n):
        return "ABCD" if n % 2 or not isinstance(form(n), dict) or "A" in form(n) else "1234"

    rows = [{"question": f"question {n}", "choices": form(n), "answerKey": names(n)[n % 4]} for n in range(N)]
    _, read = ingested(rows, "question", "answerKey")
    check(tmp_path, read)


def test_rows_with_fewer_options_are_read_and_those_that_name_none_are_counted(ingested, tmp_path):
    rows = [
        {"question": f"question {n}", "options": options(n)[: 3 if n % 4 < 3 else 4], "answer": n % 4} for n in range(N)
    ]
    said, read = ingested([*rows, {"question": "question x", "options": ["a", "b"], "answer": 2}])
    assert (
        len(read) == N and "not_an_option: 1 (first: line 61, column answer names none of the row's 2 options)" in said
    )
    assert read[4]["fields"]["D"] == "" and settings(tmp_path)["tasks"]["task"]["optional"] == ["C", "D"]


def test_own_test_rows_are_read_in_the_same_way(ingested, tmp_path):
    def row(n):
        return {"question": f"question {n}", "choices": options(n), "answer": n % 4}

    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row(n)) + "\n" for n in range(100, 160)))
    _, read = ingested([row(n) for n in range(N)], test=tmp_path / "test.jsonl")
    assert {one["answer"] for one in read if one["role"] == "test"} == set("ABCD") and len(read) == 2 * N


def test_lists_next_to_numbers_and_columns_of_numbers_are_not_options(ingested, tmp_path):
    rows = [
        {"text": f"text {n}", "tokens": ["text", str(n)], "a": n % 2, "b": 1 - n % 2, "label": n % 2} for n in range(N)
    ]
    said, read = ingested(rows)
    assert "Multiple choice" not in said and {row["answer"] for row in read} == {"0", "1"}


NUMBERED = {
    "letter": lambda n: [f"question {n} about things?", *options(n), "ABCD"[n % 4]],
    "from 0": lambda n: [f"question {n} about things?", *options(n), str(n % 4)],
    "from 1": lambda n: [f"question {n} about things?", *options(n), str(n % 4 + 1)],
    "with an id": lambda n: [str(n), f"question {n} about things?", *options(n), "ABCD"[n % 4]],
    "of numbers": lambda n: [f"question {n} about things?", *(str(n * 3 + k) for k in range(4)), "ABCD"[n % 4]],
    "of the same words": lambda n: [f"question {n} about things?", "Right", "Wrong", "Both", "None", "ABCD"[n % 4]],
}


@pytest.mark.parametrize("kind", NUMBERED)
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_options_of_a_table_without_a_header_are_found_by_their_places(ingested, tmp_path, kind, ending):
    rows = [NUMBERED[kind](n) for n in range(N)]
    with (tmp_path / f"rows.{ending}").open("w", newline="") as file:
        if ending == "csv":
            csv.writer(file).writerows(rows)
        else:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    said, read = ingested(tmp_path / f"rows.{ending}")
    fields = [(row["fields"]["question"], *(row["fields"][letter] for letter in "ABCD"), row["answer"]) for row in read]
    assert fields == [(*row[-6:-1], "ABCD"[n % 4]) for n, row in enumerate(rows)]
    assert "This is a guess by their places; --text and --answer name other columns." in said
    prompt = settings(tmp_path)["tasks"]["task"]["prompt"]
    assert prompt == "Question: {question}\nA. {A}\nB. {B}\nC. {C}\nD. {D}\nAnswer:"


def test_options_in_a_list_without_a_name_are_found(ingested, tmp_path):
    rows = [[f"question {n}", options(n), "ABCD"[n % 4]] for n in range(N)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said, read = ingested(tmp_path / "rows.jsonl")
    check(tmp_path, read)
    assert "the options are in column [1]" in said


def test_own_test_rows_without_a_header_have_the_same_options(ingested, tmp_path):
    for name, numbers in (("rows", range(N)), ("test", range(100, 160))):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([f"question {n} about things?", *options(n), "ABCD"[n % 3]] for n in numbers)
        with (tmp_path / f"{name}.csv").open("a", newline="") as file:
            csv.writer(file).writerows([["last question?", *options(N), "D"]] if name == "rows" else [])
    _, read = ingested(tmp_path / "rows.csv", test=tmp_path / "test.csv")
    own = [row for row in read if row["role"] == "test"]
    assert len(own) == 60 and own[0]["fields"]["D"] == options(100)[3]


@pytest.mark.parametrize(
    "row",
    [
        lambda n: [
            f"a mail of length {n}",
            "ab"[n % 2] + " GmbH",
            f"2026-01-{n % 28 + 1:02d}",
            "Bonn",
            "x",
            "ABCD"[n % 4],
        ],
        lambda n: [f"a mail {n}", f"a far longer text than the other one, number {n}", f"id{n}", "AB"[n % 2]],
        lambda n: [f"a mail {n}", f"text {n}", f"other {n}", "01"[n % 2]],
    ],
)
def test_other_columns_before_letters_are_not_options(ingested, tmp_path, row):
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows(row(n) for n in range(N))
    said, _ = ingested(tmp_path / "rows.csv", None, f"[{len(row(0)) - 1}]")
    assert "Multiple choice" not in said


def test_who_names_only_the_question_gets_no_guessed_options(ingested, tmp_path):
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows(NUMBERED["letter"](n) for n in range(N))
    said, read = ingested(tmp_path / "rows.csv", "[0]", "[5]")
    assert "Multiple choice" not in said and "Not read: [1], [2], [3], [4]." in said
    assert read[0]["fields"] == {"text": "question 0 about things?"}


def test_hidden_answers_of_test_rows_are_not_options(ingested, tmp_path):
    def row(n, answer):
        return {"ctx": f"question {n}", "endings": options(n), "label": answer}

    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row(n, "-1")) + "\n" for n in range(100, 160)))
    with pytest.raises(DataError, match="no_answer: 60"):
        ingested([row(n, str(n % 4)) for n in range(N)], test=tmp_path / "test.jsonl")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("options: [A, C]", "answer.options: C is not a slot of the prompt"),
        ("options: [A]", "options: name at least two"),
        ("options: [A, B], format: text", "options: only format label"),
    ],
)
def test_settings_that_do_not_fit_are_refused(ingested, tmp_path, answer, message):
    ingested([{"question": f"question {n}", "choices": options(n)[:2], "answer": n % 2} for n in range(N)])
    written = settings(tmp_path)
    written["tasks"]["task"]["answer"] = YAML(typ="safe").load(f"{{column: answer, {answer}}}")
    with pytest.raises(SettingsError, match=message):
        parse(written, "params.yaml")
