"""Reads, checks and edits params.yaml. The YAML 1.2 parser is DVC's, so that both see the same values.

Unknown keys, wrong types, and names that are unsafe in a path or a shell are errors that name the key.
"""

import json
import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field, ValidationError, model_validator

from rungwise.config import edit
from rungwise.config.data import (
    AugmentSettings,
    CollectSettings,
    DocsSettings,
    IngestSettings,
    SplitSettings,
    ValidateSettings,
)
from rungwise.config.endpoint import IncumbentSettings
from rungwise.config.ladder import (
    HUB_NAME,
    DecideSettings,
    EvaluateSettings,
    PromoteSettings,
    RegisterSettings,
    RungSettings,
    TaskSettings,
    TrainSettings,
)
from rungwise.config.section import Bar, Count, Name, Section, check_unique
from rungwise.core.errors import Problem, SettingsError
from rungwise.core.folders import check_conflicts, joined
from rungwise.core.methods import METHODS, RENAMED_METHODS
from rungwise.core.prompts import slots

_MAX_CHARACTERS: Final = 10_000_000
"""Of params.yaml with all its aliases written out."""


class Settings(Section):
    """All sections of params.yaml.

    Sections that a DVC stage depends on are required, if only as `split: {}`: DVC rejects a parameter that it can't
    find.
    """

    seed: Count
    """The seed from which all random numbers are derived."""
    tasks: Annotated[dict[Name, TaskSettings], Field(min_length=1)]
    """Task name -> task. A workspace can have several tasks on the same rows."""
    bars: Annotated[dict[Name, Bar], Field(min_length=1)]
    """Task name -> its bar, from 0 to 1. A rung passes if the lower end of its score's interval reaches it. Only the
    climb and the promotion read the bars: after a change no rows are prepared again and nothing is trained again."""
    ladder: Annotated[tuple[RungSettings, ...], Field(min_length=1)]
    """The rungs, the cheapest first. They are tried in this order until one passes."""
    ingest: IngestSettings
    """How rows are read."""
    validate_: Annotated[ValidateSettings, Field(alias="validate")]
    """What rows must satisfy."""
    split: SplitSettings
    """Which rows are for training, validation and test."""
    augment: AugmentSettings
    """Synthetic training rows."""
    train: TrainSettings
    """How rungs are trained."""
    evaluate: EvaluateSettings
    """How answers are scored."""
    decide: DecideSettings
    """When a score is enough evidence to decide."""
    collect: tuple[CollectSettings, ...] = ()
    """Sources outside the workspace."""
    register_: Annotated[RegisterSettings, Field(alias="register", default_factory=RegisterSettings)]
    """Where results are recorded in MLflow."""
    promote: PromoteSettings = PromoteSettings()
    """The promotion gate on the test rows."""
    incumbent: IncumbentSettings | None = None
    """What you use today, a model behind an address, to compare the rungs with."""
    docs: DocsSettings = DocsSettings()
    """The pages about the rows."""

    @model_validator(mode="after")
    def _fit_together(self) -> "Settings":
        check_unique("ladder", [r.name for r in self.ladder])
        check_unique("collect", [c.name for c in self.collect])
        check_unique("collect.to", [c.target.rstrip("/") for c in self.collect])
        for one in self.collect:
            for other in self.collect:
                if one is not other and other.target.startswith(one.target.rstrip("/") + "/"):
                    raise ValueError(f"collect.to: {other.name} ({other.target}) is inside {one.name} ({one.target})")
        unknown = [name for name in self.bars if name not in self.tasks]
        if missing := [name for name in self.tasks if name not in self.bars]:
            more = f", and there is no task {unknown[0]!r}" if unknown else ""
            raise ValueError(f"bars: task {missing[0]} has no bar{more}; write `bars: {{{missing[0]}: 0.9}}`")
        if unknown:
            raise ValueError(f"bars: there is no task {unknown[0]!r}")
        known = {s.name for s in self.ingest.sources}
        for name, task in self.tasks.items():
            for source in task.sources:
                if source not in known:
                    raise ValueError(f"tasks.{name}.sources: there is no source {source!r}")
            _augment_fits(self.augment, name, task)
        if self.incumbent:
            _prompts_fit(self.incumbent, self.tasks)
        most = max((rung.steps or self.train.steps for rung in self.ladder if METHODS[rung.method].trains), default=0)
        if most and self.train.eval_every > most:
            setting = f"train.eval_every: {self.train.eval_every} steps between evaluations"
            raise ValueError(f"{setting}, but no rung is trained for more than {most} steps")
        return self

    def task(self, name: str) -> TaskSettings:
        """Returns the settings of a task.

        Raises:
            SettingsError: there is no task with that name.
        """
        if name not in self.tasks:
            raise SettingsError(
                Problem(
                    "there is no such task",
                    where="params.yaml: tasks",
                    found=name[:60],
                    wanted="one of " + joined(self.tasks),
                )
            )
        return self.tasks[name]


