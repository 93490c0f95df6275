"""The sections of params.yaml about tasks, rungs and gates: what is asked, what is tried, what is good enough."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rungwise.config.section import Count, Name, Positive, Section, Share, Template, Text
from rungwise.core.faults import Fault
from rungwise.core.methods import METHODS
from rungwise.core.prompts import slots
from rungwise.core.records import Base

HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_REVISION = re.compile(r"[0-9a-f]{40}")
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


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
    remote_code: Sha256 | None = None
    """SHA-256 of the base's own Python files, as the refusal of such a base names it: these very files may be run,
    which is the model author's code on this machine. None: a base that needs code of its own is refused."""
    method: Literal[
        "tfidf", "prompt", "full", "lora", "rslora", "dora", "pissa", "vera", "prompt-tuning", "prefix-tuning", "ia3",
        "llama-adapter", "layer-norm", "value-bias", "last-layers", "sparse"
    ]  # fmt: skip
    """`tfidf`: no language model (see `evaluation.classical`). `prompt`: no training, examples in the prompt. The
    others train: `methods.METHODS` says what, and has the defaults of the settings below, which are not every
    method's."""
    template: Literal["plain", "chat"] = "plain"
    """`plain`: the prompt as it stands. `chat`: as a user's message in the tokenizer's chat template."""
    examples: Count | None = None
    """Method `prompt`: solved training rows shown before the question."""
    rank: Positive | None = None
    """Methods with low-rank matrices: their rank. `vera`: of the random matrices. `sparse`: as many entries are trained
    as matrices of this rank have."""
    alpha: Annotated[float, Field(gt=0)] | None = None
    """Methods of LoRA's kind: the update is scaled by alpha / rank (`rslora`: by alpha / sqrt(rank))."""
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Methods of LoRA's kind: dropout in front of the update matrices."""
    targets: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    """Module names, each of which must match; `all-linear`: every linear layer but the output."""
    tokens: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Methods `prompt-tuning`, `prefix-tuning`, `llama-adapter`: virtual tokens."""
    layers: Positive | None = None
    """Methods `last-layers`, `llama-adapter`: how many of the last decoder layers."""
    steps: Positive | None = None
    """Optimizer steps of this rung; None: `train.steps`."""
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Learning rate of this rung; None: `train.learning_rate`."""

    @model_validator(mode="after")
    def _pinned(self) -> "RungSettings":
        if (self.method == "tfidf") != (self.base is None):
            raise ValueError("base: method tfidf has none, every other method needs one")
        if self.remote_code and self.base is None:
            raise ValueError("remote_code: there is no base whose code could be run")
        base_of(self)
        has = METHODS[self.method].settings
        for name in ("examples", "rank", "alpha", "dropout", "targets", "tokens", "layers"):
            if getattr(self, name) is not None and name not in has:
                raise ValueError(f"{name}: method {self.method} has no such setting, but {', '.join(has) or 'none'}")
        for name in ("steps", "learning_rate"):
            if getattr(self, name) is not None and not METHODS[self.method].trains:
                raise ValueError(f"{name}: method {self.method} trains no language model")
        return self

    def setting(self, name: str) -> Any:
        """Returns a setting of the method: the rung's own, or the method's default; None where it has no such one."""
        own = getattr(self, name)
        return METHODS[self.method].settings.get(name) if own is None else own


class TrainSettings(Section):
    """How an adapter is trained; a rung may say otherwise for `steps` and `learning_rate`."""

    steps: Positive = 300
    """Optimizer steps."""
    batch_size: Positive = 32
    """Rows per optimizer step."""
    max_tokens_per_microbatch: Positive = 4_096
    """Tokens, padding among them, that go through the model at once. A step with more goes through in parts, with the
    same loss; fewer need less memory, more may be faster on a large GPU. First tokens that all rows share count once,
    and an eighth in each row. Where the memory runs out it is halved by itself."""
    checkpointing: bool = False
    """Whether activations are computed again in the backward pass: less memory, about a third more time."""
    compiled: bool = False
    """Whether torch.compile compiles the model first, which takes minutes. On a CPU it did not pay where that was
    measured (see docs/results.md); on a GPU it was not."""
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate of AdamW; None: by a rule for the method and the base's width (see `training.loop`)."""
    warmup_share: Share = 0.05
    """Share of the steps over which the rate rises from 0."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """After the warm-up: down to 0 along a cosine, or constant."""
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    """The gradient's norm is clipped to this."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """AdamW's decay of the adapter's weights."""
    eval_every: Count = 0
    """Steps between looks at the development rows, by the task's metric; the best look's weights are kept. 0: none, and
    those of the last step are kept."""
    eval_rows: Positive = 500
    """At most so many development rows are looked at while training."""
    patience: Count = 0
    """The training ends after so many looks without a better score; 0: it goes on to its last step."""
    precision: Literal["fp32", "bf16", "4bit"] = "fp32"
    """Type of the base's weights; what is trained stays fp32. `4bit`: by bitsandbytes, computing in bf16, CUDA only."""
    audit: dict[Fault, Share] = Field(default_factory=dict)
    """Fault of the training rows' tokens -> the share of rows from which it stops the run, where that is not the
    default of `faults.LIMITS`."""
    checkpoint_steps: Positive = 50
    """Steps between two points from which a killed training goes on."""
    launch: tuple[Text, ...] = ()
    """A command in front of `python -m` that starts several processes, such as `[torchrun, --standalone,
    --nproc_per_node, "2"]` or `[accelerate, launch, --config_file, infra/accelerate/ddp.yaml]`; empty: one process."""

    @model_validator(mode="after")
    def _looks(self) -> "TrainSettings":
        if self.patience and not self.eval_every:
            raise ValueError("patience counts looks at development rows: set eval_every beside it")
        return self


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


def base_of(rung: RungSettings) -> Base | None:
    """Returns the rung's base: a folder, or a hub name with its pinned revision, and the code that it may run; or None.

    Raises:
        ValueError: a hub name without a revision, or a revision that is no commit.
    """
    return None if rung.base is None else replace(base_named(rung.base), code=rung.remote_code or "")


def base_named(text: str) -> Base:
    """Returns the base that `FOLDER` or `owner/name@COMMIT` names; raises ValueError as `base_of` does."""
    name, at, revision = text.partition("@")
    if at and not _REVISION.fullmatch(revision):
        raise ValueError("base: after `@` comes the hub's commit, 40 hexadecimal digits (a branch name moves)")
    if at and not HUB_NAME.fullmatch(name):
        raise ValueError("base: a hub name is owner/name")
    return Base(name=name, revision=revision)
