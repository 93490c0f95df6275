"""Settings whose name or place changed: the old one still works and warns, and `rename_settings` edits the file."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rungwise.config import edit
from rungwise.config.read import read_raw
from rungwise.core.errors import Problem, SettingsError
from rungwise.core.folders import joined
from rungwise.core.methods import RENAMED_METHODS

RENAMED: Final[Mapping[tuple[str, str], str]] = {
    ("split", "copies"): "leaks",
    ("train", "look_every"): "eval_every",
    ("train", "look_rows"): "eval_rows",
    ("train", "tokens_at_once"): "max_tokens_per_microbatch",
}
"""Section and old name of a setting -> new name. Old names still work in version 0.2 and are errors after it."""

MOVED: Final[Mapping[tuple[str, str], tuple[str, str]]] = {("split", "min_test"): ("promote", "min_test")}
"""Section and name of a setting -> where it is now. It only judges, so that a change of it must not split again."""


class RenamedSetting(FutureWarning):
    """params.yaml uses the old name of a setting or of a method."""


def _old_methods(values: Mapping[str, Any]) -> list[tuple[int, str]]:
    """Returns the place and the old method of each rung whose method has a new name."""
    rungs = values.get("ladder")
    methods = (
        [rung.get("method") if isinstance(rung, dict) else None for rung in rungs] if isinstance(rungs, list) else []
    )
    return [(n, name) for n, name in enumerate(methods) if isinstance(name, str) and name in RENAMED_METHODS]


def _old_bars(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns task name -> the bar where it was until version 0.1, `tasks.NAME.target`."""
    tasks = values.get("tasks")
    entries = tasks.items() if isinstance(tasks, dict) else ()
    return {name: task["target"] for name, task in entries if isinstance(task, dict) and "target" in task}


def _with_bars(values: dict[str, Any], where: str) -> dict[str, Any]:
    """Returns the values with each `tasks.NAME.target` as `bars.NAME`.

    Raises:
        SettingsError: a task has a bar in both places.
    """
    old, bars = _old_bars(values), values.get("bars") or {}
    if not old or not isinstance(bars, dict):
        return values
    if both := [name for name in old if name in bars]:
        raise SettingsError(
            Problem(
                "a task has two bars",
                where=where,
                found=f"tasks.{both[0]}.target and bars.{both[0]}",
                wanted=f"bars.{both[0]}",
                do="remove the first",
            )
        )
    tasks = {
        name: {key: value for key, value in task.items() if key != "target"} if name in old else task
        for name, task in values["tasks"].items()
    }
    return {**values, "tasks": tasks, "bars": {**old, **bars}}


