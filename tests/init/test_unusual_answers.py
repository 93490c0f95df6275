"""Answers as programs and people write them: words for nothing, markers, lists without quotes."""

import json
import re

import pytest
from ruamel.yaml import YAML

from rungwise.config import load
from rungwise.core.errors import DataError
from rungwise.core.folders import read_lines
from rungwise.dataset.labels import alike
from rungwise.dataset.readers import list_in
from rungwise.init.answers import cleaned, common_ends
from rungwise.init.guess import guess
from rungwise.init.init import init
from rungwise.init.setting_text import setting_text
from rungwise.pipeline.stages import run_stage

pytestmark = pytest.mark.usefixtures("repository")

N = 90
NAMES = ("alpha", "beta", "gamma")


def rows_of(answer, n=N):
    return [{"body": f"a mail about {NAMES[i % 3]} {i}", "queue": answer(i, NAMES[i % 3])} for i in range(n)]


@pytest.mark.parametrize("word", ["N/A", "NaN", "#N/A", "NaT", "\\N", "nil", "undefined", "--", "(null)"])
def test_words_for_nothing(ingested, word):
    said, read = ingested(rows_of(lambda i, name: word if i % 10 == 0 else name))
    assert (
        len(read) == 81
        and {row["answer"] for row in read} == set(NAMES)
        and f"9 answers are '{word}'" in said.replace("\\\\", "\\")
    )


@pytest.mark.parametrize("word", ["nan", "null", "NaN"])
def test_most_rows_without_an_answer(word):
    done = cleaned([("t", word if i % 10 < 6 else NAMES[i % 3]) for i in range(100)])
    assert len(done.rows) == 40 and done.no_value == (word,)


def test_minus_one_among_fractions_and_signs_of_punctuation():
    assert cleaned([("t", ("0.0", "1.0", "2.0", "-1.0")[i % 4]) for i in range(20)]).no_value == ("-1.0",)
    names = cleaned([("t", "-1" if i % 20 == 0 else "N/A" if i % 21 == 0 else NAMES[i % 3]) for i in range(100)])
    assert names.no_value == ("-1", "N/A") and "'-1', 'N/A', which are read as no answer" in names.sentences[-1]
    assert cleaned([("t", ("-1", "2", "many")[i % 3]) for i in range(30)]).no_value == ()
    signs = [("t", (".", "?", "!", ",")[i % 4]) for i in range(40)]
    assert len(cleaned(signs).rows) == 40


@pytest.mark.parametrize("word", ["-1", "N/A", "nan", "None"])
def test_test_rows_whose_answers_say_that_there_is_none_are_refused(ingested, tmp_path, word):
    test = tmp_path / "test.jsonl"
    own = rows_of(lambda *_: word, 60)
    test.write_text("".join(json.dumps({**row, "body": f"{row['body']} x"}) + "\n" for row in own))
    code = {"alpha": "0", "beta": "1", "gamma": "2"}
    with pytest.raises(DataError, match=r"none of these rows has an answer\n.*test.jsonl\n.*60 rows") as error:
        ingested(rows_of(lambda i, name: code[name] if word == "-1" else name), test=test)
    assert "leave out --test" in str(error.value) and not (tmp_path / "ws").exists()


def test_a_word_for_nothing_that_only_test_rows_have_is_not_a_label(ingested, tmp_path):
    test = tmp_path / "test.jsonl"
    own = rows_of(lambda i, name: "N/A" if i % 5 else name, 300)
    test.write_text("".join(json.dumps({**row, "body": f"other {row['body']}"}) + "\n" for row in own))
    said, read = ingested(rows_of(lambda i, name: name), test=test)
    assert len(read) == N + 60 and "240 answers are 'N/A'" in said and "no training row" not in said


