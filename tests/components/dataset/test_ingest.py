import pytest

from components.config import IngestSettings, SplitSettings, TaskSettings
from components.dataset.ingest import ingest
from components.errors import DataError

TASK = TaskSettings(prompt="{body} Queue:", answer={"column": "queue"}, target=0.9)


def run(tmp_path, text, split=None, task=TASK, **settings):
    (tmp_path / "x.csv").write_text(text)
    sources = ({"name": "tickets", "path": "x.csv"},)
    ingest_settings = IngestSettings.model_validate(
        {"sources": sources, "max_rejected_share": 1.0, **settings}, strict=False
    )
    return ingest(ingest_settings, split or SplitSettings(), task, tmp_path)


def test_rows_become_examples_and_the_others_are_counted(tmp_path):
    result = run(tmp_path, "body,queue\nhello,a\n ,a\nworld,\nagain, b \n")
    assert [(e.fields["body"], e.answer, e.line) for e in result.examples] == [("hello", "a", 2), ("again", "b", 5)]
    assert [(r.reason, r.line) for r in result.rejections] == [("no_text", 3), ("no_answer", 4)]


def test_ids_do_not_depend_on_other_rows(tmp_path):
    first = run(tmp_path, "body,queue\none,a\ntwo,b\ntwo,b\n").examples
    second = run(tmp_path, "body,queue\nzero,a\ntwo,b\none,a\ntwo,b\n").examples
    assert {e.id for e in first} < {e.id for e in second}
    assert len({e.id for e in second}) == 4


def test_equal_texts_are_one_group_and_a_column_may_say_otherwise(tmp_path):
    examples = run(tmp_path, "body,queue\nHello  World,a\nhello world,b\nother,a\n").examples
    assert examples[0].group == examples[1].group != examples[2].group
    named = run(tmp_path, "body,queue,who\nx,a,ann\ny,a,ann\nz,b,bob\n", SplitSettings(group="who")).examples
    assert named[0].group == named[1].group != named[2].group


def test_too_many_rejections_stop_with_their_reasons(tmp_path):
    with pytest.raises(DataError, match=r"(?s)2 of 3 rows were rejected.*no_answer: 2 \(first: tickets line 2.*10%"):
        run(tmp_path, "body,queue\nsecret text,\nx,\ny,a\n", max_rejected_share=0.1)


def test_a_message_never_holds_a_rows_text(tmp_path):
    with pytest.raises(DataError) as error:
        run(tmp_path, "body,queue\nsecret text,\n", max_rejected_share=0.1)
    assert "secret" not in str(error.value)


def test_no_rows_at_all_is_an_error(tmp_path):
    with pytest.raises(DataError, match="hold no rows"):
        run(tmp_path, "body,queue\n")


def test_a_given_side_must_be_one_of_three(tmp_path):
    result = run(tmp_path, "body,queue,side\nx,a,train\ny,a,test\nz,b,later\n", SplitSettings(given="side"))
    assert [e.role for e in result.examples] == ["train", "test"]
    assert [r.reason for r in result.rejections] == ["no_side"]


def task(**answer):
    return TaskSettings.model_validate({"prompt": "{body}", "answer": answer, "target": 0.5}, strict=False)


def test_a_list_is_one_line_with_each_item_once(tmp_path):
    rows = "body,words\nhello,tent ; zip;tent;\nempty,;\n"
    result = run(tmp_path, rows, task=task(column="words", format="list"))
    assert [e.answer for e in result.examples] == ["tent; zip"]
    assert [(r.reason, r.line) for r in result.rejections] == [("no_answer", 3)]


def test_an_object_is_made_of_its_fields_columns_with_the_facts_beside_it(tmp_path):
    fields = {
        "queue": {"column": "queue"},
        "keywords": {"column": "words", "format": "list"},
        "reply": {"column": "reply", "format": "text"},
    }
    rows = 'body,queue,words,reply,must\nhello,a,tent;zip,"Dear ""you"", 30 days",30 days;you\nno,a,,text,\n'
    result = run(tmp_path, rows, task=task(format="json", fields=fields, facts="must"))
    (example,) = result.examples
    assert example.answer == '{"queue": "a", "keywords": ["tent", "zip"], "reply": "Dear \\"you\\", 30 days"}'
    assert example.facts == ("30 days", "you")
    assert [(r.reason, r.detail) for r in result.rejections] == [("no_answer", "column words is empty")]
