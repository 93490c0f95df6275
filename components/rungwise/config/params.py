"""All sections of params.yaml, checked together, and edits of single settings.

Unknown keys, wrong types, and names that are unsafe in a path or a shell are errors that name the key.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

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
from rungwise.config.gates import (
    AbstainSettings,
    DecideSettings,
    EvaluateSettings,
    PromoteSettings,
    RegisterSettings,
)
from rungwise.config.ladder import (
    HUB_NAME,
    RungSettings,
    TaskSettings,
    TrainSettings,
)
from rungwise.config.read import read_raw
from rungwise.config.renamed import with_new_names
from rungwise.config.section import Bar, Count, Name, Section, check_unique
from rungwise.core.errors import Problem, SettingsError
from rungwise.core.folders import joined
from rungwise.core.methods import METHODS
from rungwise.core.prompts import slots


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
    """Task name -> its bar, from 0 to 1. Test rows have to show that a rung reaches it before it is promoted. Only the
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
    abstain: AbstainSettings = AbstainSettings()
    """Which answers a champion gives itself, and which rows it leaves to people."""
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
            more = f", and {unknown[0]!r} is not a task" if unknown else ""
            raise ValueError(f"bars: task {missing[0]} has no bar{more}; write `bars: {{{missing[0]}: 0.9}}`")
        if unknown:
            raise ValueError(f"bars: {unknown[0]!r} is not a task")
        known = {s.name for s in self.ingest.sources}
        for name, task in self.tasks.items():
            for source in task.sources:
                if source not in known:
                    raise ValueError(f"tasks.{name}.sources: there is no source {source!r}")
            _augment_fits(self.augment, name, task)
        _abstain_fits(self.abstain, self.tasks)
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


def _abstain_fits(abstain: AbstainSettings, tasks: Mapping[str, TaskSettings]) -> None:
    for name in abstain.right:
        if name not in tasks:
            raise ValueError(f"abstain.right: there is no task {name!r}")
        if tasks[name].answer.format == "text":
            raise ValueError(
                f"abstain.right: the answers of task {name} are texts, which are never entirely right; leave it out"
            )


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


SECTIONS = tuple(field.alias or name for name, field in Settings.model_fields.items())
"""The sections of params.yaml, in the order of their documentation."""


def parse(values: dict[str, Any], where: str = "params.yaml") -> Settings:
    """Returns the settings in `values`.

    Raises:
        SettingsError: it names the first error with its key, and counts the others.
    """
    try:
        return Settings.model_validate_json(json.dumps(with_new_names(values, where)))
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
    wanted = str(first["msg"]).removeprefix("Value error, ").removeprefix("Input should be ").removeprefix("'', ")
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
        examples = {
            "seed": "seed: 7",
            "bars": "bars: {TASK: 0.9}` with the name of each task, such as `bars: {route: 0.9}",
        }
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