def _augment_fits(augment: AugmentSettings, name: str, task: TaskSettings) -> None:
    if augment.slice is not None and augment.slice not in slots(task.prompt):
        raise ValueError(f"augment.slice: it must be a slot of task {name}: {', '.join(slots(task.prompt))}")
    if augment.slice is not None and augment.slice == augment_field(augment, task):
        raise ValueError(
            f"augment.slice: {augment.slice} is the slot that is reworded; set `augment.field` to another slot"
        )
    if not augment.templates:
        return
    field = augment_field(augment, task)
    if field is None or field not in slots(task.prompt):
        raise ValueError(f"augment.field: it must be a slot of task {name}: {', '.join(slots(task.prompt))}")
    for template in augment.templates:
        unknown = set(slots(template)) - {field, *augment.wordings}
        if field not in slots(template) or unknown:
            known = ", ".join(f"{{{name}}}" for name in augment.wordings) or "no other slot: `wordings` is empty"
            raise ValueError(f"augment.templates: {template!r} must have the slot {{{field}}}, and can have {known}")
    if field in augment.wordings:
        raise ValueError(f"augment.wordings: {field} is the slot of the row's own text")


def _prompts_fit(incumbent: IncumbentSettings, tasks: Mapping[str, TaskSettings]) -> None:
    for name, prompt in incumbent.prompts.items():
        if name not in tasks:
            raise ValueError(f"incumbent.prompts: there is no task {name!r}")
        known, used = slots(tasks[name].prompt), slots(prompt)
        if not used or not set(used) <= set(known):
            wanted = ", ".join(f"{{{slot}}}" for slot in known)
            raise ValueError(f"incumbent.prompts.{name}: it must have slots of the task's prompt: {wanted}")


def augment_field(augment: AugmentSettings, task: TaskSettings) -> str | None:
    """Returns the slot that is reworded: `augment.field`, or the prompt's only slot; None if the prompt has several."""
    names = slots(task.prompt)
    return augment.field or (names[0] if len(names) == 1 else None)


def pin(path: Path, commit: Callable[[str], str]) -> dict[str, str]:
    """Adds `@COMMIT` to every hub name on the ladder that is not pinned; returns name -> commit.

    A name is a hub name if it has the form owner/name and no folder next to params.yaml has that name. The rest of the
    file does not change.

    Args:
        path: params.yaml.
        commit: hub name -> its newest commit.

    Raises:
        SettingsError: params.yaml can't be read, or a name is written in a form that can't be edited.
    """
    values, pinned = read_raw(path), dict[str, str]()
    places: dict[edit.Key, str] = {}
    for number, rung in enumerate(values.get("ladder") or []):
        name = rung.get("base") if isinstance(rung, dict) else None
        if isinstance(name, str) and HUB_NAME.fullmatch(name) and not (path.parent / name).is_dir():
            pinned[name] = pinned.get(name) or commit(name)
            places["ladder", number, "base"] = f"{name}@{pinned[name]}"
    if not pinned:
        return {}
    wanted: dict[str, Any] = values
    for key, value in places.items():
        wanted = edit.with_value(wanted, key, value)
    name = next(iter(pinned))
    problem = Problem(
        "a commit can't be added to a base's name",
        where=f"{path}: ladder",
        found=f"{', '.join(pinned)}, some of them written with escapes or on several lines",
        wanted="`base: owner/name`, without escapes, on one line",
        do=f"write {name}@{pinned[name]} by hand",
    )
    edit.write(path, edit.replaced(path.read_text(encoding="utf-8"), places), lambda edited: edited == wanted, problem)
    parse(wanted, str(path))
    return pinned


def set_precision(path: Path, precision: str) -> bool:
    """Sets `train.precision` in params.yaml; returns whether the file changed. The rest of the file does not change.

    Raises:
        SettingsError: params.yaml can't be read, or `train` is written in a form that can't be edited.
    """
    values = read_raw(path)
    parse(values, str(path))
    if values["train"].get("precision") == precision:
        return False
    text, key = path.read_text(encoding="utf-8"), ("train", "precision")
    has_it = "precision" in values["train"]
    changed = edit.replaced(text, {key: precision}) if has_it else edit.inserted(text, *key, precision)
    wanted = edit.with_value(values, key, precision)
    problem = Problem(
        "the precision can't be added to `train`",
        where=f"{path}: train",
        found="a form that can't be edited",
        wanted="`train:` with one setting per line, or `train: {...}`",
        do=f"write `precision: {precision}` by hand",
    )
    edit.write(path, changed, lambda edited: edited == wanted, problem)
    return True


