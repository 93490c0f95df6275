"""params.yaml as a whole: read with the parser that DVC reads it with (YAML 1.2), so that both see the same values.

Unknown keys, wrong types and names that could reach a path or a shell are errors that name the key.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, model_validator

from rungwise.config.data import AugmentSettings, CollectSettings, IngestSettings, SplitSettings, ValidateSettings
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
from rungwise.config.section import Count, Name, Section, no_twins
from rungwise.core.errors import Problem, SettingsError
from rungwise.core.folders import joined, replace_text
from rungwise.core.methods import METHODS
from rungwise.core.prompts import slots


class Settings(Section):
    """All of params.yaml.

    Sections that a DVC stage depends on must stand there, if only as `split: {}`: DVC refuses a parameter that it
    can't find.
    """

    seed: Count
    """The root of all randomness."""
    tasks: Annotated[dict[Name, TaskSettings], Field(min_length=1)]
    """Task name -> task."""
    ladder: Annotated[tuple[RungSettings, ...], Field(min_length=1)]
    """The rungs, cheapest first."""
    ingest: IngestSettings
    """How rows are read."""
    validate_: Annotated[ValidateSettings, Field(alias="validate")]
    """What rows must be like."""
    split: SplitSettings
    """Which rows teach, steer and judge."""
    augment: AugmentSettings
    """Synthetic training rows."""
    train: TrainSettings
    """How adapters are trained."""
    evaluate: EvaluateSettings
    """How answers are scored."""
    decide: DecideSettings
    """When evidence is enough."""
    collect: tuple[CollectSettings, ...] = ()
    """Rows that are kept elsewhere."""
    register_: Annotated[RegisterSettings, Field(alias="register", default_factory=RegisterSettings)]
    """Where results are registered."""
    promote: PromoteSettings = PromoteSettings()
    """The gate on the test rows."""

    @model_validator(mode="after")
    def _fit_together(self) -> "Settings":
        no_twins("ladder", [r.name for r in self.ladder])
        no_twins("collect", [c.name for c in self.collect])
        no_twins("collect.to", [c.target.rstrip("/") for c in self.collect])
        for one in self.collect:
            for other in self.collect:
                if one is not other and other.target.startswith(one.target.rstrip("/") + "/"):
                    raise ValueError(f"collect.to: {other.name} ({other.target}) lies in {one.name} ({one.target})")
        known = {s.name for s in self.ingest.sources}
        for name, task in self.tasks.items():
            for source in task.sources:
                if source not in known:
                    raise ValueError(f"tasks.{name}.sources: no source is called {source!r}")
            _augment_fits(self.augment, name, task)
        most = max((rung.steps or self.train.steps for rung in self.ladder if METHODS[rung.method].trains), default=0)
        if most and self.train.eval_every > most:
            found = f"train.eval_every: {self.train.eval_every} steps between looks"
            raise ValueError(f"{found}, and no training has more than {most}")
        return self


def _augment_fits(augment: AugmentSettings, name: str, task: TaskSettings) -> None:
    if augment.slice is not None and augment.slice not in slots(task.prompt):
        raise ValueError(f"augment.slice: task {name} has the slots {', '.join(slots(task.prompt))}; name one of them")
    if augment.slice is not None and augment.slice == augment_field(augment, task):
        raise ValueError(f"augment.slice: {augment.slice} is the slot that is reworded; `augment.field` names another")
    if not augment.templates:
        return
    field = augment_field(augment, task)
    if field is None or field not in slots(task.prompt):
        raise ValueError(f"augment.field: task {name} has the slots {', '.join(slots(task.prompt))}; name one of them")
    for template in augment.templates:
        unknown = set(slots(template)) - {field, *augment.wordings}
        if field not in slots(template) or unknown:
            known = ", ".join(f"{{{name}}}" for name in augment.wordings) or "no other: `wordings` names none"
            raise ValueError(f"augment.templates: {template!r} must hold the slot {{{field}}} and beside it {known}")
    if field in augment.wordings:
        raise ValueError(f"augment.wordings: {field} is the row's own slot")


def augment_field(augment: AugmentSettings, task: TaskSettings) -> str | None:
    """Returns the slot that is reworded: the one named, or the prompt's only one; None if that leaves a choice."""
    names = slots(task.prompt)
    return augment.field or (names[0] if len(names) == 1 else None)


def pin(path: Path, commit: Callable[[str], str]) -> dict[str, str]:
    """Writes `@commit` behind every hub name on the ladder that has none; returns name -> commit.

    A name is a hub name if it looks like one and no folder of that name stands beside params.yaml. Everything else
    in the file stays as it is, comments too. `commit` asks the hub.

    Raises:
        SettingsError: params.yaml can't be read, or would not be valid with the commits in it.
    """
    from ruamel.yaml import YAML

    read_raw(path)
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    pinned: dict[str, str] = {}
    places: dict[tuple[int, int], str] = {}
    for rung in YAML().load(text).get("ladder") or []:
        name = rung.get("base") if isinstance(rung, dict) else None
        if isinstance(name, str) and HUB_NAME.fullmatch(name) and not (path.parent / name).is_dir():
            pinned[name] = pinned.get(name) or commit(name)
            places[rung.lc.value("base")] = name  # an alias stands where its anchor does
    for (line, column), name in sorted(places.items(), reverse=True):  # from the end: earlier columns stay true
        before, after = lines[line][:column], lines[line][column:]
        lines[line] = before + after.replace(name, f"{name}@{pinned[name]}", 1)
    if pinned:
        changed = "".join(lines)
        after_all = parse(_loaded(changed), str(path))
        left = sorted({rung.base for rung in after_all.ladder if rung.base in pinned})
        if left:
            raise SettingsError(
                Problem(
                    "a base's commit can't be written where the base is named",
                    where=f"{path}: ladder",
                    found=f"{left[0]}, which does not stand there letter by letter",
                    wanted="`base: owner/name`, without escapes, on one line",
                    do=f"write {left[0]}@{pinned[left[0]]} by hand",
                )
            )
        replace_text(path, changed)
    return pinned


