"""Reads a model's free text as an answer of the task's form, strictly first, then as a person would read it.

Models wrap answers in quotes, code fences, lists and sentences. What can be read without a doubt is read; the rest
stays as it was written and is scored like any other answer, which makes it wrong.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from rungwise.core.prompts import list_text, object_text, parse_list, parse_object
from rungwise.core.records import AnswerForm
from rungwise.core.texts import folded, normalised, words_of

MAX_CHARACTERS: Final = 20_000
"""Longest answer that is kept; the rest is cut off."""
_THOUGHT: Final = re.compile(r"<think>.*?(?:</think>|\Z)", re.S)
_FENCE: Final = re.compile(r"```[A-Za-z]*\n(.*?)(?:```|\Z)", re.S)
_BULLET: Final = re.compile(r"^\s*(?:[-*•]|\d{1,3}[.)])\s+")
_QUOTED: Final = re.compile(r"(?:[\"`“«]|\*\*)([^\"`*“”«»\n]{1,200})(?:[\"`”»]|\*\*)")
_SENTENCE_END: Final = re.compile(r"[.:;!?。：；！？\n]|\s[-–—(]")
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
    lines = text.splitlines()
    for plain in (_bare, _in_words):
        known = _by_plain(labels, plain)
        for candidate in (text, lines[0], lines[-1], text.rpartition(":")[2], _SENTENCE_END.split(text, maxsplit=1)[0]):
            if (key := plain(candidate)) in known:
                return known[key]
    named = {_in_words(quoted) for quoted in _QUOTED.findall(text)} & known.keys()
    if not named:  # only at the end: "I have no idea" does not answer "no"
        words = f" {_in_words(text)} "
        all_named = _named(known, words)
        named = {key for key in all_named if len(all_named) == 1 and words.endswith(f" {key} ")}
    return known[named.pop()] if len(named) == 1 else None


def _named(keys: Iterable[str], words: str) -> set[str]:
    """Returns the keys that stand in a text; one inside a longer one does not count, as "card" in "card payment"."""
    named = set()
    for key in sorted(keys, key=len, reverse=True):
        if f" {key} " in words:
            named.add(key)
            words = words.replace(f" {key} ", "  ")
    return named


def _by_plain(labels: Sequence[str], plain: Callable[[str], str]) -> Mapping[str, str]:
    """Returns plain form -> label, without empty forms and those that several labels share."""
    forms: dict[str, list[str]] = {}
    for label in labels:
        forms.setdefault(plain(label), []).append(label)
    return {form: same[0] for form, same in forms.items() if form and len(same) == 1}


def _bare(text: str) -> str:
    """Returns a text without case and without punctuation at its ends."""
    return normalised(text).strip(_EDGES)


def _in_words(text: str) -> str:
    """Returns the words of a text in lower case with spaces between them."""
    return " ".join(words_of(folded(text).replace("_", " ")))


def _list(text: str, separator: str) -> str:
    """Returns a written list as one line: items between separators, on lines of their own, or in a JSON list."""
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        items = None
    if isinstance(items, list) and all(isinstance(item, str) for item in items):
        return list_text(items, separator)
    lines = [_BULLET.sub("", line) for line in text.splitlines()]
    return list_text([item for line in lines for item in parse_list(line, separator)], separator)


def _object(form: AnswerForm, text: str) -> str | None:
    """Returns the first whole object of a text as one line; None if it has not exactly the form's keys and types."""
    values = parse_object(form, text) or parse_object(form, text[text.find("{") : text.rfind("}") + 1])
    return object_text({name: values[name] for name in form.fields}) if values is not None else None
