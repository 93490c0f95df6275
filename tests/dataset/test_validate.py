import json
from dataclasses import replace

import pytest

from rungwise.config import FieldSettings, TaskSettings, ValidateSettings
from rungwise.core.errors import DataError, RungwiseError
from rungwise.core.table import Table
from rungwise.dataset.suspects import suspects
from rungwise.dataset.validate import validate
from tests.conftest import examples

TASK = TaskSettings(prompt="{body} Queue:", answer={"column": "queue"}, target=0.9)


def test_good_rows_all_go_on():
    result = validate(ValidateSettings(), TASK, examples(100))
    assert len(result.examples) == 100 and not result.rejections
    assert all(check.success for check in result.checks) and len(result.checks) >= 8


def test_the_suite_follows_the_task_and_rows_that_fail_it_are_counted():
    rows = examples(100)
    rows[3] = replace(rows[3], fields={"body": "x" * 501})
    settings = ValidateSettings(max_characters=500)
    result = validate(settings, TASK, rows)
    assert [(r.id, r.reason, r.line) for r in result.rejections] == [("row-3", "failed_expectation", 5)]
    assert len(result.examples) == 99

    labelled = TaskSettings.model_validate(
        {**TASK.model_dump(), "answer": {"column": "queue", "labels": ("delivery", "billing", "repair")}}
    )
    n_other = sum(e.answer == "account" for e in examples(100))
    assert n_other > 10
    with pytest.raises(DataError, match=rf"{n_other} of 100 rows were rejected"):
        validate(ValidateSettings(), labelled, examples(100))
    found = validate(ValidateSettings(max_rejected_share=0.5), labelled, examples(100))
    assert {r.detail for r in found.rejections} == {"expect_column_values_to_be_in_set:answer"}


def test_a_label_seen_once_is_rejected_or_stops():
    rows = [*examples(60), replace(examples(1)[0], id="rare", answer="never-again", line=99)]
    result = validate(ValidateSettings(), TASK, rows)
    assert [(r.id, r.reason) for r in result.rejections] == [("rare", "rare_label")]
    with pytest.raises(DataError, match=r"(?s)1 label\(s\) have too few rows.*planted line 99.*1 row\(s\)"):
        validate(ValidateSettings(rare_labels="stop"), TASK, rows)


def test_too_few_rows_or_labels_stop():
    with pytest.raises(DataError, match=r"(?s)table_row_count.*found:\s+10"):
        validate(ValidateSettings(), TASK, examples(10))
    with pytest.raises(DataError, match="unique_value_count"):
        validate(ValidateSettings(), TASK, [replace(e, answer="one") for e in examples(60)])
    with pytest.raises(DataError, match="proportion_of_unique"):
        validate(ValidateSettings(), TASK, [replace(e, id="same") for e in examples(60)])


def test_the_report_holds_no_text_of_a_row():
    rows = examples(100)
    rows[3] = replace(rows[3], fields={"body": "secret " * 100})
    result = validate(ValidateSettings(max_characters=500), TASK, rows)
    assert "secret" not in repr(result.checks) + repr(result.rejections)


def own(**values):
    return ValidateSettings.model_validate({"expectations": [values]}, strict=False)