def rename_settings(path: Path) -> dict[str, str]:
    """Replaces old names of settings in params.yaml; returns old name -> new name, both with their section.

    Raises:
        SettingsError: params.yaml can't be read, or a setting is written in a form that can't be edited.
    """
    moved = _move_bars(path)
    values = read_raw(path)
    old: dict[edit.Key, str] = {key: new for key, new in RENAMED.items() if key[1] in (values.get(key[0]) or {})}
    methods: dict[edit.Key, str] = {
        ("ladder", number, "method"): RENAMED_METHODS[name] for number, name in _old_methods(values)
    }
    if not old and not methods:
        return moved
    wanted = _with_new_names(values, str(path))
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


def _dotted(key: edit.Key) -> str:
    return ".".join(str(part) for part in key)


SECTIONS = tuple(field.alias or name for name, field in Settings.model_fields.items())
"""The sections of params.yaml, in the order of their documentation."""
RENAMED: Final[Mapping[tuple[str, str], str]] = {
    ("split", "copies"): "leaks",
    ("train", "look_every"): "eval_every",
    ("train", "look_rows"): "eval_rows",
    ("train", "tokens_at_once"): "max_tokens_per_microbatch",
}
"""Section and old name of a setting -> new name. Old names still work in version 0.2 and are errors after it."""


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


def _with_new_names(values: dict[str, Any], where: str) -> dict[str, Any]:
    """Returns the values with new names in place of old ones, in the same order.

    Raises:
        SettingsError: a setting has both its old and its new name.
    """
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
                wanted=f"a mapping with the sections {', '.join(SECTIONS)}",
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


def parse(values: dict[str, Any], where: str = "params.yaml") -> Settings:
    """Returns the settings in `values`.

    Raises:
        SettingsError: it names the first error with its key, and counts the others.
    """
    values = _with_new_names(values, where)
    old, values = _old_bars(values), _with_bars(values, where)
    for name in old:
        message = f"{where}: tasks.{name}.target is deprecated, use bars.{name}: `rungwise upgrade` moves it"
        warnings.warn(message, RenamedSetting, stacklevel=2)
    try:
        return Settings.model_validate_json(json.dumps(values))
    except ValidationError as error:
        raise SettingsError(_explain(error, where)) from None


def load(path: Path) -> Settings:
    """Returns the settings of the params.yaml at `path`; raises SettingsError (see `read_raw`, `parse`)."""
    return parse(read_raw(path), str(path))


def _explain(error: ValidationError, where: str) -> Problem:
    faults = sorted(error.errors(include_url=False), key=lambda fault: fault["type"] != "extra_forbidden")
    below = {fault["loc"][:-1] for fault in faults if fault["loc"]}
    # pydantic also reports a list as too short if its only entry has an error
    real = [f for f in faults if not (f["type"] == "too_short" and any(b[: len(f["loc"])] == f["loc"] for b in below))]
    faults = real or faults
    first = faults[0]  # a misspelled key comes before the key that is missing because of it
    key = ".".join(str(part) for part in first["loc"] if part != "[key]") or "params.yaml"
    wanted = str(first["msg"]).removeprefix("Value error, ")
    kinds = {"extra_forbidden": "an unknown key", "missing": "a key is missing"}
    what = kinds.get(first["type"], "a setting has a wrong value")
    value = "nothing" if first["type"] == "missing" else _shorten(first["input"])
    if first["type"] == "value_error" and isinstance(first["input"], dict):
        value = ""  # for a whole section, the message alone names the error
    if first["type"] == "extra_forbidden":
        wanted, value = _known_keys(first["loc"]), str(first["loc"][-1])
    others = [".".join(str(part) for part in fault["loc"] if part != "[key]") for fault in faults[1:]]
    more = f" ({len(others)} more: {joined(others, 3)})" if others else ""
    do = "correct params.yaml"
    if first["type"] == "missing" and key in SECTIONS:
        wanted = f"the section `{key}`"
        examples = {"seed": "seed: 7", "bars": "bars: {TASK: 0.9}, with the name of each task"}
        do = f"write `{examples[key]}`" if key in examples else f"write `{key}: {{}}` for its defaults"
    return Problem(what + more, where=f"{where}: {key}", found=value, wanted=wanted, do=do)


def _known_keys(loc: tuple[int | str, ...]) -> str:
    section: Any = Settings
    for part in loc[:-1]:
        if not (isinstance(section, type) and issubclass(section, BaseModel)) or not isinstance(part, str):
            continue
        fields = {f.alias or n: f.annotation for n, f in section.model_fields.items()}
        section = inner_section(fields.get(part))
    if isinstance(section, type) and issubclass(section, BaseModel):
        return "one of " + ", ".join(f.alias or n for n, f in section.model_fields.items())
    return "a key of the section"


def inner_section(annotation: Any) -> Any:
    """Returns the section within a field's annotation, such as `TaskSettings` of `dict[str, TaskSettings]`, or None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        section = inner_section(inner)
        if section is not None:
            return section
    return None


def _shorten(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."
