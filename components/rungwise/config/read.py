"""Reads params.yaml as plain values. The YAML 1.2 parser is DVC's, so that both see the same values."""

import json
import math
from pathlib import Path
from typing import Any, Final

from rungwise.core.errors import Problem, SettingsError
from rungwise.core.folders import check_conflicts

_MAX_CHARACTERS: Final = 10_000_000
"""Of params.yaml with all its aliases written out."""
_MAX_MERGED: Final = 100_000
"""Values of a params.yaml that merges mappings (`<<`), with its aliases written out: merging a million takes 20 s."""


def read_raw(path: Path) -> dict[str, Any]:
    """Returns params.yaml as plain values, without checking them against the settings.

    Raises:
        SettingsError: the file is missing, is not UTF-8, is not YAML, has a key twice, or is not a mapping.
    """
    from ruamel.yaml.error import YAMLError

    try:
        values = _loaded(path.read_text(encoding="utf-8"))
        if _size(values, {}) > _MAX_CHARACTERS:
            raise ValueError(f"its aliases stand for more than {_MAX_CHARACTERS:,} characters")
        if place := _not_finite(values):
            raise ValueError(f"{place} is not a finite number")
        json.dumps(values, allow_nan=False, sort_keys=True, ensure_ascii=False).encode()
    except FileNotFoundError:
        raise SettingsError(
            Problem(
                "there is no params.yaml here",
                where=str(path),
                wanted="the folder of a Rungwise workspace",
                do="change to the workspace's folder, or set RUNGWISE_WORKSPACE to it",
            )
        ) from None
    except (UnicodeDecodeError, YAMLError, ValueError, TypeError, RecursionError) as error:
        check_conflicts(path)
        message = _one_line(error)
        is_well_formed = not isinstance(error, YAMLError | UnicodeDecodeError)
        wanted = "texts, lists, mappings and finite numbers, and few aliases" if is_well_formed else "UTF-8 YAML"
        do = 'put values with a colon, such as an address, in quotes: {url: "http://..."}' if "':'" in message else ""
        raise SettingsError(
            Problem("params.yaml can't be read", where=str(path), found=message, wanted=wanted, do=do)
        ) from None
    if not isinstance(values, dict):
        raise SettingsError(
            Problem(
                "params.yaml has no settings",
                where=str(path),
                found=type(values).__name__ if values is not None else "an empty file",
                wanted="a mapping with sections such as `tasks` and `ladder`",
            )
        )
    return values


def _loaded(text: str) -> Any:
    """Returns the values as DVC's own call reads them.

    It uses libyaml if it is installed, which requires quotes around an address in `{}`.

    Raises:
        ValueError: merging its aliases (`<<`) would take minutes.
    """
    from ruamel.yaml import YAML

    _check_merges(YAML(typ="safe").compose(text))
    return YAML(typ="safe").load(text)


def _check_merges(document: Any) -> None:
    """Checks the size of a document that merges mappings, with all aliases written out, before it is read.

    Raises:
        ValueError: an alias contains itself, or the aliases stand for too many values.
    """
    sizes: dict[int, int] = {}
    has_merges = False

    def size(node: Any) -> int:
        nonlocal has_merges
        if not isinstance(getattr(node, "value", None), list):  # a text or a number
            has_merges = has_merges or getattr(node, "tag", "").endswith(":merge")
            return 1
        if id(node) not in sizes:
            sizes[id(node)] = 0
            parts = [part for entry in node.value for part in (entry if isinstance(entry, tuple) else (entry,))]
            sizes[id(node)] = 1 + sum(map(size, parts))
        if not sizes[id(node)]:
            raise ValueError("an alias refers to itself")
        return sizes[id(node)]

    if size(document) > _MAX_MERGED and has_merges:
        raise ValueError(f"its aliases with `<<` stand for more than {_MAX_MERGED:,} values")


def _size(value: Any, known: dict[int, int]) -> int:
    """Returns the characters of a value with all aliases written out, without writing them out.

    `known` holds the sizes of the lists and mappings so far, by identity; 0: its size is being counted.

    Raises:
        ValueError: an alias contains itself.
    """
    if not isinstance(value, dict | list):
        return len(value) if isinstance(value, str) else 1
    if id(value) not in known:
        known[id(value)] = 0
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_size(one, known) for one in inner)
    if not known[id(value)]:
        raise ValueError("an alias refers to itself")
    return known[id(value)]


def _not_finite(value: Any, place: str = "") -> str:
    """Returns the key of the first number that is infinite or NaN; empty if all are finite."""
    if isinstance(value, float):
        return "" if math.isfinite(value) else place
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return next((inner_place for key, v in inner if (inner_place := _not_finite(v, f"{place}.{key}".lstrip(".")))), "")


def _one_line(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    text = getattr(error, "problem", None) or str(error).splitlines()[0]
    text = str(text).partition("; use sys.")[0]  # of a number with too many digits
    return f"{text} (line {mark.line + 1})" if mark else text
