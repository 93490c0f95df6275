"""The sections of params.yaml about tasks, rungs and training."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rungwise.config.section import Count, Name, Positive, Section, Share, Template, Text
from rungwise.core.errors import SettingsError
from rungwise.core.faults import Fault
from rungwise.core.instructions import label_words
from rungwise.core.methods import METHODS, SIMILAR_EXAMPLES
from rungwise.core.prompts import slots
from rungwise.core.records import Base

HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_REVISION = re.compile(r"[0-9a-f]{40}")
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class FieldSettings(Section):
    """The column and format of one field of an answer."""

    column: Text
    """The column that holds the answer."""
    format: Literal["label", "list", "text"] = "label"
    """`label`: one of a fixed set. `list`: items with a separator. `text`: any text."""
    labels: tuple[Text, ...] = ()
    """The fixed set of labels, or of the items of a closed list. By default those of the training rows."""
    separator: Annotated[str, Field(min_length=1, max_length=3)] = ";"
    """Separates the items of a list, in the column and in the model's output."""
    may_be_empty: bool = False
    """Format `list`: whether an empty list (`[]`) is an answer: nothing applies. An empty cell is never one."""
    no_value: tuple[Text, ...] = ()
    """Texts that stand for no answer, such as `None` or `N/A`, ignoring case. Such rows are rejected as `no_answer`."""
    strip: tuple[Text, ...] = ()
    """Texts that are removed from the beginning and the end of the answers, such as `</s>`."""
    items: Literal["open", "closed"] | None = None
    """Format `list`: `closed`, all items are out of a fixed set, and a model writes no others; `open`, a model may
    write any item. By default closed if `labels` names the items, otherwise open."""

    @property
    def is_closed(self) -> bool:
        """Whether labels or items are out of a fixed set."""
        return self.format == "label" or (self.format == "list" and (self.items == "closed" or bool(self.labels)))

    @model_validator(mode="after")
    def _items_fit(self) -> "FieldSettings":
        if self.may_be_empty and self.format != "list":
            raise ValueError("may_be_empty: only lists can be empty")
        if self.items and self.format != "list":
            raise ValueError("items: only format list has items")
        if self.items == "open" and self.labels:
            raise ValueError("items: `labels` names the items, so the list is closed")
        if self.format == "list" and any(one != one.strip() or self.separator in one for one in self.labels):
            raise ValueError("labels: an item of a list has no separator, and no white space around it")
        return self


