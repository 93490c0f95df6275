import pytest

from rungwise.config import IngestSettings, SplitSettings, TaskSettings
from rungwise.core.errors import DataError
from rungwise.dataset.ingest import ingest

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
    keep = {"exact": "keep"}
    first = run(tmp_path, "body,queue\none,a\ntwo,b\ntwo,b\n", duplicates=keep).examples
    second = run(tmp_path, "body,queue\nzero,a\ntwo,b\none,a\ntwo,b\n", duplicates=keep).examples
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
    with pytest.raises(DataError, match="have no rows"):
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


TWICE = """body,queue
My card was stolen on the train,cards
"my  card was STOLEN on the train",cards
my card was stolen on the trains,cards
my card was stolen on the train,lost
where is my parcel now,parcels
"""


def kinds(result):
    return sorted(d.kind for d in result.duplicates), sorted(r.reason for r in result.rejections)


def test_what_is_there_twice_is_found_and_only_equal_rows_go(tmp_path):
    result = run(tmp_path, TWICE)
    assert kinds(result) == (["contradiction", "exact", "near"], ["duplicate"])
    assert len(result.examples) == 4
    (exact,) = [d for d in result.duplicates if d.kind == "exact"]
    (gone,) = result.rejections
    assert gone.id == exact.id and exact.other in gone.detail and exact.other in result.examples.id


@pytest.mark.parametrize(
    ("settings", "reasons"),
    [
        ({"exact": "keep"}, []),
        ({"near": "drop"}, ["duplicate", "near_duplicate"]),
        ({"exact": "keep", "near": "ignore", "contradictions": "drop"}, ["contradiction", "contradiction"]),
    ],
)
def test_what_happens_to_rows_that_are_there_twice_is_a_setting(tmp_path, settings, reasons):
    result = run(tmp_path, TWICE, duplicates=settings)
    assert kinds(result)[1] == reasons and len(result.examples) == 5 - len(reasons)


def test_contradictions_can_stop_the_run_and_are_none_where_many_answers_are_right(tmp_path):
    with pytest.raises(DataError, match=r"(?s)1 rows have another answer.*tickets line"):
        run(tmp_path, TWICE, duplicates={"contradictions": "stop"})
    free = TASK.model_copy(update={"answer": TASK.answer.model_copy(update={"format": "text"})})
    assert kinds(run(tmp_path, TWICE, task=free))[0] == ["exact", "near"]


def test_dropped_duplicates_are_no_faults_and_the_order_of_rows_decides_nothing(tmp_path):
    lines = TWICE.splitlines()
    first = run(tmp_path, TWICE, max_rejected_share=0.0, duplicates={"near": "drop"})
    other = run(tmp_path, "\n".join([lines[0], *reversed(lines[1:])]), duplicates={"near": "drop"})
    assert set(first.examples.id) == set(other.examples.id)


def test_the_latest_rows_judge_and_those_before_them_steer(tmp_path):
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
    with pytest.raises(ValueError, match="one column can say"):
        SplitSettings(by_time="sent", given="side")


def test_addresses_and_numbers_become_placeholders_before_anything_sees_them(tmp_path):
    text = "body,queue\nmail ada@example.org or +44 20 7946 0958: card 4111-1111-1111-1111 no 4111-1111-1111-1112,a\n"
    (row,) = run(tmp_path, text, redact=("email", "phone", "card")).examples
    assert row.fields["body"] == "mail [EMAIL] or [PHONE]: card [CARD] no 4111-1111-1111-1112"
    (local,) = run(tmp_path, "body,queue\ncall 020 7946 0958,a\n", redact=("phone",), region="GB").examples
    assert local.fields["body"] == "call [PHONE]"
    assert run(tmp_path, text, redact=("email",)).examples[0].fields["body"].startswith("mail [EMAIL] or +44")


def test_a_row_names_the_rows_that_it_was_made_from(tmp_path):
    (tmp_path / "x.csv").write_text("body,queue,of\none,a,\ntwo,a,abc; def\n")
    (tmp_path / "y.csv").write_text("body,queue,who,sent\nthree,a,ada,2026-01-01\nfour,b,ada,2026-01-02\n")
    sources = [{"name": "made", "path": "x.csv", "parents": "of"}, {"name": "real", "path": "y.csv"}]
    settings = IngestSettings.model_validate({"sources": sources, "max_rejected_share": 0.5}, strict=False)
    result = ingest(settings, SplitSettings(group="who", by_time="sent"), TASK, tmp_path)
    assert [(e.parents, e.role) for e in result.examples] == [(("abc", "def"), None), ((), "train"), ((), "test")]
    assert [r.reason for r in result.rejections] == ["no_parents"]


def test_given_test_rows_stay_though_they_are_there_twice(tmp_path):
    text = "body,queue,side\n" + "".join(f"one more time,a,{side}\n" * 2 for side in ("train", "dev", "test"))
    result = run(tmp_path, text, SplitSettings(given="side"))
    assert sorted(result.examples.role) == ["dev", "dev", "test", "test", "train"]
