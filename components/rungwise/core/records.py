"""The frozen values that cross a stage, and how they become JSON and digests.

A digest is the SHA-256 of a value's canonical JSON (sorted keys, no spaces, no NaN), so that equal values have equal
digests in any process. pydantic checks values that come back from JSON (https://docs.pydantic.dev).
"""

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from rungwise.core.methods import METHODS

if TYPE_CHECKING:  # pydantic is imported with the first value that is read, as `rungwise --help` needs none
    from pydantic import TypeAdapter

Record = TypeVar("Record")
Json = Any
_LORA: Final[Mapping[str, Any]] = METHODS["lora"].settings
"""The defaults of a spec: those of the most common method."""
_LEFT_OUT: Final = (
    ("code", ""),
    ("keys", ()),
    ("constrained", False),
    ("prompting", None),
    ("references", ()),
    ("curves", ()),
)
"""Fields with the defaults at which `to_json` leaves them out."""
SIDES = ("train", "dev", "test")
"""The sides of a split: training, validation and test rows."""


@dataclass(frozen=True)
class Example:
    """One row of a task: the fields of its prompt, its answer, and its origin."""

    id: str
    """Stable name of the row: it depends on the source and content of the row, not on its place in the file."""
    fields: Mapping[str, str]
    """Name of a prompt's slot -> text."""
    answer: str
    """The answer that a model should write: a label, items with separators, a text, or a JSON object."""
    source: str
    """Name of the source in params.yaml; a synthetic row has the source of its first parent."""
    line: int
    """Line of the file where the row starts, counted from 1."""
    group: str
    """The row's lineage group: all rows of a group are on the same side of a split."""
    role: str | None = None
    """`train`, `dev` or `test` if the user gave the split; None if the hash of the group decides."""
    parents: tuple[str, ...] = ()
    """Ids of the rows that a synthetic row was generated from; empty for a collected row."""
    facts: tuple[str, ...] = ()
    """Texts that a written answer must contain; empty if the task names none."""
    references: tuple[str, ...] = ()
    """Further right answers, as good as `answer`: a score is that of the best match."""

    @property
    def is_synthetic(self) -> bool:
        """Whether the row was generated."""
        return bool(self.parents)


@dataclass(frozen=True)
class Rejection:
    """A row that a stage dropped, and why, without the row's text."""

    stage: str
    source: str
    line: int
    reason: str
    """A short code: `not_utf8`, `no_answer`, `rare_label` ..."""
    detail: str = ""
    """What was found and what was expected, without the row's text."""
    id: str = ""


@dataclass(frozen=True)
class Base:
    """A base model as named in params.yaml: a local folder, or a hub name at a pinned revision."""

    name: str
    """Path of a folder as in params.yaml, or `owner/name` on the hub."""
    revision: str = ""
    """The 40 hexadecimal digits of the hub's commit; empty for a folder."""
    code: str = ""
    """SHA-256 of the Python files in the model's folder that may be run; empty: none may be run."""

    def __str__(self) -> str:
        return f"{self.name}@{self.revision}" if self.revision else self.name


@dataclass(frozen=True)
class AnswerForm:
    """The format of a task's answers: what a model may write, and how an answer is parsed."""

    format: str
    """`label` (one of a closed set), `list` (items with separators), `text`, or `json` (an object of `fields`)."""
    labels: tuple[str, ...] = ()
    """All labels (format `label`)."""
    separator: str = ";"
    """Separates the items of a list."""
    fields: Mapping[str, "AnswerForm"] = field(default_factory=dict)
    """Key -> form of its value (format `json`)."""
    keys: tuple[str, ...] = ()
    """The keys in the order in which a model writes them (format `json`, for a constrained attempt): JSON files have
    sorted keys, so that the order of `fields` is lost in them."""


@dataclass(frozen=True)
class Prompting:
    """What a base that is not trained reads in addition to the prompt (method `prompt`)."""

    instruction: str = ""
    """The text before the examples; empty: made from the form of the answers (see `instructions.instruction`)."""
    words: Mapping[str, str] = field(default_factory=dict)
    """Label -> the words that the model reads and writes in its place; the others as in `instructions.label_words`."""
    shown: str = "fixed"
    """`fixed`: the same solved examples for all rows. `similar`: for each row those that are most like it."""