class AnswerSettings(FieldSettings):
    """The column and format of a task's answer."""

    column: Text | None = None  # type: ignore[assignment]  # an object has one column per field
    """The column that holds the answer. With format `json`, each field names its own column instead."""
    format: Literal["label", "list", "text", "json"] = "label"  # type: ignore[assignment]  # one more format
    """`label`: one of a fixed set. `list`: items with a separator. `text`: any text. `json`: an object with `fields`,
    written as one line of JSON."""
    fields: dict[Text, FieldSettings] = Field(default_factory=dict)
    """Format `json`: key -> the column and format of its value, in the order in which a model writes them."""
    words: dict[Text, Text] = Field(default_factory=dict)
    """Format `label`, method `prompt`: label -> the words that the model reads and writes in its place, for labels that
    are codes. Example: `{DESC: description, NUM: number}`. Predictions stay labels. By default a label is read as
    words: `card_arrival` as `card arrival`."""
    merge_labels: bool = False
    """Format `label`: whether labels that differ only in case, white space, Unicode form or a final `.0` become the
    most frequent one of them."""
    any_of: bool = False
    """Format `text`: whether a list in the column holds several right answers. Each is right: a score is that of the
    best match. A model learns the first."""
    others: tuple[Text, ...] = ()
    """Format `text`: columns with further right answers of the same row, such as `[ref2, ref3]`. Each is right, as with
    `any_of`, which may be set, too. Empty cells are no answer. A model learns that of `column`, or the first filled
    one."""
    one_hot: tuple[Text, ...] = ()
    """Formats `label` and `list`, instead of `column`: the columns named like the labels or items. A cell of 1, `true`
    or `yes` means that it applies. A label needs exactly one of them."""
    options: tuple[Text, ...] = ()
    """Format `label`: the slots of the prompt that hold the options of a question in their order, such as
    `[A, B, C, D]`. The answer is the letter of one, A for the first. A row whose answer names none of its options is
    rejected as `not_an_option`."""
    chosen_by: Literal["letter", "text", 0, 1] = "letter"
    """With `options`: how the column names one: by its `letter`, by its `text`, or by its number, counted from `0` or
    from `1`. A letter is always understood."""
    facts: Text | None = None
    """Formats `text` and `json`: a column with the facts that an answer must contain, separated by `separator`."""
    constrained: bool = True
    """Formats `json`, and `list` with closed items: whether a model that writes can only write valid answers: an object
    with exactly these keys, known labels, closed items. It requires the package llguidance, and took 0.4 to 3.3 % of
    the processor time of writing (SmolLM2-135M, batches of 16 and 64, one core)."""

    @model_validator(mode="after")
    def _whole(self) -> "AnswerSettings":
        if self.format == "json" and (not self.fields or self.column or self.one_hot):
            raise ValueError("format json: set `fields`, each with a column, and no `column` or `one_hot`")
        if self.format != "json" and self.fields:
            raise ValueError("set `column`; `fields` are for format json")
        if self.format != "json" and bool(self.column) == bool(self.one_hot):
            raise ValueError("set either `column` or, for labels and lists, `one_hot`")
        if self.any_of and self.format != "text":
            raise ValueError("any_of: only format text can have several right answers")
        if self.others and self.format != "text":
            raise ValueError("others: only format text can have several right answers")
        if len({self.column, *self.others}) <= len(self.others):
            raise ValueError("others: a column is named twice")
        if self.facts and self.format not in ("text", "json"):
            raise ValueError("facts: only formats text and json can have facts")
        if self.merge_labels and self.format != "label":
            raise ValueError("merge_labels: only format label has labels")
        if self.words and self.format != "label":
            raise ValueError("words: only format label has them")
        if self.words and self.labels:
            try:
                label_words(self.labels, self.words)
            except SettingsError as error:
                raise ValueError(str(error)) from None
        return self

    @model_validator(mode="after")
    def _options_fit(self) -> "AnswerSettings":
        if self.options and (self.format != "label" or self.one_hot):
            raise ValueError("options: only format label with a `column` can have them")
        if self.options and not 2 <= len(set(self.options)) == len(self.options) <= 26:
            raise ValueError("options: name at least two and at most 26 slots, each once")
        return self

    @model_validator(mode="after")
    def _one_hot_fits(self) -> "AnswerSettings":
        if self.one_hot and self.format == "text":
            raise ValueError("one_hot: only formats label and list can have it")
        if self.one_hot and (len(self.one_hot) < 2 or {*self.labels} not in (set(), {*self.one_hot})):
            raise ValueError("one_hot: name at least two columns; `labels`, if set, are the same names")
        if self.format == "list" and any(self.separator in name for name in self.one_hot):
            raise ValueError("one_hot: a column's name contains the separator: set `separator` to another one")
        if self.one_hot and not self.labels:
            object.__setattr__(self, "labels", self.one_hot)  # the section is frozen, and not yet seen by anyone
        return self

    def columns(self) -> tuple[str, ...]:
        """Returns all columns that the answer is read from, each once."""
        named = [f.column for f in self.fields.values()] or [*self.one_hot] or [str(self.column), *self.others]
        return tuple(dict.fromkeys([*named, *([self.facts] if self.facts else [])]))


METRICS: Mapping[str, tuple[str, ...]] = {
    "label": ("accuracy",),
    "list": ("set_f1",),
    "text": ("chrf", "facts", "chrf_facts"),
    "json": ("fields",),
}
"""Answer format -> its metrics, the default first (see `evidence.metrics`)."""


class TaskSettings(Section):
    """One task: its prompt and the form of its answers. Its bar is in the section `bars`."""

    family: Literal["extract", "expand", "combined"] = "extract"
    """A note for people: `extract`, the model finds the answer in the text; `expand`, it writes the answer; `combined`,
    both."""
    kind: Text = "routing"
    """A note for people: routing, topics, agents ..."""
    prompt: Template
    """The prompt, with `{column}` slots. The model's answer follows it. Example: `"Mail: {body}\nQueue:"`."""
    optional: tuple[Text, ...] = ()
    """Slots of the prompt whose column may be empty, such as a title that only some rows have. A row whose other
    columns are empty is rejected."""
    instruction: Text | None = None
    """Method `prompt`: the text before the examples. By default it is made from the answer's format, such as `Classify
    the text. Answer with one of: ...`."""
    answer: AnswerSettings
    """The answer's column and format."""
    metric: Literal["", "accuracy", "set_f1", "chrf", "facts", "chrf_facts", "fields"] = ""
    """The score, a mean over the scored rows (see `evidence.metrics`). By default that of the answer's format: accuracy
    for labels, set_f1 for lists, chrf for text, fields for json."""
    sources: tuple[Name, ...] = ()
    """The sources that this task uses. By default all."""

    @model_validator(mode="after")
    def _has_slots(self) -> "TaskSettings":
        if not slots(self.prompt):
            raise ValueError("prompt: it has no {slot}, so all prompts would be equal")
        if unknown := set(self.optional) - set(slots(self.prompt)):
            raise ValueError(f"optional: {', '.join(sorted(unknown))} is not a slot of the prompt")
        if set(self.optional) == set(slots(self.prompt)):
            raise ValueError("optional: at least one slot must have text in every row")
        if unknown := set(self.answer.options) - set(slots(self.prompt)):
            raise ValueError(f"answer.options: {', '.join(sorted(unknown))} is not a slot of the prompt")
        known = METRICS[self.answer.format]
        if self.metric and self.metric not in known:
            raise ValueError(f"metric: {self.metric} can't measure format {self.answer.format}: {', '.join(known)}")
        if self.metric in ("facts", "chrf_facts") and not self.answer.facts:
            raise ValueError(f"metric: {self.metric} requires `answer.facts`")
        return self

    @property
    def measure(self) -> str:
        """The metric's name; by default that of the answer's format."""
        return self.metric or METRICS[self.answer.format][0]


