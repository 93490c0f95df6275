"""params.yaml, parsed once into frozen, documented settings; the only reader of params.yaml.

Read with the parser that DVC reads it with (YAML 1.2), so that both see the same values. Unknown keys, wrong
types and names that could reach a path or a shell are errors that name the key.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from components.errors import SettingsError, problem
from components.folders import replace_text
from components.prompts import slots
from components.records import Base

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_REVISION = re.compile(r"[0-9a-f]{40}")


def check_name(name: str) -> str:
    """Returns a name that is safe in a path, a tag and a page: `[a-z][a-z0-9-]{0,39}`.

    Raises:
        ValueError: it is not such a name.
    """
    if not _NAME.fullmatch(name):
        raise ValueError("a name: a small letter, then up to 39 small letters, digits and dashes")
    return name


def _inside(path: str) -> str:
    if not path or path.startswith(("/", "~")) or "\\" in path or ".." in Path(path).parts:
        raise ValueError("a path inside data/raw, without `..` and not from the root")
    return path


def _template(text: str) -> str:
    try:
        slots(text)
    except SettingsError as error:
        raise ValueError(str(error)) from None
    return text


Name = Annotated[str, AfterValidator(check_name)]
RawPath = Annotated[str, AfterValidator(_inside)]
Template = Annotated[str, AfterValidator(_template)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Text = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """What all settings have in common: frozen, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class FieldSettings(Section):
    """Where one answer stands and what form it has."""

    column: Text
    """The column that holds the answer."""
    format: Literal["label", "list", "text"] = "label"
    """`label`: one of a closed set. `list`: items with a separator. `text`: anything."""
    labels: tuple[Text, ...] = ()
    """The closed set; empty: the labels that stand in the training rows."""
    separator: Annotated[str, Field(min_length=1, max_length=3)] = ";"
    """Stands between the items of a list, in the column and in what a model writes."""


class AnswerSettings(FieldSettings):
    """Where a task's answer stands and what form it has."""

    column: Text | None = None  # type: ignore[assignment]  # an object has columns of its own
    """The column that holds the answer; an object names one for each field."""
    format: Literal["label", "list", "text", "json"] = "label"  # type: ignore[assignment]  # one form more
    """As for a field; `json`: an object of `fields`, written as one line of JSON."""
    fields: dict[Text, FieldSettings] = Field(default_factory=dict)
    """Format `json`: key -> where its value stands, in the order in which a model writes them."""
    facts: Text | None = None
    """Formats `text` and `json`: a column with what a written answer has to say, separated by `separator`."""

    @model_validator(mode="after")
    def _whole(self) -> "AnswerSettings":
        if self.format == "json" and (not self.fields or self.column):
            raise ValueError("an object (format json) has `fields`, each with a column, and no column of its own")
        if self.format != "json" and (self.fields or not self.column):
            raise ValueError("an answer has a `column`; `fields` are for format json")
        if self.facts and self.format not in ("text", "json"):
            raise ValueError("facts: only a written answer (format text or json) has to say something")
        return self

    def columns(self) -> tuple[str, ...]:
        """Returns every column that the answer is read from."""
        named = [f.column for f in self.fields.values()] if self.fields else [str(self.column)]
        return tuple(dict.fromkeys([*named, *([self.facts] if self.facts else [])]))


METRICS: Mapping[str, tuple[str, ...]] = {
    "label": ("accuracy",),
    "list": ("set_f1",),
    "text": ("chrf", "facts", "chrf_facts"),
    "json": ("fields",),
}
"""Answer format -> the metrics that can measure it, the default first (see `evaluation.metrics`)."""


