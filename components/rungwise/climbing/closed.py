"""What a constrained answer may hold: the labels and items that settings name, or those of the training rows."""

import json
from collections.abc import Sequence
from dataclasses import replace

from rungwise.config import AnswerSettings, FieldSettings
from rungwise.core.grammar import is_closed
from rungwise.core.prompts import parse_list
from rungwise.core.records import AnswerForm


def closed_form(answer: AnswerSettings, form: AnswerForm, answers: Sequence[str]) -> AnswerForm | None:
    """Returns the form with all that a constrained answer may hold; None if such answers are not constrained.

    Args:
        answer: the settings of the task's answer.
        form: its form by settings alone.
        answers: the answers of the training rows, as a model writes them.
    """
    if not answer.constrained:
        return None
    if answer.format == "list" and answer.is_closed:
        items = {item for text in answers for item in parse_list(text, form.separator)}
        form = replace(form, labels=answer.labels or tuple(sorted(items)))
    if answer.format == "json":
        values = [json.loads(text) for text in answers]
        fields = {
            name: replace(form.fields[name], labels=_labels(field, [value[name] for value in values]))
            for name, field in answer.fields.items()
        }
        form = replace(form, fields=fields, keys=tuple(answer.fields))
    return form if is_closed(form) else None


def _labels(field: FieldSettings, values: Sequence[str | list[str]]) -> tuple[str, ...]:
    """Returns the labels or items that a field may hold; none if it is open."""
    if not field.is_closed:
        return ()
    seen = {one for value in values for one in ([value] if isinstance(value, str) else value)}
    return field.labels or tuple(sorted(seen))