class RungSettings(Section):
    """One rung of the ladder: a base model and the method that adapts it."""

    name: Name
    """The rung's name; unique on the ladder."""
    base: Text | None = None
    """The base model: a local folder (`models/x`), a GGUF file (`models/x.gguf`), an embedded base (`smollm2-135m`; see
    `rungwise bases`), a pocket base (`pocket-s`), or a name on the Hugging Face Hub with its commit
    (`owner/name@<40 hex digits>`; `rungwise pin` adds the commit)."""
    remote_code: Sha256 | None = None
    """SHA-256 of the base's own Python files. It allows exactly these files to run on this machine; they are the model
    author's code. The error for a base that requires its own code shows the value. By default such a base is
    refused."""
    method: Literal[
        "classical", "embed", "prompt", "full", "lora", "rslora", "dora", "pissa", "vera", "prompt-tuning",
        "prefix-tuning", "ia3", "llama-adapter", "layer-norm", "value-bias", "last-layers", "sparse"
    ]  # fmt: skip
    """`classical`: no language model, linear models of words and letters (see `model.classical`). `embed`: linear
    models on the vectors of a frozen encoder (see `model.embed`). `prompt`: no training, examples in the prompt. The
    others train: `core.methods.METHODS` lists what they train, their settings and the defaults."""
    template: Literal["plain", "chat"] | None = None
    """`plain`: the prompt unchanged. `chat`: the prompt as a user message in the tokenizer's chat template, and each
    example as two messages; the answer ends with the token by which the template ends the assistant's turn. Default:
    `plain`; method `prompt` chooses on training rows."""
    examples: Count | None = None
    """Method `prompt`: the most training rows with answers that are shown before the prompt. Fewer are shown
    where that does better on other training rows, or where they would take more than 1,200 tokens. Default: 36, with
    `shown: similar` 8."""
    shown: Literal["fixed", "similar"] | None = None
    """Method `prompt`: which examples. `fixed`: the same for all rows, with all labels alike; fast, as the model reads
    them once. `similar`: for each row those with the most similar words (TF-IDF). Default: `fixed`."""
    rank: Positive | None = None
    """Methods with low-rank matrices: their rank. Default: 16. `vera`: the rank of the random matrices, by default 256.
    `sparse`: as many entries are trained as matrices of this rank have."""
    alpha: Annotated[float, Field(gt=0)] | None = None
    """`lora` and its variants: the update is scaled by alpha / rank (`rslora`: by alpha / sqrt(rank)). Default: 32."""
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """`lora` and its variants: dropout in front of the update matrices. Default: 0."""
    targets: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    """Names of the modules that are adapted, such as `[q_proj, v_proj]`; each must match a module. Default:
    `[all-linear]`, every linear layer except the output layer."""
    tokens: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Methods `prompt-tuning`, `prefix-tuning`, `llama-adapter`: the number of virtual tokens. Default: 20, for
    `llama-adapter` 10."""
    layers: Positive | None = None
    """Methods `last-layers`, `llama-adapter`: the number of decoder layers, counted from the last. Default: 1, for
    `llama-adapter` 2."""
    steps: Positive | None = None
    """Optimizer steps of this rung. By default `train.steps`."""
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Learning rate of this rung. By default `train.learning_rate`."""
    curve: bool | None = None
    """Whether the rung is also trained on parts of the rows, to say what twice as many rows would bring. By
    default only method `classical`, which takes seconds. Others are trained on a quarter and on half of the rows, which
    takes three quarters of their time again; `rungwise plan` does not count it."""

    @model_validator(mode="after")
    def _pinned(self) -> "RungSettings":
        if METHODS[self.method].has_base == (self.base is None):
            raise ValueError("base: method classical has no base, every other method requires one")
        if self.remote_code and self.base is None:
            raise ValueError("remote_code: this rung has no base")
        if METHODS[self.method].engine == "encoder" and self.remote_code:
            raise ValueError(f"remote_code: method {self.method} runs no code of a base")
        if METHODS[self.method].engine == "encoder" and self.template not in (None, "plain"):
            raise ValueError(f"template: method {self.method} reads the fields of a row, not a prompt")
        base_of(self)
        has = METHODS[self.method].settings
        for name in ("examples", "shown", "rank", "alpha", "dropout", "targets", "tokens", "layers"):
            if getattr(self, name) is not None and name not in has:
                raise ValueError(
                    f"{name}: method {self.method} does not have this setting; it has {', '.join(has) or 'none'}"
                )
        if self.curve and self.method == "prompt":
            raise ValueError("curve: method prompt learns from no rows but the examples in its prompt")
        for name in ("steps", "learning_rate"):
            if getattr(self, name) is not None and not METHODS[self.method].trains:
                raise ValueError(f"{name}: method {self.method} does not train a language model")
        return self

    def setting(self, name: str) -> Any:
        """Returns a method's setting: the rung's value, otherwise the default; None if the method does not have it."""
        own = getattr(self, name)
        return METHODS[self.method].settings.get(name) if own is None else own

    @property
    def examples_shown(self) -> int:
        """Method `prompt`: the most solved examples in a prompt; 0 with other methods."""
        if self.examples is None and self.setting("shown") == "similar":
            return SIMILAR_EXAMPLES
        return int(self.setting("examples") or 0)


