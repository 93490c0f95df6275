"""Columns of chats and instructions are read whole, or named."""

import csv
import json

import pandas
import pytest

from rungwise.core.errors import DataError

N = 90
LABELS = "abc"


def turns(n, user="human", assistant="gpt"):
    return [{"from": user, "value": f"question {n}"}, {"from": assistant, "value": f"reply {n}"}]


def test_the_input_of_an_instruction_is_read_also_with_a_label_of_its_own(ingested):
    rows = [{"instruction": "Name it.", "input": f"thing {n}", "output": "x", "kind": LABELS[n % 3]} for n in range(N)]
    said, read = ingested(rows, "instruction", "kind")
    assert read[5]["fields"] == {"prompt": "Name it.\n\nthing 5"} and read[5]["answer"] == "c"
    assert "input, instruction become `prompt`" in said and "Not read: output" in said


@pytest.mark.parametrize("more", [{"instruction": "Name it.", "input": "a thing"}, {"conversations": turns(1)}])
def test_columns_next_to_those_that_were_named_are_named(ingested, more):
    texts = "instruction,input" if "input" in more else "conversations"
    rows = [{**more, "text": f"t {n}", "system": "Be kind.", "note": f"n {n}", "kind": LABELS[n % 3]} for n in range(N)]
    said, read = ingested(rows, f"{texts},text", "kind")
    is_turns = "conversations" in more  # the system text is their first turn
    assert ("Not read: note" if is_turns else "Not read: system, note") in said
    assert not is_turns or read[0]["fields"]["conversations"].startswith("System: Be kind.\n")


@pytest.mark.parametrize("titles", [str.title, str.upper, " {} ".format])
def test_names_are_known_in_any_case(ingested, titles):
    names = {one: titles(one) for one in ("instruction", "input", "output", "system")}
    rows = [
        {names["instruction"]: "Name it.", names["input"]: f"thing {n}", names["output"]: f"name {n}",
         names["system"]: "Be kind."} for n in range(N)
    ]  # fmt: skip
    _, read = ingested(rows, "instruction", "output")
    assert read[3]["fields"]["prompt"] == "System: Be kind.\nUser: Name it.\n\nthing 3"
    assert read[3]["answer"] == "name 3"


@pytest.mark.parametrize("column", ["input", "history", "system"])
def test_a_column_that_only_later_rows_fill_is_read(ingested, column):
    filled = {"input": "thing {}", "history": [["q {}", "r"]], "system": "rule {}"}[column]
    later = json.dumps({column: filled})
    rows = [
        {"instruction": "Name it.", "output": f"name {n}"}
        | (json.loads(later.replace("{}", str(n))) if n >= 400 else {column: ""})
        for n in range(500)
    ]
    _, read = ingested(rows, "instruction", "output")
    assert len({row["fields"]["prompt"] for row in read}) == 101


@pytest.mark.parametrize("nothing", ["[]", "null", "", "NaN"])
def test_a_chat_column_with_nothing_does_not_hide_the_other(ingested, tmp_path, nothing):
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["messages", "conversations"])
        writer.writerows([nothing, json.dumps(turns(n))] if n % 2 else [json.dumps(turns(n)), ""] for n in range(N))
    _, read = ingested(tmp_path / "rows.csv")
    assert [row["answer"] for row in read] == [f"reply {n}" for n in range(N)]


def test_messages_or_an_instruction_in_each_row(ingested):
    one, other = (
        (lambda n: {"messages": turns(n)}),
        (lambda n: {"instruction": f"question {n}", "output": f"reply {n}"}),
    )
    empty = {"messages": None, "instruction": None, "output": None}
    _, read = ingested([empty | (one if n % 2 else other)(n) for n in range(N)])
    assert [(row["fields"]["prompt"], row["answer"]) for row in read] == [
        (f"question {n}", f"reply {n}") for n in range(N)
    ]


@pytest.mark.parametrize("history", [["before", "said"], [["before", "said"]], turns(0)])
@pytest.mark.parametrize(
    "system", ["Be kind.", {"role": "system", "content": "Be kind."}, [{"role": "system", "content": "Be kind."}]]
)
def test_forms_of_a_history_and_of_a_system_text(ingested, history, system):
    rows = [{"instruction": f"q {n}", "output": f"r {n}", "history": history, "system": system} for n in range(N)]
    _, read = ingested(rows)
    first, *middle, last = read[7]["fields"]["prompt"].splitlines()
    assert (first, last) == ("System: Be kind.", "User: q 7") and [one.partition(":")[0] for one in middle] == [
        "User", "Assistant",
    ]  # fmt: skip


@pytest.mark.parametrize(("history", "system"), [(5, ""), ([], 5.5), ([["a", "b", "c"]], "")])
def test_a_column_that_can_not_be_read_is_named(ingested, history, system):
    rows = [{"instruction": f"q {n}", "output": f"r {n}", "history": history, "system": system} for n in range(N)]
    if isinstance(system, float):  # a number is text
        assert ingested(rows)[1][0]["fields"]["prompt"].startswith("System: 5.5")
        return
    with pytest.raises(DataError, match="bad_shape: 90 .*column history: "):
        ingested(rows)