SECTIONS = tuple(field.alias or name for name, field in Settings.model_fields.items())
"""The sections of params.yaml, in the order in which they are documented."""


def read_raw(path: Path) -> dict[str, Any]:
    """Returns params.yaml as plain values, unchecked.

    Raises:
        SettingsError: the file is missing, is not UTF-8, not YAML, holds a key twice, or is no mapping.
    """
    from ruamel.yaml.error import YAMLError

    try:
        values = _loaded(path.read_text(encoding="utf-8"))
        if place := _not_finite(values):
            raise ValueError(f"{place} is no finite number")
        json.dumps(values, allow_nan=False, sort_keys=True, ensure_ascii=False).encode()
    except FileNotFoundError:
        raise SettingsError(
            Problem(
                "there is no params.yaml here",
                where=str(path),
                wanted="the folder of a Rungwise workspace",
                do="go to the workspace's folder, or set RUNGWISE_WORKSPACE to it",
            )
        ) from None
    except (UnicodeDecodeError, YAMLError, ValueError, TypeError) as error:
        found, is_colon = _one_line(error), "':'" in _one_line(error)
        do = 'put what holds a colon, such as an address, in quotes: {url: "http://..."}' if is_colon else ""
        raise SettingsError(
            Problem("params.yaml can't be read", where=str(path), found=found, wanted="UTF-8 YAML", do=do)
        ) from None
    if not isinstance(values, dict):
        raise SettingsError(
            Problem(
                "params.yaml holds no settings",
                where=str(path),
                found=type(values).__name__ if values is not None else "an empty file",
                wanted=f"a mapping with the sections {', '.join(SECTIONS)}",
            )
        )
    return values


def _loaded(text: str) -> Any:
    """Returns what DVC's own call reads: libyaml where it is there, which wants an address in `{}` in quotes."""
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(text)


def _not_finite(value: Any, place: str = "") -> str:
    """Returns the key of the first number that is infinite or none at all; empty where there is none."""
    if isinstance(value, float):
        return "" if math.isfinite(value) else place
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return next((found for key, v in inner if (found := _not_finite(v, f"{place}.{key}".lstrip(".")))), "")


def _one_line(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    text = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"{text} (line {mark.line + 1})" if mark else str(text)


def parse(values: dict[str, Any], where: str = "params.yaml") -> Settings:
    """Returns the settings in `values`.

    Raises:
        SettingsError: the first fault with its key, what was found and what is wanted; the others are counted.
    """
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
    # a list whose only entry has a fault is called too short as well
    real = [f for f in faults if not (f["type"] == "too_short" and any(b[: len(f["loc"])] == f["loc"] for b in below))]
    faults = real or faults
    first = faults[0]  # a misspelt key before the one that is missing for it
    key = ".".join(str(part) for part in first["loc"] if part != "[key]") or "params.yaml"
    wanted = str(first["msg"]).removeprefix("Value error, ")
    kinds = {"extra_forbidden": "an unknown key", "missing": "a key is missing"}
    what = kinds.get(first["type"], "a setting is not what was wanted")
    found = "nothing" if first["type"] == "missing" else _shorten(first["input"])
    if first["type"] == "value_error" and isinstance(first["input"], dict):
        found = ""  # of a whole section the message names what is wrong
    if first["type"] == "extra_forbidden":
        wanted, found = _known_keys(first["loc"]), str(first["loc"][-1])
    others = [".".join(str(part) for part in fault["loc"] if part != "[key]") for fault in faults[1:]]
    more = f" ({len(others)} more: {joined(others, 3)})" if others else ""
    do = "correct params.yaml"
    if first["type"] == "missing" and key in SECTIONS:
        wanted, do = f"the section `{key}`", f"write `{key}: {{}}` for its defaults (a seed is a number)"
    return Problem(what + more, where=f"{where}: {key}", found=found, wanted=wanted, do=do)


def _known_keys(loc: tuple[int | str, ...]) -> str:
    section: Any = Settings
    for part in loc[:-1]:
        if not (isinstance(section, type) and issubclass(section, BaseModel)) or not isinstance(part, str):
            continue
        fields = {f.alias or n: f.annotation for n, f in section.model_fields.items()}
        section = inner_section(fields.get(part))
    if isinstance(section, type) and issubclass(section, BaseModel):
        return "one of " + ", ".join(f.alias or n for n, f in section.model_fields.items())
    return "a key that the section knows"


def inner_section(annotation: Any) -> Any:
    """Returns the section within a field's annotation, such as `TaskSettings` of `dict[str, TaskSettings]`, or None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = inner_section(inner)
        if found is not None:
            return found
    return None


def _shorten(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."