@pytest.mark.parametrize(
    ("write", "answer"),
    [
        (lambda name: f"{name} | x{name[0]} | y{name[1]}<|eot|>", ["gamma", "xg", "ya"]),
        (lambda name: f"['{name}', 'x']</s>", ["gamma", "x"]),
        (lambda name: [f"{name}</s>", "x</s>"], ["gamma", "x"]),
        (lambda name: [name, "x<|end|>"], ["gamma", "x"]),
        (lambda name: f"<s>{name}</s>", "gamma"),
        (lambda name: f"{name}<｜end▁of▁sentence｜>", "gamma"),
        (lambda name: f"label: {name}", "gamma"),
        (lambda name: f"__label__{name}", "gamma"),
        (lambda name: f"The answer is {name}", "gamma"),
        (lambda name: f"{name} END", "gamma"),
    ],
)
def test_markers_are_neither_learned_nor_parts_of_items(ingested, write, answer):
    said, read = ingested(rows_of(lambda i, name: write(name if i % 2 else f"{name}")), "body", "queue")
    given = read[2]["answer"]
    assert (re.split(r" ?[;|] ?", given) if isinstance(answer, list) else given) == answer
    assert "answers begin or end with" in said


def test_an_object_with_a_marker_after_it_is_read(ingested):
    _, read = ingested(rows_of(lambda i, name: json.dumps({"kind": name, "place": NAMES[i % 2]}) + "</s>"))
    assert json.loads(read[2]["answer"]) == {"kind": "gamma", "place": "alpha"}


def test_a_marker_that_only_test_rows_have_is_stripped_there(ingested, tmp_path):
    test = tmp_path / "test.jsonl"
    own = rows_of(lambda i, name: f"{name}</s>", 60)
    test.write_text("".join(json.dumps({**row, "body": f"other {row['body']}"}) + "\n" for row in own))
    said, read = ingested(rows_of(lambda i, name: name), test=test)
    assert {row["answer"] for row in read} == set(NAMES) and "no training row" not in said


def test_parts_of_names_are_not_stripped():
    assert common_ends(["billing_issue", "shipping_issue"]) == common_ends(["pre-sales", "pre-order"]) == ()
    assert common_ends(["Type: a END", "Type: b END"]) == ("Type:", "END")


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("{'a', 'b'}", ("a", "b")), ("{a,b}", ("a", "b")), ("[a, b c]", ("a", "b c")), ("{a}", ("a",)),
        ("{'a': 1}", None), ("{}", None), ("{a: b}", None), ("[a] and [b]", None), ("[1 0 0]", ("1", "0", "0")),
    ],
)  # fmt: skip
def test_sets_and_lists_without_quotes(text, items):
    assert list_in(text) == items


def test_objects_with_different_keys_are_texts():
    made = guess([json.dumps({"a": i, **({"b": 2} if i % 3 else {})}) for i in range(60)])
    assert made.format == "text" and "different keys" in made.why


@pytest.mark.parametrize("is_in_test", [True, False])
def test_items_with_every_usual_separator(ingested, tmp_path, is_in_test):
    odd = "a;b|c,d；e、f，g،h"
    test = tmp_path / "test.jsonl"
    own = rows_of(lambda i, name: [name, odd], 60)
    test.write_text("".join(json.dumps({**row, "body": f"other {row['body']}"}) + "\n" for row in own))
    rows = rows_of(lambda i, name: [name, f"x{i}" if is_in_test else odd])
    _, read = ingested(rows, test=test)
    assert len(read) == N + 60 and read[-1]["answer"].endswith(f" {odd}")


def test_labels_that_look_the_same_are_alike():
    assert alike(["van", "van\u200b", "tent"]) == [("van", "van\u200b")]


@pytest.mark.parametrize("text", ["plain", "ä 中", "\ufffe", "\x9b", "\u202e", "\x07", "\U000e0041", 'a\\b"c\n'])
def test_settings_hold_any_text(text):
    line = setting_text({"a": text})
    assert YAML(typ="safe").load(line) == {"a": text} and all(one.isprintable() for one in line)


def test_labels_with_characters_that_yaml_forbids(ingested, tmp_path):
    labels = ("ZIP_A", "INV_B", "SHP_\ufffeC")
    rows = [{"body": f"zip invoice shipping {i}", "queue": labels[i % 3]} for i in range(N)]
    ingested(rows)
    assert set(load(tmp_path / "ws/params.yaml").tasks["task"].answer.words) == set(labels)