@pytest.mark.parametrize("is_list", [True, False])
def test_what_stands_next_to_a_prompt_and_its_completion_is_read(ingested, is_list):
    def turn(role, text):
        return [{"role": role, "content": text}] if is_list else text

    rows = [
        {"prompt": turn("user", f"q {n}"), "completion": turn("assistant", f"r {n}"), "tools": [{"name": "f"}]}
        for n in range(N)
    ]
    said, read = ingested(rows)
    assert read[2]["fields"]["prompt"] == 'System: Tools: [{"name": "f"}]\nUser: q 2' and read[2]["answer"] == "r 2"
    assert "Not read" not in said


def test_a_query_with_its_response_and_what_comes_before(ingested):
    rows = [{"query": f"q {n}", "response": f"r {n}", "system": "Be kind.", "history": []} for n in range(N)]
    _, read = ingested(rows)
    assert read[2]["fields"]["prompt"] == "System: Be kind.\nUser: q 2" and read[2]["answer"] == "r 2"


def four_turns(n, role="role", said="content", names=("user", "assistant")):
    texts = (f"question {n}", "Which one?", "The blue one.", f"reply {n}")
    return [{role: names[place % 2], said: text} for place, text in enumerate(texts)]


WHOLE = "User: question 4\nAssistant: Which one?\nUser: The blue one.\nAssistant: reply 4"


@pytest.mark.parametrize("named", [{}, {"answer": "label"}, {"text": "messages", "answer": "label"}])
@pytest.mark.parametrize("form", ["lists", "json", "csv", "parquet"])
def test_a_conversation_with_a_label_of_its_own_is_the_prompt(ingested, tmp_path, named, form):
    rows = [{"messages": four_turns(n), "label": LABELS[n % 3]} for n in range(N)]
    file = tmp_path / f"rows.{form}"
    if form in ("json", "csv"):
        rows = [row | {"messages": json.dumps(row["messages"])} for row in rows]
    if form == "json":
        file.write_text(json.dumps(rows))
    elif form == "parquet":
        pandas.DataFrame(rows).to_parquet(file)
    elif form == "csv":
        with file.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerows([["messages", "label"], *([row["messages"], row["label"]] for row in rows)])
    said, read = ingested(rows if form == "lists" else file, **named)
    assert read[4]["fields"] == {"messages": WHOLE} and read[4]["answer"] == "b"
    assert "The conversation in column messages is the prompt, and the answers are in column label" in said


@pytest.mark.parametrize(("column", "answer"), [("conversations", "intent"), ("dialogue", "label")])
def test_turns_of_sharegpt_and_a_column_of_another_name_are_a_prompt(ingested, column, answer):
    rows = [
        {column: four_turns(n, "from", "value", ("human", "gpt")), "system": "Be kind.", answer: LABELS[n % 3]}
        for n in range(N)
    ]
    _, read = ingested(rows)
    assert read[4]["fields"] == {column: f"System: Be kind.\n{WHOLE}"} and read[4]["answer"] == "b"


def test_one_turn_with_a_label_is_its_text(ingested):
    rows = [{"messages": [{"role": "user", "content": f"t {n}"}], "topic": LABELS[n % 3]} for n in range(N)]
    _, read = ingested(rows)
    assert read[4]["fields"] == {"messages": "t 4"} and read[4]["answer"] == "b"


def test_a_conversation_next_to_a_named_text_is_read_as_turns(ingested):
    rows = [{"messages": four_turns(n), "subject": f"s {n}", "kind": LABELS[n % 3]} for n in range(N)]
    _, read = ingested(rows, "subject,messages", "kind")
    assert read[4]["fields"] == {"subject": "s 4", "messages": WHOLE}


@pytest.mark.parametrize("answer", [None, "completion"])
def test_the_last_reply_stays_the_answer_if_it_is_named_or_the_other_column_is_not_a_label(ingested, answer):
    name = "label" if answer else "category"
    rows = [{"messages": four_turns(n), name: LABELS[n % 3]} for n in range(N)]
    said, read = ingested(rows, None, answer)
    assert read[4]["answer"] == "reply 4" and f"Not read: {name}" in said


def test_marks_of_wanted_replies_are_no_labels_of_conversations(ingested):
    said, read = ingested([{"messages": four_turns(n), "label": n % 2 == 0} for n in range(N)])
    assert read[4]["answer"] == "reply 4" and "column label is true or false" in said


def test_a_conversation_that_can_not_be_read_is_a_counted_rejection(ingested):
    rows = [{"messages": four_turns(n) if n else "cut [{", "label": LABELS[n % 3]} for n in range(N)]
    said, read = ingested(rows)
    assert len(read) == N - 1 and "bad_shape: 1 (first: line 1" in said