@dataclass(frozen=True)
class AttemptSpec:
    """The settings that decide the result of one attempt, in addition to the base's weights and the rows.

    A machine with the training libraries alone can read and run it.
    """

    base: Base | None
    """None without a language model (method `classical`)."""
    method: str
    """A name in `methods.METHODS`."""
    prompt: str
    """The task's prompt with its `{slots}`."""
    form: AnswerForm
    template: str = "plain"
    """`plain`, or `chat`: the tokenizer's own chat template. `auto` (method `prompt`): chosen on training rows."""
    seed: int = 0
    precision: str = "fp32"
    examples: int = 0
    """Most solved examples in the prompt (method `prompt`)."""
    rank: int = _LORA["rank"]
    alpha: float = _LORA["alpha"]
    dropout: float = _LORA["dropout"]
    targets: tuple[str, ...] = _LORA["targets"]
    """Names of the adapted modules; `all-linear` means every linear layer except the output layer."""
    tokens: int = 0
    """Number of virtual tokens."""
    layers: int = 0
    """Number of adapted decoder layers, counted from the last."""
    max_over_context: float = 0.1
    """The base is not trained if a larger share of the rows exceeds its context."""
    steps: int = 300
    batch_size: int = 32
    """Rows per optimizer step."""
    max_tokens_per_microbatch: int = 0
    """Most tokens of one forward pass, padding included; 0: the whole step in one pass."""
    checkpointing: bool = False
    """Whether the backward pass recomputes activations, which saves memory."""
    compiled: bool = False
    """Whether torch.compile compiles the model."""
    learning_rate: float | None = None
    """Peak learning rate; None: by the rule of `training.learning_rate`."""
    warmup_share: float = 0.05
    schedule: str = "cosine"
    clip_norm: float = 1.0
    weight_decay: float = 0.0
    eval_every: int = 0
    """Steps between two evaluations on rows held back; 0: no evaluation, and the last step's weights are used."""
    eval_rows: int = 0
    """Most rows that are held back for an evaluation."""
    metric: str = ""
    """The metric of an evaluation, and of the choice of a prompt's form."""
    patience: int = 0
    """Evaluations without a better score after which training stops early; 0: never."""
    constrained: bool = False
    """Whether a written answer follows the form while it is written (see `core.grammar`)."""
    prompting: Prompting | None = None
    """Method `prompt` only."""


@dataclass(frozen=True)
class Prediction:
    """A model's answer to one row, or why there is none."""

    id: str
    group: str
    expected: str
    answer: str | None
    """None if the row could not be scored."""
    probability: float = 0.0
    """0 to 1. Of a label: its share of all labels' likelihoods. Of a written answer: geometric mean over its tokens."""
    unscored: str = ""
    """Why there is no answer: `over_context` ..."""
    facts: tuple[str, ...] = ()
    """Texts that the answer must contain (see Example)."""
    is_cut: bool = False
    """Whether a written answer reached the token limit before its end."""
    references: tuple[str, ...] = ()
    """Further right answers (see Example)."""


@dataclass(frozen=True)
class Interval:
    """An estimate of a mean score, or of the difference of two, with its confidence interval."""

    value: float
    low: float
    high: float
    n: int
    """Rows behind the estimate."""
    confidence: float


@dataclass(frozen=True)
class Evidence:
    """The results of one attempt on the validation rows."""

    rung: str
    method: str
    base: str
    base_digest: str
    attempt: str
    """Digest of the attempt (base weights, training rows, settings, versions)."""
    score: Interval | None
    """None if no row could be scored."""
    n: int
    """Number of validation rows."""
    unscored: Mapping[str, int]
    """Reason -> number of rows that could not be scored; they count neither as right nor as wrong."""
    train_rows: int
    train_rejected: Mapping[str, int]
    """Reason -> number of training rows that this base could not use."""
    base_parameters: int
    trained_parameters: int
    train_tokens: int
    """Tokens that passed through the model in training: the cost that gates compare."""
    note: str = ""
    """Why there is no score, in words; empty if there is one."""
    also: Mapping[str, Interval] = field(default_factory=dict)
    """Other metrics of the same answers, by name, for information; no gate uses them."""
    cut: int = 0
    """Number of written answers that reached the token limit before their end; they are scored as they are."""


def canonical_json(value: Json) -> str:
    """Returns the canonical JSON of a value: sorted keys, no spaces, text as UTF-8; NaN is a ValueError."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def digest(value: Json) -> str:
    """Returns the SHA-256 of a value's canonical JSON, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def to_json(value: Any) -> Json:
    """Returns a record as JSON values (dictionaries, lists, strings, numbers).

    Newer fields are left out at their defaults: the digests of attempts from before they existed do not change.
    """
    return asdict(value, dict_factory=lambda pairs: {k: v for k, v in pairs if (k, v) not in _LEFT_OUT})


def to_lines(values: Iterable[Any]) -> str:
    """Returns records as JSON lines in the order given; every line ends with a newline."""
    return "".join(canonical_json(to_json(v)) + "\n" for v in values)


def from_json(kind: type[Record], value: Json) -> Record:
    """Returns the record of type `kind` that `to_json` made `value` from.

    Raises:
        ValueError: a field is missing or has a wrong type (pydantic's ValidationError).
    """
    as_key: Any = kind  # mypy does not take a type for hashable
    record: Record = _validator(as_key).validate_python(value)
    return record


@functools.cache
def _validator(kind: Any) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def spec_from_json(value: Json) -> AttemptSpec:
    """Returns the AttemptSpec that `to_json` made `value` from."""
    return from_json(AttemptSpec, value)


def example_from_json(value: Json) -> Example:
    """Returns the Example that `to_json` made `value` from."""
    return from_json(Example, value)


def prediction_from_json(value: Json) -> Prediction:
    """Returns the Prediction that `to_json` made `value` from."""
    return from_json(Prediction, value)


def prediction_of(
    row: Example, answer: str | None, probability: float = 0.0, *, unscored: str = "", is_cut: bool = False
) -> Prediction:
    """Returns a model's answer to a row, with what the row says about right answers."""
    return Prediction(
        row.id, row.group, row.answer, answer, probability, unscored, row.facts, is_cut, references=row.references
    )


def derive_seed(seed: int, *names: str) -> int:
    """Returns a seed below 2**31 that depends only on the root seed and the names."""
    text = "/".join((str(seed), *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def counted(reasons: Iterable[str]) -> dict[str, int]:
    """Returns how often each reason occurs, sorted by name."""
    return dict(sorted(Counter(reasons).items()))