def test_expectations_of_ones_own_stop_warn_or_reject():
    rows = examples(100)
    rows[3] = replace(rows[3], fields={"body": "SHOUTING parcel"})
    values = {"expect": "expect_column_values_to_match_regex", "column": "body", "arguments": {"regex": "^[a-z ]+$"}}
    with pytest.raises(DataError, match=r"(?s)to_match_regex on body.*1 rows, such as row-3.*\^\[a-z"):
        validate(own(**values), TASK, rows)
    warned = validate(own(**values, severity="warn"), TASK, rows)
    (check,) = [c for c in warned.checks if not c.success]
    assert (check.severity, check.failed_ids, len(warned.examples)) == ("warn", ("row-3",), 100)
    rejected = validate(own(**values, severity="reject"), TASK, rows)
    assert [r.detail for r in rejected.rejections] == ["expect_column_values_to_match_regex:body"]
    mostly = {**values, "arguments": {**values["arguments"], "mostly": 0.9}}
    assert not validate(own(**mostly, severity="reject"), TASK, rows).rejections
    few = {"expect": "expect_column_mean_to_be_between", "column": "words_body", "arguments": {"min_value": 50}}
    with pytest.raises(DataError, match="column_mean_to_be_between on words_body"):
        validate(own(**few), TASK, rows)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"expect": "expect_column_values_to_be_prety"}, "can't be used.*similar names"),
        (
            {"expect": "expect_column_values_to_match_regex", "column": "body", "arguments": {"regx": "a"}},
            "can't be used",
        ),
        (
            {"expect": "expect_column_values_to_match_regex", "column": "no", "arguments": {"regex": "a"}},
            "could not be",
        ),
        (
            {"expect": "expect_column_values_to_match_regex", "column": "body", "arguments": {"regex": "("}},
            "could not be",
        ),
    ],
)
def test_an_expectation_that_can_not_be_used_is_one_clear_error(values, message):
    with pytest.raises(RungwiseError, match=f"(?s){message}"):
        validate(own(**values), TASK, examples(100))


def test_texts_of_too_many_words_lists_without_items_and_answers_that_are_no_json_are_counted():
    rows = examples(100)
    rows[3] = replace(rows[3], fields={"body": "x " * 90})
    assert [r.id for r in validate(ValidateSettings(max_words=80), TASK, rows).rejections] == ["row-3"]
    lists = TASK.model_copy(update={"answer": TASK.answer.model_copy(update={"format": "list"})})
    rows[4] = replace(rows[4], answer="; ;")
    found = validate(ValidateSettings(), lists, rows)
    assert [r.detail for r in found.rejections] == ["expect_column_values_to_match_regex:answer"]
    field = FieldSettings(column="queue", format="label")
    json_answer = TASK.answer.model_copy(update={"format": "json", "column": None, "fields": {"queue": field}})
    objects = [replace(e, answer=json.dumps({"queue": e.answer})) for e in examples(100)]
    objects[5] = replace(objects[5], answer="{queue")
    found = validate(ValidateSettings(), TASK.model_copy(update={"answer": json_answer}), objects)
    assert [r.id for r in found.rejections] == ["row-5"]


def test_what_great_expectations_found_is_kept_without_values_unless_they_are_asked_for():
    rows = examples(100)
    rows[3] = replace(rows[3], fields={"body": "secret " * 100})
    result = validate(ValidateSettings(max_characters=500), TASK, rows)
    kept = json.dumps(result.outcome)
    assert "secret" not in kept and "row-3" in kept and result.outcome["statistics"]["unsuccessful_expectations"] == 1
    asked = validate(ValidateSettings(max_characters=500, save_values=True), TASK, rows)
    assert "secret" in json.dumps(asked.outcome)


def test_a_label_that_the_other_rows_contradict_is_listed_and_stays():
    rows = examples(400)
    wrong = {7, 50, 111}
    labels = sorted({e.answer for e in rows})
    flipped = [replace(e, answer=labels[labels.index(e.answer) - 1]) if i in wrong else e for i, e in enumerate(rows)]
    result = validate(ValidateSettings(), TASK, flipped)
    listed = {s.id: s for s in result.suspects}
    assert {f"row-{i}" for i in wrong} <= set(listed) and len(listed) < 10
    assert all(listed[f"row-{i}"].suggested == rows[i].answer for i in wrong)
    assert len(result.examples) == 400
    assert validate(ValidateSettings(suspects_up_to=100), TASK, flipped).suspects == ()


def test_too_little_to_suspect_anybody_is_no_error():
    table = Table.of([replace(e, answer=str(i)) for i, e in enumerate(examples(10))])
    assert suspects(table) == ()
    assert suspects(Table.of([replace(e, fields={"body": "?!"}) for e in examples(40)])) == ()
