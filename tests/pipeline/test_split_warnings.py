"""What a reader of the scores is warned of about the answers of held-out rows."""

import json
from itertools import chain

from rungwise.config import AnswerSettings, TaskSettings
from rungwise.core.records import Example
from rungwise.core.table import Table
from rungwise.dataset.split import Split
from rungwise.pipeline.split_warnings import few_rows_warning, split_warnings
from rungwise.workspace.layout import PARAMS, settings_of


def warnings_of(answer: dict, train: list[str], test: list[str]) -> str:
    task = TaskSettings(prompt="{body}", answer=AnswerSettings.model_validate(answer, strict=False))
    train_rows, dev_rows, test_rows = (
        Table.of([Example(f"{n}-{i}", {"body": f"b{i}"}, text, "s", i, f"{n}-{i}") for i, text in enumerate(answers)])
        for n, answers in enumerate((train, train, test))
    )
    return "\n".join(split_warnings(task, Split(train_rows, dev_rows, test_rows, (), (), ())))


def test_items_of_a_closed_list_without_training_row_are_named_with_the_ceiling():
    closed = {"column": "queue", "format": "list", "items": "closed"}
    text = warnings_of(closed, ["a; b"] * 3, ["a; b"] * 3 + ["new"])
    assert "labels or items of the test rows have no training row: 'new' (1). No rung can answer 1 of 4 rows" in text
    assert "so the score is at most 0.75" in text and "validation rows have no" not in text


def test_labels_of_fields_without_training_row_are_named_with_the_ceiling():
    fields = {"kind": {"column": "k"}, "size": {"column": "s"}}
    train, new = (json.dumps({"kind": kind, "size": "x"}) for kind in ("a", "gamma"))
    text = warnings_of({"format": "json", "fields": fields}, [train] * 3, [train, new])
    assert "'kind: gamma' (1). No rung can answer 1 of 2 rows fully, so the score is at most 0.75" in text


def test_only_frequent_items_of_an_open_list_are_named():
    open_list = {"column": "queue", "format": "list"}
    text = warnings_of(open_list, ["a"] * 9, ["a"] * 90 + ["new"] * 10 + ["rare"] * 2)
    assert "frequent items of the test rows have no training row: 'new' (10)." in text and "rare" not in text


def test_how_few_test_rows_are_too_few_is_a_setting_that_no_stage_depends_on(workspace):
    settings = settings_of(workspace)
    n = settings.promote.min_test
    assert few_rows_warning(settings, "route", n) == "" and "promote" not in {*chain(*PARAMS.values())}
    assert few_rows_warning(settings, "route", n - 1).startswith(f"with {n - 1} test rows, a score of")
