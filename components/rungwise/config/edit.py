"""Edits single values in the text of params.yaml and keeps everything else, byte for byte.

Every function except `write` takes text and returns text. `write` replaces the file only if the new text parses to the
expected values, so that an edit either succeeds completely or does not happen.
Positions come from ruamel.yaml's round-trip loader (https://yaml.dev/doc/ruamel.yaml).
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rungwise.core.errors import Problem, SettingsError
from rungwise.core.folders import replace_text

Key = tuple[str | int, ...]
"""The path of a value: `("ladder", 2, "base")`."""


def replaced(text: str, values: Mapping[Key, str]) -> str:
    """Returns the text with new scalars at the keys of `values`.

    A value that several keys share through a YAML alias occurs once in the text and is replaced once. A value that is
    written with escapes or on several lines is not replaced.
    """
    loaded, lines = _loaded(text), text.splitlines(keepends=True)
    places: dict[tuple[int, int], tuple[str, str]] = {}
    for key, new in values.items():
        parent = _at(loaded, key[:-1])
        places[_place(parent.lc.value(key[-1]))] = (str(parent[key[-1]]), new)
    for (line, column), (old, new) in sorted(
        places.items(), reverse=True
    ):  # from the end, so that earlier positions stay valid
        before, after = lines[line][:column], lines[line][column:]
        lines[line] = before + after.replace(old, new, 1)
    return "".join(lines)


def renamed(text: str, names: Mapping[Key, str]) -> str:
    """Returns the text with the keys of `names` renamed. Values and comments do not change."""
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
        rest = lines[line][column:].replace("{", f"{{{name}: {value}" + (", " if block else ""), 1)
        lines[line] = lines[line][:column] + rest
    else:
        line, column = _place(block.lc.key(next(iter(block))))
        lines.insert(line, " " * column + f"{name}: {value}\n")
    return "".join(lines)


def without(text: str, keys: Sequence[Key]) -> tuple[str, dict[Key, str]]:
    """Returns the text without the settings at `keys`, and each one's value as it was written, with its comment.

    A setting whose value does not begin on the line of its name stays, and its value is empty.
    """
    loaded, lines = _loaded(text), text.splitlines(keepends=True)
    places = {_place(_at(loaded, key[:-1]).lc.key(key[-1])): key for key in keys}
    taken: dict[Key, str] = {}
    for (line, column), key in sorted(places.items(), reverse=True):
        before, after = lines[line][:column], lines[line][column:]
        is_flow = _at(loaded, key[:-1]).fa.flow_style()
        match = re.match(r"[^:]+:\s*([^,}\s]+)(\s*,\s*)?" if is_flow else r"[^:]+:[ \t]*(\S.*)\n?", after)
        taken[key] = match[1].rstrip() if match else ""
        if match:
            rest = after[match.end() :]
            before = before.rstrip().removesuffix(",") if rest.startswith("}") else before
            lines[line] = before + rest if is_flow else ""
    return "".join(lines), {key: taken[key] for key in keys}


def with_section(text: str, name: str, entries: Mapping[str, str], behind: str) -> str:
    """Returns the text with a new block section after the section `behind`."""
    return extended(text, behind, [f"{name}:", *(f"  {key}: {value}" for key, value in entries.items())])


def extended(text: str, section: str, entries: Sequence[str]) -> str:
    """Returns the text with `entries` added at the end of a block section. Each entry is the YAML text of its lines."""
    lines = text.splitlines(keepends=True)
    end = _end(_loaded(text), section, lines)
    if end and not lines[end - 1].endswith("\n"):
        lines[end - 1] += "\n"
    return "".join([*lines[:end], *(entry.rstrip("\n") + "\n" for entry in entries), *lines[end:]])


def entries_of(text: str, section: str) -> list[str]:
    """Returns the text of each entry of a block section (a mapping or a list), with its comments, in order."""
    loaded, lines = _loaded(text), text.splitlines(keepends=True)
    block = loaded[section]
    places = [block.lc.key(key) if hasattr(block, "keys") else block.lc.item(key) for key in _keys(block)]
    starts = [_place(place)[0] for place in places]
    ends = [*starts[1:], _end(loaded, section, lines)]
    return ["".join(lines[start:end]) for start, end in zip(starts, ends, strict=True)]


def _keys(block: Any) -> list[Any]:
    return list(block) if hasattr(block, "keys") else list(range(len(block)))


def _end(loaded: Any, section: str, lines: Sequence[str]) -> int:
    """Returns the line after the last entry of a section; comments at the left margin belong to the next section."""
    names = list(loaded)
    behind = names[names.index(section) + 1 :]
    end = int(loaded.lc.key(behind[0])[0]) if behind else len(lines)
    while end and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
        end -= 1
    return end


def write(path: Path, text: str, is_wanted: Callable[[dict[str, Any]], bool], problem: Problem) -> None:
    """Replaces the file with the text if `is_wanted` accepts the text's values.

    Raises:
        SettingsError: it does not, or the text is not YAML. The error carries `problem`; the file did not change.
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
    """Returns a copy of plain values with another value at `key`. The mapping around the key must exist."""
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


def _place(position: Sequence[int]) -> tuple[int, int]:
    return int(position[0]), int(position[1])
