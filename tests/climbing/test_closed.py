"""Which answers are constrained, and to what: settings and training rows alone decide."""

import pytest

from rungwise import config
from rungwise.climbing.closed import closed_form
from rungwise.climbing.rungs import spec_of
from rungwise.config import AnswerSettings
from rungwise.core.prompts import object_text
from rungwise.core.records import AnswerForm, to_json
from tests.config.test_config import changed

ANSWERS = [
    object_text({"z": "billing", "items": ["b", "a"], "a": "text"}),
    object_text({"z": "account", "items": ["c"], "a": "other"}),
]


def answer(items, **more):
    fields = {
        "z": {"column": "queue"},
        "items": {"column": "k", "format": "list", **items},
        "a": {"column": "reply", "format": "text"},
    }
    return AnswerSettings.model_validate({"format": "json", "fields": fields, **more})


def form_by_settings(settings):
    fields = {name: AnswerForm(f.format, f.labels, f.separator) for name, f in settings.fields.items()}
    return AnswerForm(settings.format, settings.labels, settings.separator, fields)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ({}, ()),
        ({"items": "open"}, ()),
        ({"items": "closed"}, ("a", "b", "c")),
        ({"labels": ("x", "y")}, ("x", "y")),
        ({"labels": ("x", "y"), "items": "closed"}, ("x", "y")),
    ],
)
def test_lists_are_open_unless_settings_say_otherwise(items, expected):
    settings = answer(items)
    closed = closed_form(settings, form_by_settings(settings), ANSWERS)
    assert closed.keys == ("z", "items", "a")
    assert closed.fields["z"].labels == ("account", "billing") and closed.fields["items"].labels == expected
    assert closed.fields["a"].labels == ()
    plain = AnswerSettings.model_validate({"column": "k", "format": "list", **items})
    actual = closed_form(plain, form_by_settings(plain), ["b; a", "c"])
    assert actual is None if not expected else actual.labels == expected


def test_labels_texts_and_tasks_that_turn_it_off_are_not_constrained():
    for settings in (
        answer({}, constrained=False),
        AnswerSettings.model_validate({"column": "q"}),
        AnswerSettings.model_validate({"column": "q", "format": "text"}),
    ):
        assert closed_form(settings, form_by_settings(settings), ANSWERS) is None


def specs(task_answer, method="prompt"):
    values = changed("tasks/route/answer", task_answer)
    values["ladder"] = [{"name": "one", "method": method, **({} if method == "classical" else {"base": "models/x"})}]
    settings = config.parse(values)
    return spec_of(settings, settings.tasks["route"], settings.ladder[0], ["a", "b"], ANSWERS)


def test_only_rungs_that_write_are_constrained_and_other_specs_are_as_before():
    json_answer = answer({}).model_dump(exclude_unset=True)
    made = specs(json_answer)
    assert made.constrained and made.form.fields["z"].labels == ("account", "billing")
    for other in (
        specs(json_answer, "classical"),
        specs({**json_answer, "constrained": False}),
        specs({"column": "q"}),
        specs({"column": "q", "format": "text"}),
        specs({"column": "q", "format": "list"}),
    ):
        assert not other.constrained and other.form.keys == ()
        assert not {"constrained", "keys"} & (set(to_json(other)) | set(to_json(other)["form"]))