class TaskSettings(Section):
    """One task: what is asked, how the answer looks, and when it is good enough."""

    family: Literal["extract", "expand", "combined"] = "extract"
    """`extract`: the answer is read out of the text. `expand`: it is written. `combined`: both. For people."""
    kind: Text = "routing"
    """A word for people: routing, topics, agents ..."""
    prompt: Template
    """The prompt with `{column}` slots; the model's answer follows it."""
    answer: AnswerSettings
    """The answer's column and form."""
    metric: Literal["", "accuracy", "set_f1", "chrf", "facts", "chrf_facts", "fields"] = ""
    """What is measured, a mean over the scored rows (see `evaluation.metrics`); empty: by the answer's format."""
    target: Annotated[float, Field(gt=0.0, lt=1.0)]
    """The bar, held against the lower end of the score's interval."""
    sources: tuple[Name, ...] = ()
    """The sources this task reads; empty: all."""

    @model_validator(mode="after")
    def _has_slots(self) -> "TaskSettings":
        if not slots(self.prompt):
            raise ValueError("prompt: has no {slot}, so every row would ask the same")
        known = METRICS[self.answer.format]
        if self.metric and self.metric not in known:
            raise ValueError(f"metric: {self.metric} can't measure format {self.answer.format}: {', '.join(known)}")
        if self.metric in ("facts", "chrf_facts") and not self.answer.facts:
            raise ValueError(f"metric: {self.metric} needs `answer.facts`, the column of what has to be said")
        return self

    @property
    def measure(self) -> str:
        """The metric's name, where none is set that of the answer's format."""
        return self.metric or METRICS[self.answer.format][0]


class RungSettings(Section):
    """One rung of the ladder: a base model and what is done with it."""

    name: Name
    """The rung's name; unique on the ladder."""
    base: Text | None = None
    """A local folder (`models/x`), or a hub name at a pinned revision (`owner/name@<40 hex digits>`)."""
    method: Literal["tfidf", "prompt", "lora"]
    """`tfidf`: no language model (see `evaluation.classical`). `prompt`: no training, examples in the prompt.
    `lora`: low-rank adapters (Hu et al., 2021)."""
    template: Literal["plain", "chat"] = "plain"
    """`plain`: the prompt as it stands. `chat`: as a user's message in the tokenizer's chat template."""
    examples: Count = 4
    """Method `prompt`: solved training rows shown before the question."""
    rank: Positive = 16
    """Method `lora`: rank of the update matrices."""
    alpha: Annotated[float, Field(gt=0)] = 32.0
    """Method `lora`: the update is scaled by alpha / rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Method `lora`: dropout in front of the update matrices."""
    targets: Annotated[tuple[Text, ...], Field(min_length=1)] = ("all-linear",)
    """Method `lora`: module names, each of which must match; `all-linear`: every linear layer but the output."""
    steps: Positive | None = None
    """Optimizer steps of this rung; None: `train.steps`."""
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Learning rate of this rung; None: `train.learning_rate`."""

    @model_validator(mode="after")
    def _pinned(self) -> "RungSettings":
        if (self.method == "tfidf") != (self.base is None):
            raise ValueError("base: method tfidf has none, every other method needs one")
        base_of(self)
        return self


class SourceSettings(Section):
    """One source of rows under data/raw."""

    name: Name
    """The source's name, kept with every row; unique."""
    path: RawPath
    """A file under data/raw, or a pattern (`train_*.json`)."""
    format: Literal["csv", "jsonl", "json", "labelled"] | None = None
    """None: by the file's ending (.csv .tsv .jsonl .ndjson .json .label). `labelled`: lines of a label, a space and
    a text, which are the columns `label` and `text`."""
    encoding: Text = "utf-8"
    """The text's encoding."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """CSV: None: a comma, or a tab for .tsv."""
    records: str = "[]"
    """JSON: where the rows stand: `[]` each item of a list, `{name}` each key, kept as column `name`; `a.{b}.[]`."""
    columns: dict[Text, Text] = Field(default_factory=dict)
    """Column -> where it stands under another name; in JSON a path such as `data[].text` (pieces are joined),
    or `[0]` for the first cell of a row that is a list. A list of texts becomes one cell with `;` between its items."""
    role: Literal["train", "dev", "test"] | None = None
    """The side of the split that all rows of this source stand on; None or `train`: see `split`."""

    @model_validator(mode="after")
    def _known_encoding(self) -> "SourceSettings":
        try:
            "".encode(self.encoding)
        except LookupError:
            raise ValueError(f"encoding: no text encoding is called {self.encoding!r}") from None
        return self


class IngestSettings(Section):
    """How rows are read."""

    sources: Annotated[tuple[SourceSettings, ...], Field(min_length=1)]
    """Where the rows come from."""
    max_rejected_share: Share = 0.1
    """More rejected rows than this share of all stop the run."""

    @model_validator(mode="after")
    def _unique(self) -> "IngestSettings":
        _no_twins("ingest.sources", [s.name for s in self.sources])
        return self


class ValidateSettings(Section):
    """What rows must be like before anything is trained."""

    min_rows: Positive = 50
    """Fewer rows than this stop the run."""
    max_characters: Positive = 20_000
    """A longer field or answer is rejected."""
    min_rows_per_label: Positive = 2
    """A label with fewer rows is too rare to be both learned and tested."""
    rare_labels: Literal["reject", "stop"] = "reject"
    """What happens to rows of such labels."""
    max_rejected_share: Share = 0.1
    """More rejected rows than this share of all stop the run."""


class SplitSettings(Section):
    """Which rows teach, which steer and which judge."""

    given: Text | None = None
    """A column that says `train`, `dev` or `test`."""
    group: Text | None = None
    """A column whose equal values belong together (a customer, a problem); None: equal texts do."""
    dev: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of the groups that steer; taken from the rows without a given side."""
    test: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of the groups that judge; unused where the user gave test rows."""

    @model_validator(mode="after")
    def _leaves_training(self) -> "SplitSettings":
        if self.dev + self.test >= 1:
            raise ValueError("dev + test: leave nothing to train on")
        return self


class AugmentSettings(Section):
    """Training rows made from training rows by wordings around a field."""

    field: Text | None = None
    """The prompt's slot that is reworded; None: the only slot."""
    templates: tuple[Template, ...] = ()
    """Wordings with the slot of that field, such as `Hello, {body}`; empty: nothing is generated."""
    per_label: Count = 0
    """Labels with fewer training rows than this are filled up to it."""
    max_share: Share = 0.5
    """At most this share of the training rows is synthetic."""


