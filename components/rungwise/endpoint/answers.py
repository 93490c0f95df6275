"""Reads a model's free text as an answer of the task's form, strictly first, then as a person would read it.

Models wrap answers in quotes, code fences, lists and sentences. What can be read without a doubt is read; the rest
stays as it was written and is scored like any other answer, which makes it wrong.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

from rungwise.core.prompts import list_text, object_text, parse_object
from rungwise.core.records import AnswerForm

MAX_CHARACTERS: Final = 20_000
"""Longest answer that is kept; the rest is cut off."""
_THOUGHT: Final = re.compile(r"<think>.*?(?:</think>|\Z)", re.S)
_FENCE: Final = re.compile(r"```[A-Za-z]*\n(.*?)(?:```|\Z)", re.S)
_BULLET: Final = re.compile(r"^\s*(?:[-*•]|\d{1,3}[.)])\s+")
_QUOTED: Final = re.compile(r"(?:[\"`“«]|\*\*)([^\"`*“”«»\n]{1,200})(?:[\"`”»]|\*\*)")
_EDGES: Final = " \t\r\n\"'`*_.,;:!?()[]{}<>“”‘’«»"


def read_answer(form: AnswerForm, content: str) -> tuple[str, str]:
    """Returns the answer, and a code if it does not have the form: `empty`, `not_a_label` or `not_an_object`."""
    text = _THOUGHT.sub("", content).strip()
    if fenced := _FENCE.search(text):
        text = fenced[1].strip()
    if not text:
        return "", "empty"
    if form.format == "label":
        label = _label(form.labels, text)
        return (label, "") if label is not None else (text, "not_a_label")
    if form.format == "list":
        return _list(text, form.separator), ""
    if form.format == "json":
        line = _object(form, text)
        return (line, "") if line is not None else (text, "not_an_object")
    return text, ""


def _label(labels: Sequence[str], text: str) -> str | None:
    """Returns the label that a text names; None if it names none, or several."""
    if text in labels:
        return text
    plain = _by_plain(labels)
    for candidate in (text, text.splitlines()[0], text.splitlines()[-1], text.rpartition(":")[2]):
        if (key := _plain(candidate)) in plain:
            return plain[key]
    # only at an end or emphasised: "I have no idea" does not answer "no"
    named = {_plain(quoted) for quoted in _QUOTED.findall(text)} & plain.keys()
    words = _plain(text)
    for has in (lambda key: words.startswith(f"{key} "), lambda key: words.endswith(f" {key}")):
        longest = max(filter(has, plain), key=len, default=None)
        named |= {longest} if longest else set()
    return plain[named.pop()] if len(named) == 1 else None


def _by_plain(labels: Sequence[str]) -> Mapping[str, str]:
    """Returns plain form -> label, without forms that two labels share."""
    plain: dict[str, list[str]] = {}
    for label in labels:
        plain.setdefault(_plain(label), []).append(label)
    return {key: same[0] for key, same in plain.items() if len(same) == 1}


def _plain(text: str) -> str:
    """Returns a text without case, punctuation around words, and differences between `_`, `-` and spaces."""
    words = re.sub(r"[\s_/-]+", " ", text.casefold()).split()
    return " ".join(stripped for word in words if (stripped := word.strip(_EDGES)))


def _list(text: str, separator: str) -> str:
    """Returns a written list as one line: items between separators, on lines of their own, or in a JSON list."""
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        items = None
    if isinstance(items, list) and all(isinstance(item, str) for item in items):
        return list_text(items, separator)
    lines = [_BULLET.sub("", line) for line in text.splitlines()]
    return list_text([item for line in lines for item in line.split(separator)], separator)


def _object(form: AnswerForm, text: str) -> str | None:
    """Returns the first whole object of a text as one line; None if it has not exactly the form's keys and types."""
    values = parse_object(form, text) or parse_object(form, text[text.find("{") : text.rfind("}") + 1])
    return object_text({name: values[name] for name in form.fields}) if values is not None else None
