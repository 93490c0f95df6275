"""Turns a value of a file into a cell: a text, a tuple of texts where the file has a list, or None for no value."""

import ast
import json
import math
import re
import warnings
from datetime import date
from decimal import Decimal
from typing import Any, Final

Cell = str | tuple[str, ...] | None

BETWEEN: Final = "; "
"""Between the items of a list that a prompt shows as one text."""
BETWEEN_PARTS: Final = " | "
"""Between the parts of an item that is itself a list."""
MAX_LIST_CHARACTERS: Final = 100_000
"""A longer text is not searched for a list."""
_ITEM: Final = re.compile(
    r"\s*('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|-?\d+(?:\.\d*)?(?:e[+-]?\d+)?(?=[\s,\])]))\s*,?", re.DOTALL
)
"""An item of a list as Python and NumPy print it: in quotes, or a number, with or without a comma after it."""
_TAGS: Final = re.compile(r"<[^<>\s/|]+>(?:<[^<>\s/|]+>)*")
"""Tags as Stack Overflow writes them."""
_NUMBERS: Final = re.compile(r"[\d .,eE+-]*")
_BARE: Final = re.compile(r"[\w .&/+-]*[\w+](?:,[\w .&/+-]*[\w+])*")
"""Items without quotes."""
_END_MARKERS: Final = re.compile(
    r"(?<=[\]})])\s*(?:(?:<\|[\w ]{1,30}\|>|<｜[^｜<>]{1,30}｜>|</?s>|<e[on]d?s>|<eot>|<pad>)\s*)+\Z"
)
"""Markers by which tokenizers end a text, after a list or an object."""
_PRINTED: Final = re.compile(r"('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(\}\s+\{)|\barray\(|,\s*dtype=\w+\)", re.DOTALL)
"""A text in quotes, or what NumPy prints between objects and around lists, such as `array([...], dtype=object)`."""


def as_cell(value: Any) -> Cell:
    """Returns a value of JSON, Parquet or Arrow as a cell; an empty text and NaN are None.

    Numbers and dates become text, and an object its JSON. A list becomes a tuple of texts, without the items that have
    no value; an item that is itself a list becomes one text.

    Raises:
        TypeError: the value has another type, such as bytes. The message names it.
    """
    if isinstance(value, list | tuple):
        items = [_item(item) for item in value]
        return tuple(item for item in items if item)
    return _text(value) or None


def _item(value: Any) -> str:
    if isinstance(value, list | tuple):
        return BETWEEN_PARTS.join(_text(part) for part in value)
    return _text(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, int | float):
        return json.dumps(value)
    if isinstance(value, date | Decimal):
        return str(value)
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=str)
    raise TypeError(f"{type(value).__name__}, wanted text")


def text_of(cell: Cell) -> str:
    """Returns a cell as one text, empty if it has no value."""
    return BETWEEN.join(cell) if isinstance(cell, tuple) else cell or ""


def list_in(text: str) -> tuple[str, ...] | None:
    """Returns the items of a text that is a list as JSON, Python, NumPy or Postgres print it, or tags such as `<a><b>`.

    Items may have no quotes (`[a, b]`, `{a,b}`). None for any other text. A list of objects, such as the
    calls of tools, is not one of texts: the result is None.
    """
    text = text.strip()
    if text[:1] in "[(" and text[-1:] == ">":
        text = _END_MARKERS.sub("", text)
    if len(text) <= MAX_LIST_CHARACTERS and _TAGS.fullmatch(text):
        return tuple(text[1:-1].split("><"))
    if len(text) > MAX_LIST_CHARACTERS or text[:1] + text[-1:] not in ("[]", "()", "{}"):
        return None
    if text[0] != "(" and _BARE.fullmatch(inner := text[1:-1]) and not _NUMBERS.fullmatch(inner):
        return tuple(item.strip() for item in inner.split(","))
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, list):
        cell = None if any(isinstance(item, dict) for item in value) else as_cell(value)
        return cell if isinstance(cell, tuple) else None
    items, at, end = [], 1, len(text) - 1
    while at < end and (match := _ITEM.match(text, at, end + 1)):
        items.append(match[1])
        at = match.end()
    if text[at:end].strip() or (text[0] in "({" and not (items and items[0][0] in "'\"")):
        return None
    texts = [_literal(item) if item[0] in "'\"" else item for item in items]
    return None if None in texts else tuple(item for item in texts if item)


def object_in(text: str) -> dict[str, Any] | None:
    """Returns the values of a text that is an object, as JSON or as Python prints it; None for any other text."""
    value = value_in(text) if text.lstrip().startswith("{") else None
    return value if isinstance(value, dict) else None


def value_in(text: str) -> Any:
    """Returns the list or the object that a text is, as JSON, or as Python or NumPy print it; None for other texts."""
    text = text.strip()
    if text[:1] in "[{" and text[-1:] == ">":
        text = _END_MARKERS.sub("", text)
    if text[:1] + text[-1:] not in ("[]", "{}"):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if len(text) > MAX_LIST_CHARACTERS:
        return None
    return _literal(_PRINTED.sub(lambda match: match[1] or ("}, {" if match[2] else ""), text))


def _literal(text: str) -> Any:
    """Returns the value of a Python literal; None for any other text. No name is looked up and nothing is called."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of backslashes in texts
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None