class TrainSettings(Section):
    """How an adapter is trained; a rung may say otherwise for `steps` and `learning_rate`."""

    steps: Positive = 300
    """Optimizer steps."""
    batch_size: Positive = 32
    """Rows per optimizer step."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    """Peak learning rate of AdamW."""
    warmup_share: Share = 0.05
    """Share of the steps over which the rate rises from 0."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """After the warm-up: down to 0 along a cosine, or constant."""
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    """The gradient's norm is clipped to this."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """AdamW's decay of the adapter's weights."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Type of the base's weights; adapters stay fp32."""


class EvaluateSettings(Section):
    """How answers are scored."""

    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Of the two-sided intervals."""


class DecideSettings(Section):
    """When evidence is enough to decide on."""

    min_scored: Positive = 30
    """With fewer scored rows no gate decides."""
    max_unscored_share: Share = 0.05
    """With a larger share of rows that could not be scored no gate decides."""
    beyond_classical: bool = False
    """Whether the climb goes on past a rung without a language model that passes, up to the first language model
    that passes too: it costs its training and shows what it would add."""


class RegisterSettings(Section):
    """Where in the registry results go."""

    experiment: Name = "rungwise"
    """MLflow experiment of the attempts' runs."""


class PromoteSettings(Section):
    """What the gate on the test rows asks for, beside the bar."""

    min_scored: Positive = 30
    """With fewer scored test rows nothing is promoted."""
    max_unscored_share: Share = 0.05
    """With a larger share of test rows that could not be scored nothing is promoted."""


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
    register_: Annotated[RegisterSettings, Field(alias="register", default_factory=RegisterSettings)]
    """Where results are registered."""
    promote: PromoteSettings = PromoteSettings()
    """The gate on the test rows."""

    @model_validator(mode="after")
    def _fit_together(self) -> "Settings":
        _no_twins("ladder", [r.name for r in self.ladder])
        known = {s.name for s in self.ingest.sources}
        for name, task in self.tasks.items():
            for source in task.sources:
                if source not in known:
                    raise ValueError(f"tasks.{name}.sources: no source is called {source!r}")
            _augment_fits(self.augment, name, task)
        return self


def _no_twins(where: str, names: list[str]) -> None:
    twins = sorted({n for n in names if names.count(n) > 1})
    if twins:
        raise ValueError(f"{where}: the name {twins[0]!r} is used twice")


def _augment_fits(augment: AugmentSettings, name: str, task: TaskSettings) -> None:
    if not augment.templates:
        return
    field = augment_field(augment, task)
    if field is None or field not in slots(task.prompt):
        raise ValueError(f"augment.field: task {name} has the slots {', '.join(slots(task.prompt))}; name one of them")
    for template in augment.templates:
        if slots(template) != (field,):
            raise ValueError(f"augment.templates: {template!r} must hold the slot {{{field}}} and no other")


