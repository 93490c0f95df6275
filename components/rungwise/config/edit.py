"""The one editor of params.yaml: it changes single values in the file's text and keeps all else, byte for byte.

Every function takes text and returns text. `write` checks that the result parses to the values that were wanted before
it replaces the file, so that an edit which a file's form does not allow is refused and never half done.
Positions come from ruamel.yaml's round-trip loader (https://yaml.dev/doc/ruamel.yaml).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rungwise.core.errors import Problem, SettingsError
from rungwise.core.folders import replace_text

Key = tuple[str | int, ...]
"""The way to a value: `("ladder", 2, "base")`."""


def replaced(text: str, values: Mapping[Key, str]) -> str:
    """Returns the text with other scalars in the places of those at `values`' keys.

    A value that several keys share through a YAML alias stands once in the text and is replaced once. A key whose old
    value does not stand in the text letter by letter (escapes, several lines) is left as it is.
    """
    loaded, lines = _loaded(text), text.splitlines(keepends=True)
    places: dict[tuple[int, int], tuple[str, str]] = {}
    for key, new in values.items():
        parent = _at(loaded, key[:-1])
        places[_place(parent.lc.value(key[-1]))] = (str(parent[key[-1]]), new)
    for (line, column), (old, new) in sorted(places.items(), reverse=True):  # from the end: earlier columns stay true
        before, after = lines[line][:column], lines[line][column:]
        lines[line] = before + after.replace(old, new, 1)
    return "".join(lines)


def renamed(text: str, names: Mapping[Key, str]) -> str:
    """Returns the text with other names in the places of the keys of `names`; values and comments stay."""
    loaded, lines = _loaded(text), text.splitlines(keepends=True)
    places = {}
    for key, new in names.items():
        parent = _at(loaded, key[:-1])
        places[_place(parent.lc.key(key[-1]))] = (str(key[-1]), new)
    for (line, column), (old, new) in sorted(places.items(), reverse=True):
        before, after = lines[line][:column], lines[line][column:]
        lines[line] = before + after.replace(old, new, 1)
    return "".join(lines)


def inserted(text: str, section: str, name: str, value: str) -> str:
    """Returns the text with `name: value` as the first setting of a section, in the section's own style."""
    block, lines = _loaded(text)[section], text.splitlines(keepends=True)
    if block.fa.flow_style() or not block:
        line, column = _place((block.lc.line, block.lc.col))
        behind = lines[line][column:].replace("{", f"{{{name}: {value}" + (", " if block else ""), 1)
        lines[line] = lines[line][:column] + behind
    else:
        line, column = _place(block.lc.key(next(iter(block))))
        lines.insert(line, " " * column + f"{name}: {value}\n")
    return "".join(lines)


def extended(text: str, section: str, entries: Sequence[str]) -> str:
    """Returns the text with `entries`, each the YAML text of some lines, behind the last entry of a block section."""
    loaded, lines = _loaded(text), text.splitlines(keepends=True)
    names = list(loaded)
    behind = names[names.index(section) + 1 :]
    end = loaded.lc.key(behind[0])[0] if behind else len(lines)
    while end and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
        end -= 1  # comments at the left margin belong to what follows
    if end and not lines[end - 1].endswith("\n"):
        lines[end - 1] += "\n"
    return "".join([*lines[:end], *(entry.rstrip("\n") + "\n" for entry in entries), *lines[end:]])


def write(path: Path, text: str, is_wanted: Callable[[dict[str, Any]], bool], problem: Problem) -> None:
    """Replaces the file with the text if its values are those that are wanted.

    Raises:
        SettingsError: they are not, or the text is not YAML: the edit does not suit the file's form. It carries
            `problem`, and the file is as it was.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        values = YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        values = None
    if not isinstance(values, dict) or not is_wanted(values):
        raise SettingsError(problem)
    replace_text(path, text)


def with_value(values: Mapping[str, Any], key: Key, value: Any) -> dict[str, Any]:
    """Returns a copy of plain values with another value at `key`; the mapping that holds it must be there."""
    copy: dict[str, Any] = json.loads(json.dumps(values))
    _at(copy, key[:-1])[key[-1]] = value
    return copy


def _loaded(text: str) -> Any:
    from ruamel.yaml import YAML

    return YAML().load(text)


def _at(values: Any, key: Key) -> Any:
    for part in key:
        values = values[part]
    return values


def _place(found: Sequence[int]) -> tuple[int, int]:
    return int(found[0]), int(found[1])
