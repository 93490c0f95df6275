import pytest

from rungwise.config import IngestSettings, SplitSettings, TaskSettings
from rungwise.core.errors import DataError
from rungwise.dataset.ingest import ingest
from tests.dataset.conftest import TASK
from tests.dataset.conftest import ingested as run


def test_rows_become_examples_and_the_others_are_counted(tmp_path):
    result = run(tmp_path, "body,queue\nhello,a\n ,a\nworld,\nagain, b \n")
    assert [(e.fields["body"], e.answer, e.line) for e in result.examples] == [("hello", "a", 2), ("again", "b", 5)]
    assert [(r.reason, r.line) for r in result.rejections] == [("no_text", 3), ("no_answer", 4)]


def test_ids_do_not_depend_on_other_rows(tmp_path):
    keep = {"exact": "keep"}
    first = run(tmp_path, "body,queue\none,a\ntwo,b\ntwo,b\n", duplicates=keep).examples
    second = run(tmp_path, "body,queue\nzero,a\ntwo,b\none,a\ntwo,b\n", duplicates=keep).examples
    assert {e.id for e in first} < {e.id for e in second}
    assert len({e.id for e in second}) == 4


def test_equal_texts_are_one_group_unless_a_column_defines_the_groups(tmp_path):
    examples = run(tmp_path, "body,queue\nHello  World,a\nhello world,b\nother,a\n").examples
    assert examples[0].group == examples[1].group != examples[2].group
    named = run(tmp_path, "body,queue,who\nx,a,ann\ny,a,ann\nz,b,bob\n", SplitSettings(group="who")).examples
    assert named[0].group == named[1].group != named[2].group


def test_no_rows_at_all_is_an_error(tmp_path):
    with pytest.raises(DataError, match="have no rows"):
        run(tmp_path, "body,queue\n")


def test_a_given_side_must_be_one_of_three(tmp_path):
    result = run(tmp_path, "body,queue,side\nx,a,train\ny,a,test\nz,b,later\n", SplitSettings(given="side"))
    assert [e.role for e in result.examples] == ["train", "test"]
    assert [r.reason for r in result.rejections] == ["no_side"]


def task(**answer):
    return TaskSettings.model_validate({"prompt": "{body}", "answer": answer}, strict=False)


def test_a_list_is_one_line_with_each_item_once(tmp_path):
    rows = "body,words\nhello,tent ; zip;tent;\nempty,;\n"
    result = run(tmp_path, rows, task=task(column="words", format="list"))
    assert [e.answer for e in result.examples] == ["tent; zip"]
    assert [(r.reason, r.line) for r in result.rejections] == [("no_answer", 3)]


def test_an_object_is_made_of_the_columns_of_its_fields_and_facts_are_kept(tmp_path):
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


def test_the_latest_rows_are_test_rows_and_those_before_them_dev_rows(tmp_path):
    times = [f"2026-01-{day:02}" for day in range(1, 21)]
    text = (
        "body,queue,sent\n"
        + "".join(f"row {t},a,{t}\n" for t in reversed(times))
        + "x,a,yesterday\nlate,a,2026-01-20T23:00+02:00\n"
    )
    result = run(tmp_path, text, SplitSettings(by_time="sent", dev=0.2, test=0.2), duplicates={"near": "ignore"})
    sides = {e.fields["body"]: e.role for e in result.examples}
    assert [sides[f"row {t}"] for t in times] == ["train"] * 13 + ["dev"] * 4 + ["test"] * 3
    assert sides["late"] == "test"
    assert [(r.reason, r.line) for r in result.rejections] == [("no_time", 22)]
    with pytest.raises(ValueError, match="set only one of the two"):
        SplitSettings(by_time="sent", given="side")


def test_a_row_names_the_rows_that_it_was_made_from(tmp_path):
    (tmp_path / "x.csv").write_text("body,queue,of\none,a,\ntwo,a,abc; def\n")
    (tmp_path / "y.csv").write_text("body,queue,who,sent\nthree,a,ada,2026-01-01\nfour,b,ada,2026-01-02\n")
    sources = [{"name": "made", "path": "x.csv", "parents": "of"}, {"name": "real", "path": "y.csv"}]
    settings = IngestSettings.model_validate({"sources": sources, "max_rejected_share": 0.5}, strict=False)
    result = ingest(settings, SplitSettings(group="who", by_time="sent"), TASK, tmp_path)
    assert [(e.parents, e.role) for e in result.examples] == [(("abc", "def"), None), ((), "train"), ((), "test")]
    assert [r.reason for r in result.rejections] == ["no_parents"]