def augment_field(augment: AugmentSettings, task: TaskSettings) -> str | None:
    """Returns the slot that is reworded: the one named, or the prompt's only one; None if that leaves a choice."""
    names = slots(task.prompt)
    return augment.field or (names[0] if len(names) == 1 else None)


def base_of(rung: RungSettings) -> Base | None:
    """Returns the rung's base: a folder, or a hub name with its pinned revision; None where it has none.

    Raises:
        ValueError: a hub name without a revision, or a revision that is no commit.
    """
    if rung.base is None:
        return None
    name, at, revision = rung.base.partition("@")
    if at and not _REVISION.fullmatch(revision):
        raise ValueError("base: after `@` comes the hub's commit, 40 hexadecimal digits (a branch name moves)")
    if at and not _HUB_NAME.fullmatch(name):
        raise ValueError("base: a hub name is owner/name")
    return Base(name=name, revision=revision)


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
        if isinstance(name, str) and _HUB_NAME.fullmatch(name) and not (path.parent / name).is_dir():
            pinned[name] = pinned.get(name) or commit(name)
            places[rung.lc.value("base")] = name  # an alias stands where its anchor does
    for (line, column), name in sorted(places.items(), reverse=True):  # from the end: earlier columns stay true
        before, after = lines[line][:column], lines[line][column:]
        lines[line] = before + after.replace(name, f"{name}@{pinned[name]}", 1)
    if pinned:
        changed = "".join(lines)
        after_all = parse(YAML(typ="safe", pure=True).load(changed), str(path))
        left = sorted({rung.base for rung in after_all.ladder if rung.base in pinned})
        if left:
            raise SettingsError(
                problem(
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
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        text = path.read_text(encoding="utf-8")
        values = YAML(typ="safe", pure=True).load(text)
        json.dumps(values, allow_nan=False, sort_keys=True, ensure_ascii=False).encode()
    except FileNotFoundError:
        raise SettingsError(
            problem(
                "there is no params.yaml here",
                where=str(path),
                wanted="the folder of a Rungwise workspace",
                do="go to the workspace's folder, or set RUNGWISE_WORKSPACE to it",
            )
        ) from None
    except (UnicodeDecodeError, YAMLError, ValueError, TypeError) as error:
        raise SettingsError(
            problem("params.yaml can't be read", where=str(path), found=_one_line(error), wanted="UTF-8 YAML")
        ) from None
    if not isinstance(values, dict):
        raise SettingsError(
            problem(
                "params.yaml holds no settings",
                where=str(path),
                found=type(values).__name__ if values is not None else "an empty file",
                wanted=f"a mapping with the sections {', '.join(SECTIONS)}",
            )
        )
    return values


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


def _explain(error: ValidationError, where: str) -> str:
    faults = error.errors(include_url=False)
    first = faults[0]
    key = ".".join(str(part) for part in first["loc"] if part != "[key]") or "params.yaml"
    wanted = str(first["msg"]).removeprefix("Value error, ")
    kinds = {"extra_forbidden": "an unknown key", "missing": "a key is missing"}
    what = kinds.get(first["type"], "a setting is not what was wanted")
    found = "nothing" if first["type"] == "missing" else _shorten(first["input"])
    if first["type"] == "extra_forbidden":
        wanted, found = _known_keys(first["loc"]), str(first["loc"][-1])
    more = f" ({len(faults) - 1} more faults after it)" if len(faults) > 1 else ""
    do = "correct params.yaml"
    if first["type"] == "missing" and key in SECTIONS:
        wanted, do = f"the section `{key}`", f"write `{key}: {{}}` for its defaults (a seed is a number)"
    return problem(what + more, where=f"{where}: {key}", found=found, wanted=wanted, do=do)


def _known_keys(loc: tuple[int | str, ...]) -> str:
    section: Any = Settings
    for part in loc[:-1]:
        if not (isinstance(section, type) and issubclass(section, BaseModel)) or not isinstance(part, str):
            continue
        fields = {f.alias or n: f.annotation for n, f in section.model_fields.items()}
        section = _inner_section(fields.get(part))
    if isinstance(section, type) and issubclass(section, BaseModel):
        return "one of " + ", ".join(f.alias or n for n, f in section.model_fields.items())
    return "a key that the section knows"


def _inner_section(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _inner_section(inner)
        if found is not None:
            return found
    return None


def _shorten(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."
