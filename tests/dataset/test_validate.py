from dataclasses import replace

import pytest

from rungwise.config import AnswerSettings, TaskSettings, ValidateSettings
from rungwise.core.errors import DataError
from rungwise.dataset.validate import validate
from tests.conftest import examples


def test_all_good_rows_pass():
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
    actual = validate(ValidateSettings(max_rejected_share=0.5), labelled, examples(100))
    assert {r.detail for r in actual.rejections} == {"expect_column_values_to_be_in_set:answer"}


def test_a_label_seen_once_is_rejected_or_stops():
    rows = [*examples(60), replace(examples(1)[0], id="rare", answer="never-again", line=99)]
    result = validate(ValidateSettings(), TASK, rows)
    assert [(r.id, r.reason) for r in result.rejections] == [("rare", "rare_label")]
    with pytest.raises(DataError, match=r"(?s)1 label has too few rows.*planted line 99.*1 row\b"):
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


TASK = TaskSettings(prompt="{body} Queue:", answer=AnswerSettings(column="queue"))


@pytest.mark.parametrize(
    ("settings", "cause", "remedy"),
    [
        (
            {"max_characters": 12},
            r"rejected: body is empty or longer than `validate.max_c",
            r"shorten.*max_characters",
        ),
        ({"max_words": 2}, r"100 rejected: body has more words than `validate.max_words`", r"shorten.*max_words"),
        (
            {"min_rows_per_label": 80},
            r"100 rejected: its label has too few rows",
            r"add rows with the rare labels.*min_rows_per_label",
        ),
        ({"min_rows": 101}, r"100 rows|100", r"collect|fix the rows"),
    ],
)
def test_what_to_do_about_too_few_rows_follows_from_why_they_were_rejected(settings, cause, remedy):
    with pytest.raises(DataError, match=rf"(?s){cause}.*do: +{remedy}"):
        validate(ValidateSettings(**{"min_rows": 50, **settings}), TASK, examples(100))