def test_duplicates_do_not_make_the_sides_too_small(ingested, tmp_path, monkeypatch):
    rows = rows_of(lambda i, name: name, 150)
    said, _ = ingested([*rows, *rows])
    assert "300 rows in rows.jsonl, of which a run drops 150 duplicates: about 60 for training" in said
    monkeypatch.chdir(tmp_path / "ws")
    run_stage(tmp_path / "ws", "validate")
    run_stage(tmp_path / "ws", "split")
    assert len(list(read_lines(tmp_path / "ws/data/split/task/dev.jsonl"))) >= 30


def test_few_test_rows_lower_what_the_gate_requires(ingested, tmp_path):
    said, _ = ingested(rows_of(lambda i, name: name, 60))
    settings = load(tmp_path / "ws/params.yaml")
    assert settings.decide.min_scored == settings.promote.min_scored == 10
    assert "20 test rows are too few to show much: 30 are usual; `promote.min_scored` is lowered to 10" in said


def test_spans_in_a_list_are_right_answers(tmp_path, ingested):
    def question(i):
        answers = [{"text": f"w{i}", "answer_start": 0}, {"text": f"the w{i}", "answer_start": 0}]
        return {"question": f"which word {i}?", "id": str(i), "answers": answers}

    paragraphs = [{"context": f"w{i} is here", "qas": [question(i)]} for i in range(N)]
    file = tmp_path / "squad.json"
    file.write_text(json.dumps({"version": "1", "data": [{"title": "t", "paragraphs": paragraphs}]}))
    said, read = ingested(file)
    assert read[3]["fields"] == {"context": "w3 is here", "question": "which word 3?"} and read[3]["answer"] == "w3"
    assert "its rows are at `data.[].paragraphs.[].qas.[]`" in said


@pytest.mark.parametrize("names", ["columns", "header"])
def test_a_list_of_names_and_a_list_of_rows(tmp_path, ingested, names):
    file = tmp_path / "rows.json"
    rows = [list(row.values()) for row in rows_of(lambda i, name: name)]
    file.write_text(json.dumps({names: ["body", "queue"], "index": list(range(N)), "data": rows}))
    _, read = ingested(file)
    assert len(read) == N and read[1]["fields"] == {"body": "a mail about beta 1"} and read[1]["answer"] == "beta"


def test_what_stands_above_a_row_belongs_to_it(tmp_path):
    file = tmp_path / "rows.json"
    rows = [{"shop": f"s{i}", "mails": [{"body": f"mail {i}", "queue": NAMES[i % 3], "n": i}]} for i in range(N)]
    file.write_text(json.dumps({"title": "all", "shops": rows}))
    lines = init(tmp_path / "ws", file, "body,shop", "queue", records="shops.[].mails.[]", bases=["pocket-s"])
    assert "Not read: n" in "\n".join(lines) and "title" not in "\n".join(lines)


@pytest.mark.parametrize("kind", ["characters", "words", "rare"])
def test_rows_that_validate_rejects_do_not_stop_the_run(ingested, tmp_path, kind):
    long = {"characters": "x" * 20_001, "words": "a b " * 2_600, "rare": "a mail"}[kind]
    rows = [
        {"body": f"{long if i % 6 == 0 else 'a mail'} {i}", "queue": f"only {i}" if kind == "rare" and i % 6 == 0 else NAMES[i % 3]}
        for i in range(120)
    ]  # fmt: skip
    said, _ = ingested(rows)
    assert "`validate.max_rejected_share` is set to 0.25" in said
    run_stage(tmp_path / "ws", "validate")
    assert len(list(read_lines(tmp_path / "ws/data/validate/task/examples.jsonl"))) == 100


def test_items_that_are_signs_are_items(ingested, tmp_path):
    _, read = ingested(rows_of(lambda i, name: ["-", "+", "🙂"][: 1 + i % 3]))
    run_stage(tmp_path / "ws", "validate")
    assert len(list(read_lines(tmp_path / "ws/data/validate/task/examples.jsonl"))) == len(read) == N
