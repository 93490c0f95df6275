"""Every value that crosses a stage, frozen; and the one way they become JSON and digests.

Reads and returns plain values only. Digests are SHA-256 over canonical JSON (sorted keys, no spaces, no NaN),
so that equal values have equal digests in any process.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

Json = Any
SIDES = ("train", "dev", "test")
"""The sides of a split: rows that teach, that steer, that judge."""


@dataclass(frozen=True)
class Example:
    """One row of a task: what the prompt shows, what the answer is, and where it came from."""

    id: str
    """Stable name of the row: a function of its source and content, not of its place in the file."""
    fields: Mapping[str, str]
    """Slot name -> text, as the prompt's slots name them."""
    answer: str
    """The answer as a model is to write it: a label, items with separators, a text, or a JSON object."""
    source: str
    """The name of the source in params.yaml; of a synthetic row, that of its first parent."""
    line: int
    """Line of the file at which the row starts, counted from 1."""
    group: str
    """The row's lineage group: rows of one group never stand on two sides of a split."""
    role: str | None = None
    """`train`, `dev` or `test` where the user gave the split; None where the group's hash decides."""
    parents: tuple[str, ...] = ()
    """Ids of the rows that a synthetic row was made from; empty for a collected row."""
    facts: tuple[str, ...] = ()
    """What a written answer has to say: each is looked for in it; empty where the task names none."""

    @property
    def is_synthetic(self) -> bool:
        """Whether the row was generated."""
        return bool(self.parents)


@dataclass(frozen=True)
class Rejection:
    """A row that did not go on, and why; it holds no text of the row."""

    stage: str
    source: str
    line: int
    reason: str
    """A short code that is counted: `not_utf8`, `no_answer`, `rare_label` ..."""
    detail: str = ""
    """What was found and wanted, without the row's text."""
    id: str = ""


@dataclass(frozen=True)
class Base:
    """A base model as the user names it: a local folder, or a hub name at a pinned revision."""

    name: str
    """A folder's path as written in params.yaml, or `owner/name` on the hub."""
    revision: str = ""
    """The 40 hexadecimal digits of the hub's commit; empty for a folder."""
    code: str = ""
    """SHA-256 of the Python files beside the weights that may be run; empty: none may."""

    def __str__(self) -> str:
        return f"{self.name}@{self.revision}" if self.revision else self.name


@dataclass(frozen=True)
class AnswerForm:
    """How a task's answer looks: what a model may write and how it is taken apart again."""

    format: str
    """`label` (one of a closed set), `list` (items with separators), `text`, or `json` (an object of `fields`)."""
    labels: tuple[str, ...] = ()
    """The closed set of a label."""
    separator: str = ";"
    """Stands between the items of a list."""
    fields: Mapping[str, "AnswerForm"] = field(default_factory=dict)
    """Key -> form of its value, in the order in which a model writes them (format `json`)."""


@dataclass(frozen=True)
class AttemptSpec:
    """All that decides the numbers of one attempt, beside the base's weights and the rows.

    It is plain data, so that a machine with nothing but torch, transformers and peft can read and run it.
    """

    base: Base | None
    """None where there is no language model (method `tfidf`)."""
    method: str
    """A name in `methods.METHODS`."""
    prompt: str
    """The task's prompt with its `{slots}`."""
    form: AnswerForm
    template: str = "plain"
    """`plain`, or `chat`: the tokenizer's own chat template."""
    seed: int = 0
    precision: str = "fp32"
    examples: int = 0
    """Examples shown in the prompt (method `prompt`)."""
    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ("all-linear",)
    """Names of the modules that are adapted; `all-linear` means every linear layer but the output layer."""
    tokens: int = 0
    """Virtual tokens."""
    layers: int = 0
    """How many of the last decoder layers are adapted."""
    max_over_context: float = 0.1
    """With a larger share of rows that the base can't read in full it is not trained."""
    steps: int = 300
    batch_size: int = 32
    """Rows per optimizer step."""
    max_tokens_per_microbatch: int = 0
    """Tokens, padding among them, that go through the model at once; 0: a whole step's."""
    checkpointing: bool = False
    """Whether activations are computed again in the backward pass."""
    compiled: bool = False
    """Whether the model runs compiled by torch.compile."""
    learning_rate: float | None = None
    """Peak learning rate; None: by the rule of `train.learning_rate`."""
    warmup_share: float = 0.05
    schedule: str = "cosine"
    clip_norm: float = 1.0
    weight_decay: float = 0.0
    eval_every: int = 0
    """Steps between looks at the development rows; 0: none, and the last step's weights are kept."""
    eval_rows: int = 0
    metric: str = ""
    """What a look measures."""
    patience: int = 0
    """The training ends after so many looks without a better score; 0: it goes on to its last step."""


