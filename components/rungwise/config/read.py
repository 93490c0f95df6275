"""Reads params.yaml as plain values. The YAML 1.2 parser is DVC's, so that both see the same values."""

import json
import math
from pathlib import Path
from typing import Any, Final

from rungwise.core.errors import Problem, SettingsError
from rungwise.core.folders import check_conflicts

_MAX_CHARACTERS: Final = 10_000_000
"""Of params.yaml with all its aliases written out."""


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
        do = 'put values with a colon, such as an address, in quotes: {url: "http://..."}' if "':'" in message else ""
        raise SettingsError(
            Problem("params.yaml can't be read", where=str(path), found=message, wanted="UTF-8 YAML", do=do)
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
    """
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(text)


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
    return f"{text} (line {mark.line + 1})" if mark else str(text)