class TrainSettings(Section):
    """How rungs are trained. A rung can override `steps` and `learning_rate`."""

    steps: Positive = 300
    """Optimizer steps."""
    batch_size: Positive = 32
    """Rows per optimizer step."""
    max_tokens_per_microbatch: Positive = 4_096
    """Upper bound of the tokens, padding included, in one forward and backward pass. A step with more tokens is divided
    into several passes, with the same loss. A smaller value uses less memory; a larger one can be faster on a large
    GPU. The tokens of a shared prefix count once, and an eighth in each row. If a pass runs out of memory, the value is
    halved automatically."""
    checkpointing: bool = False
    """Whether activations are recomputed in the backward pass: less memory, about a third more time."""
    compiled: bool = False
    """Whether the model is compiled with torch.compile, which takes minutes. In our measurements on a CPU it was not
    faster overall (see docs/results.md); on a GPU it was not measured."""
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate of AdamW. By default it follows from the method and the base's width (see
    `training.learning_rate`)."""
    warmup_share: Share = 0.05
    """Share of the steps in which the learning rate rises from 0 to its peak."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """The learning rate after the warm-up: `cosine` falls to 0, `constant` stays."""
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    """The gradient's norm is clipped to this value."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """AdamW's weight decay of the trainable parameters."""
    eval_every: Count = 0
    """Steps between evaluations with the task's metric, on a tenth of the training rows, which are held back. The
    weights with the best score are kept. 0: no evaluation; the weights of the last step are kept."""
    eval_rows: Positive = 500
    """Upper bound of the rows that are held back for evaluations during training."""
    patience: Count = 0
    """Training stops after this many evaluations without a better score. 0: it continues to the last step."""
    precision: Literal["fp32", "bf16", "4bit"] = "fp32"
    """Data type of the base's weights; trainable parameters stay fp32. `4bit`: quantized by bitsandbytes, computed in
    bf16, CUDA only."""
    audit: dict[Fault, Share] = Field(default_factory=dict)
    """Fault in the training rows' tokens -> the share of rows above which the run fails, instead of the default in
    `core.faults.LIMITS`. Example: `{over_context: 0.5}`."""
    checkpoint_steps: Positive = 50
    """Steps between two checkpoints. An interrupted training run is resumed from the last one."""
    launch: tuple[Text, ...] = ()
    """The command that starts several training processes; it is put before `python -m`. Examples: `[torchrun,
    --standalone, --nproc_per_node, "2"]`, `[accelerate, launch, --config_file, infra/accelerate/ddp.yaml]`. By default
    one process."""

    @model_validator(mode="after")
    def _patience_needs_evaluations(self) -> "TrainSettings":
        if self.patience and not self.eval_every:
            raise ValueError("patience counts evaluations: set eval_every too")
        return self


def base_of(rung: RungSettings) -> Base | None:
    """Returns the rung's base with the code that it may run; None for a rung without a base.

    Raises:
        ValueError: the base is a hub name with a revision that is not a commit.
    """
    return None if rung.base is None else replace(base_named(rung.base), code=rung.remote_code or "")


def base_named(text: str) -> Base:
    """Returns the base that `FOLDER` or `owner/name@COMMIT` names; raises ValueError like `base_of`."""
    name, at, revision = text.partition("@")
    if at and not _REVISION.fullmatch(revision):
        raise ValueError("base: after `@`, write the commit, 40 hexadecimal digits (a branch name can move)")
    if at and not HUB_NAME.fullmatch(name):
        raise ValueError("base: a name on the Hugging Face Hub is owner/name")
    return Base(name=name, revision=revision)
