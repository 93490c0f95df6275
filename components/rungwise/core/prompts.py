"""The text format of prompts and answers, for training, scoring and serving alike.

Templates are filled by plain `{identifier}` substitution in one pass: the text of a row is not searched for slots, so a
row that contains `{body}` stays as it is. `{{` and `}}` are escaped braces.
"""

import json
import re
from collections.abc import Mapping, Sequence

from rungwise.core.errors import Problem, SettingsError
from rungwise.core.records import AnswerForm

_TOKEN = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}|\{|\}")


def slots(template: str) -> tuple[str, ...]:
    """Returns the names of a template's slots, in order of first use.

    Raises:
        SettingsError: a brace is neither doubled nor part of an `{identifier}`.
    """
    names: dict[str, None] = {}
    for match in _TOKEN.finditer(template):
        if match.group(0) in "{}":
            raise SettingsError(
                Problem(
                    "a template has a brace that is not part of a slot",
                    where=f"character {match.start() + 1} of {template[:60]!r}",
                    found=repr(template[match.start() : match.start() + 20]),
                    wanted="a slot such as {body}: a letter or _, then letters, digits and _",
                    do="write {{ and }} for braces in the text",
                )
            )
        if match.group(1):
            names[match.group(1)] = None
    return tuple(names)


def fill(template: str, fields: Mapping[str, str]) -> str:
    """Returns the template with every slot replaced by its field.

    Raises:
        KeyError: a slot has no field.
    """

    def value(match: re.Match[str]) -> str:
        return fields[match.group(1)] if match.group(1) else match.group(0)[0]

    return _TOKEN.sub(value, template)


def prompt_text(template: str, fields: Mapping[str, str]) -> str:
    """Returns the prompt of a row, without white space at its end (the answer starts with a space)."""
    return fill(template, fields).rstrip()


def answer_text(answer: str) -> str:
    """Returns the text that a model should write after the prompt: one space, then the answer."""
    return " " + answer


def list_text(items: Sequence[str], separator: str) -> str:
    """Returns a list as the one line that a model should write: each item once, in order."""
    return f"{separator} ".join(dict.fromkeys(item for item in (i.strip() for i in items) if item))


def object_text(values: Mapping[str, str | list[str]]) -> str:
    """Returns an object as the one line of JSON that a model should write."""
    return json.dumps(values, ensure_ascii=False)


def parse_list(text: str, separator: str) -> list[str]:
    """Returns the items of a written list: stripped, each once, without empty ones."""
    return list(dict.fromkeys(item for item in (i.strip() for i in text.split(separator)) if item))


def parse_object(form: AnswerForm, text: str) -> dict[str, str | list[str]] | None:
    """Returns the values of a written object, or None if it is not JSON with exactly the form's keys and types."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or set(values) != set(form.fields):
        return None
    for name, inner in form.fields.items():
        value = values[name]
        is_list = isinstance(value, list) and all(isinstance(item, str) for item in value)
        if not (is_list if inner.format == "list" else isinstance(value, str)):
            return None
    return values


def shown(template: str, examples: Sequence[tuple[Mapping[str, str], str]]) -> str:
    """Returns solved examples as the text before a prompt: each with its answer, followed by an empty line."""
    return "".join(prompt_text(template, fields) + answer_text(answer) + "\n\n" for fields, answer in examples)
