import json
from dataclasses import replace

import pytest

from rungwise.config import AnswerSettings, FieldSettings, TaskSettings, ValidateSettings
from rungwise.core.errors import DataError, RungwiseError
from rungwise.dataset.validate import validate
from tests.conftest import examples

TASK = TaskSettings(prompt="{body} Queue:", answer=AnswerSettings(column="queue"))


def own(**values):
    return ValidateSettings.model_validate({"expectations": [values]}, strict=False)


def test_user_expectations_stop_warn_or_reject():
    rows = examples(100)
    rows[3] = replace(rows[3], fields={"body": "SHOUTING parcel"})
    arguments = {"regex": "^[a-z ]+$"}
    values = {"expect": "expect_column_values_to_match_regex", "column": "body", "arguments": arguments}
    with pytest.raises(DataError, match=r"(?s)to_match_regex on body.*1 row, such as row-3.*\^\[a-z"):
        validate(own(**values), TASK, rows)
    warned = validate(own(**values, severity="warn"), TASK, rows)
    (check,) = [c for c in warned.checks if not c.success]
    assert (check.severity, check.failed_ids, len(warned.examples)) == ("warn", ("row-3",), 100)
    rejected = validate(own(**values, severity="reject"), TASK, rows)
    assert [r.detail for r in rejected.rejections] == ["expect_column_values_to_match_regex:body"]
    mostly = {**values, "arguments": {**arguments, "mostly": 0.9}}
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
        (
            {"expect": "unexpected_rows_expectation", "arguments": {"unexpected_rows_query": "select 1"}},
            "can't be used.*an SQL query, and the rows are in no database.*expect_column_values_to_match_regex",
        ),
        ({"expect": "expect_query_results_to_match_comparison"}, "can't be used.*an SQL query"),
        (
            {"expect": "expect_compound_columns_to_be_unique", "arguments": {"column_list": ["body", "no"]}},
            "could not be checked.*on body, no",
        ),
    ],
)
def test_an_expectation_that_can_not_be_used_is_one_clear_error(values, message):
    with pytest.raises(RungwiseError, match=f"(?s){message}"):
        validate(own(**values), TASK, examples(100))


def test_texts_with_too_many_words_empty_lists_and_invalid_json_answers_are_counted():
    rows = examples(100)
    rows[3] = replace(rows[3], fields={"body": "x " * 90})
    assert [r.id for r in validate(ValidateSettings(max_words=80), TASK, rows).rejections] == ["row-3"]
    lists = TASK.model_copy(update={"answer": TASK.answer.model_copy(update={"format": "list"})})
    rows[4] = replace(rows[4], answer="; ;")
    actual = validate(ValidateSettings(), lists, rows)
    assert [r.detail for r in actual.rejections] == ["expect_column_values_to_match_regex:answer"]
    field = FieldSettings(column="queue", format="label")
    json_answer = TASK.answer.model_copy(update={"format": "json", "column": None, "fields": {"queue": field}})
    objects = [replace(e, answer=json.dumps({"queue": e.answer})) for e in examples(100)]
    objects[5] = replace(objects[5], answer="{queue")
    actual = validate(ValidateSettings(), TASK.model_copy(update={"answer": json_answer}), objects)
    assert [r.id for r in actual.rejections] == ["row-5"]


def test_the_result_of_great_expectations_has_no_values_unless_set():
    rows = examples(100)
    rows[3] = replace(rows[3], fields={"body": "secret " * 100})
    result = validate(ValidateSettings(max_characters=500), TASK, rows)
    kept = json.dumps(result.outcome)
    assert "secret" not in kept and "row-3" in kept and result.outcome["statistics"]["unsuccessful_expectations"] == 1
    with_values = validate(ValidateSettings(max_characters=500, save_values=True), TASK, rows)
    assert "secret" in json.dumps(with_values.outcome)


def test_rows_with_items_that_a_closed_list_does_not_have_are_rejected():
    answer = AnswerSettings(column="k", format="list", labels=("late (again)", "late", "x"))
    rows = [replace(row, answer="late; x" if i % 2 else "late (again)") for i, row in enumerate(examples(100))]
    rows[3], rows[4] = replace(rows[3], answer="late; y"), replace(rows[4], answer="later")
    result = validate(ValidateSettings(), replace_answer(answer), rows)
    assert {r.id for r in result.rejections} == {"row-3", "row-4"}


def replace_answer(answer):
    return TASK.model_copy(update={"answer": answer})


def test_expectations_are_found_by_the_names_that_great_expectations_gives_them():
    labels = sorted({e.answer for e in examples(100)})
    weights = {"values": labels, "weights": [1 / len(labels)] * len(labels)}
    name = "expect_column_kl_divergence_to_be_less_than"  # its class is ExpectColumnKLDivergenceToBeLessThan
    arguments = {"threshold": 0.5, "partition_object": weights}
    result = validate(own(expect=name, column="answer", severity="warn", arguments=arguments), TASK, examples(100))
    assert [check.success for check in result.checks if check.expectation == name] == [True]
    with pytest.raises(RungwiseError, match="similar names: expect_column_kl_divergence"):
        validate(own(expect="expect_column_k_l_divergence_to_be_less_than", column="answer"), TASK, examples(100))


def test_slots_in_expectations_about_several_columns_are_named_as_in_column():
    rows = examples(100)
    rows[3] = replace(rows[3], fields={"body": rows[3].answer})
    pair = {
        "expect": "expect_column_pair_values_to_be_equal",
        "arguments": {"column_A": "body", "column_B": "answer"},
        "severity": "warn",
    }
    (check,) = [c for c in validate(own(**pair), TASK, rows).checks if c.severity == "warn"]
    assert not check.success and len(check.failed_ids) == 99 and check.column == "body, answer"
    rows = examples(100)
    rows[4] = replace(rows[4], fields=rows[5].fields, answer=rows[5].answer)
    for name, arguments, failing in (
        ("expect_compound_columns_to_be_unique", {"column_list": ["body", "answer"]}, {"row-4", "row-5"}),
        ("expect_select_column_values_to_be_unique_within_record", {"column_list": ["body", "answer"]}, set()),
        ("expect_table_columns_to_match_set", {"column_set": ["body"], "exact_match": False}, set()),
    ):
        values = {"expect": name, "arguments": arguments, "severity": "warn"}
        (check,) = [c for c in validate(own(**values), TASK, rows).checks if c.severity == "warn"]
        assert failing <= {*check.failed_ids} and check.success is not bool(failing), name