@dataclass(frozen=True)
class Prediction:
    """A model's answer to one row, or why there is none."""

    id: str
    group: str
    expected: str
    answer: str | None
    """None where the row could not be scored."""
    probability: float = 0.0
    """0 to 1. Of a label: its share among all labels' likelihoods. Of a written answer: its tokens' geometric mean."""
    unscored: str = ""
    """Why there is no answer: `over_context` ..."""
    facts: tuple[str, ...] = ()
    """What the answer has to say (see Example)."""
    is_cut: bool = False
    """Whether a written answer was cut off before its end."""


@dataclass(frozen=True)
class Interval:
    """An estimate of a mean score or of a difference of two, with what the rows can show of it."""

    value: float
    low: float
    high: float
    n: int
    """Rows behind the estimate."""
    confidence: float


@dataclass(frozen=True)
class Evidence:
    """What one attempt showed on the development rows."""

    rung: str
    method: str
    base: str
    base_digest: str
    attempt: str
    """Digest of the attempt (base weights, training rows, settings, versions)."""
    score: Interval | None
    """None where too little could be scored to say anything."""
    n: int
    """Development rows."""
    unscored: Mapping[str, int]
    """Reason -> rows that could not be scored; they are neither right nor wrong."""
    train_rows: int
    train_rejected: Mapping[str, int]
    """Reason -> training rows that this base could not take."""
    base_parameters: int
    trained_parameters: int
    train_tokens: int
    """Tokens that passed through the model in training: the counted cost."""
    note: str = ""
    """Why there is no score, in words; empty where there is one."""
    also: Mapping[str, Interval] = field(default_factory=dict)
    """Other metrics of the same answers, by name: they inform, the gate does not ask them."""
    cut: int = 0
    """Written answers that were cut off before their end; they are scored as they stand."""


def canonical_json(value: Json) -> str:
    """Returns the one JSON text of a value: sorted keys, no spaces, UTF-8 text kept, NaN refused."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def digest(value: Json) -> str:
    """Returns the SHA-256 of a value's canonical JSON, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def to_json(value: Any) -> Json:
    """Returns a record as JSON values (dictionaries, lists, strings, numbers).

    A base without code of its own says nothing of code, so that attempts from before there was such keep their names.
    """
    return asdict(value, dict_factory=lambda pairs: {k: v for k, v in pairs if (k, v) != ("code", "")})


def to_lines(values: Iterable[Any]) -> str:
    """Returns records as JSON lines, in the order given, each line ended by a newline."""
    return "".join(canonical_json(to_json(v)) + "\n" for v in values)


def form_from_json(row: Mapping[str, Json]) -> AnswerForm:
    """Returns the AnswerForm that `to_json` made `row` from."""
    fields = {name: form_from_json(inner) for name, inner in row["fields"].items()}
    return AnswerForm(row["format"], tuple(row["labels"]), row["separator"], fields)


def spec_from_json(row: Mapping[str, Json]) -> AttemptSpec:
    """Returns the AttemptSpec that `to_json` made `row` from."""
    return AttemptSpec(
        **{
            **row,
            "base": Base(**row["base"]) if row["base"] else None,
            "form": form_from_json(row["form"]),
            "targets": tuple(row["targets"]),
        }
    )


def example_from_json(row: Mapping[str, Json]) -> Example:
    """Returns the Example that `to_json` made `row` from."""
    return Example(**{**row, "parents": tuple(row["parents"]), "facts": tuple(row["facts"])})


def prediction_from_json(row: Mapping[str, Json]) -> Prediction:
    """Returns the Prediction that `to_json` made `row` from."""
    return Prediction(**{**row, "facts": tuple(row["facts"])})


def evidence_from_json(row: Mapping[str, Json]) -> Evidence:
    """Returns the Evidence that `to_json` made `row` from."""
    score = Interval(**row["score"]) if row["score"] else None
    return Evidence(**{**row, "score": score, "also": {name: Interval(**i) for name, i in row["also"].items()}})


def derive_seed(seed: int, *names: str) -> int:
    """Returns a seed below 2**31 that depends on the root seed and the names alone."""
    text = "/".join((str(seed), *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def counted(reasons: Iterable[str]) -> dict[str, int]:
    """Returns how often each reason occurs, sorted by name."""
    return dict(sorted(Counter(reasons).items()))