def _moved(values: dict[str, Any], where: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns the values with settings in their new sections, and old place -> new place of those that moved.

    Raises:
        SettingsError: a setting is in both places.
    """
    moved: dict[str, str] = {}
    for (old_section, old), (section, new) in MOVED.items():
        before, after = values.get(old_section), values.get(section) or {}
        if not isinstance(before, dict) or not isinstance(after, dict) or old not in before:
            continue
        places = f"{old_section}.{old}", f"{section}.{new}"
        if new in after:
            raise SettingsError(
                Problem(
                    "a setting has both its old and its new place",
                    where=where,
                    found=" and ".join(places),
                    wanted=places[1],
                    do=f"remove {places[0]}",
                )
            )
        rest = {name: value for name, value in before.items() if name != old}
        values = {**values, old_section: rest, section: {new: before[old], **after}}
        moved[places[0]] = places[1]
    return values, moved


def with_new_names(values: dict[str, Any], where: str) -> dict[str, Any]:
    """Returns the values with new names and places in place of old ones; warns of each.

    Raises:
        SettingsError: a setting has both its old and its new name, or a task has two bars.
    """
    current, moved = _moved(_with_bars(_renamed(values, where), where), where)
    for before, after in moved.items():
        message = f"{where}: {before} is deprecated, use {after}: `rungwise upgrade` moves it"
        warnings.warn(message, RenamedSetting, stacklevel=3)
    for name in _old_bars(values):
        message = f"{where}: tasks.{name}.target is deprecated, use bars.{name}: `rungwise upgrade` moves it"
        warnings.warn(message, RenamedSetting, stacklevel=3)
    return current


def _renamed(values: dict[str, Any], where: str) -> dict[str, Any]:
    """Returns the values with new names, in the same order; raises SettingsError where a setting has both."""
    renamed = dict(values)
    for (section, old), new in RENAMED.items():
        settings = renamed.get(section)
        if not isinstance(settings, dict) or old not in settings:
            continue
        if new in settings:
            raise SettingsError(
                Problem(
                    "a setting has both its old and its new name",
                    where=f"{where}: {section}",
                    found=f"{old} and {new}",
                    wanted=new,
                    do=f"remove {old}",
                )
            )
        renamed[section] = {new if name == old else name: value for name, value in settings.items()}
        message = f"{where}: {section}.{old} is deprecated, use {new}: `rungwise upgrade` renames it in the file"
        warnings.warn(message, RenamedSetting, stacklevel=3)
    for number, name in _old_methods(values):
        new = RENAMED_METHODS[name]
        renamed = edit.with_value(renamed, ("ladder", number, "method"), new)
        message = f"{where}: ladder: method {name} is deprecated, use {new}: `rungwise upgrade` renames it in the file"
        warnings.warn(message, RenamedSetting, stacklevel=3)
    return renamed


def rename_settings(path: Path) -> dict[str, str]:
    """Replaces old names of settings in params.yaml; returns old name -> new name, both with their section.

    Raises:
        SettingsError: params.yaml can't be read, or a setting is written in a form that can't be edited.
    """
    moved = _move_bars(path) | _move_settings(path)
    values = read_raw(path)
    old: dict[edit.Key, str] = {key: new for key, new in RENAMED.items() if key[1] in (values.get(key[0]) or {})}
    methods: dict[edit.Key, str] = {
        ("ladder", number, "method"): RENAMED_METHODS[name] for number, name in _old_methods(values)
    }
    if not old and not methods:
        return moved
    wanted = _renamed(values, str(path))
    shown = {_dotted(key): f"{key[0]}.{new}" for key, new in old.items()}
    shown |= {f"ladder.method {name}": RENAMED_METHODS[name] for _, name in _old_methods(values)}
    problem = Problem(
        "old names of settings can't be replaced",
        where=str(path),
        found=joined(list(shown)),
        wanted="one setting per line, or all of a section in `{...}`",
        do="write the new names by hand: " + joined([f"{name} -> {new}" for name, new in shown.items()]),
    )
    text = edit.replaced(edit.renamed(path.read_text(encoding="utf-8"), old), methods)
    edit.write(path, text, lambda edited: edited == wanted, problem)
    return moved | shown


def _move_bars(path: Path) -> dict[str, str]:
    """Moves each `tasks.NAME.target` to the section `bars`; returns old place -> new place.

    Raises:
        SettingsError: params.yaml can't be read, or it is written in a form that can't be edited.
    """
    values = read_raw(path)
    names = [name for name, bar in _old_bars(values).items() if bar is not None]
    if not names:
        return {}
    wanted = _with_bars(values, str(path))
    shown = {f"tasks.{name}.target": f"bars.{name}" for name in names}
    problem = Problem(
        "the bars can't be moved out of `tasks`",
        where=f"{path}: tasks",
        found=joined(list(shown)),
        wanted="`target` on a line of its own, or in `{...}`, and no section `bars`",
        do="write by hand: " + "; ".join(f"bars.{name}: {_old_bars(values)[name]}" for name in names),
    )
    text, taken = edit.without(path.read_text(encoding="utf-8"), [("tasks", name, "target") for name in names])
    text = edit.with_section(text, "bars", {str(key[1]): value for key, value in taken.items()}, behind="tasks")
    edit.write(path, text, lambda edited: edited == wanted, problem)
    return shown


def _move_settings(path: Path) -> dict[str, str]:
    """Moves settings of MOVED to their new sections; returns old place -> new place.

    Raises:
        SettingsError: params.yaml can't be read, a setting is in both places, or it can't be edited.
    """
    wanted, shown = _moved(read_raw(path), str(path))
    if not shown:
        return {}
    problem = Problem(
        "settings can't be moved to another section",
        where=str(path),
        found=joined(list(shown)),
        wanted="one setting per line, or all of a section in `{...}`",
        do="write by hand: " + "; ".join(f"{old} -> {new}" for old, new in shown.items()),
    )
    text = path.read_text(encoding="utf-8")
    for old, (section, new) in MOVED.items():
        if _dotted(old) in shown:
            text, taken = edit.without(text, [old])
            value = taken[old].partition(" #")[0].strip()
            text = edit.inserted(text, section, new, value)
    edit.write(path, text, lambda edited: edited == wanted, problem)
    return shown


def _dotted(key: edit.Key) -> str:
    return ".".join(str(part) for part in key)
