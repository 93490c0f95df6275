from dataclasses import replace

from rungwise.config import AnswerSettings, TaskSettings, ValidateSettings
from rungwise.core.table import Table
from rungwise.dataset.suspects import suspects
from rungwise.dataset.validate import validate
from tests.conftest import examples

TASK = TaskSettings(prompt="{body} Queue:", answer=AnswerSettings(column="queue"))


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


def test_too_few_rows_give_no_suspects():
    table = Table.of([replace(e, answer=str(i)) for i, e in enumerate(examples(10))])
    assert suspects(table) == ()
    assert suspects(Table.of([replace(e, fields={"body": "?!"}) for e in examples(40)])) == ()
