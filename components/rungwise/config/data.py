"""The sections of params.yaml about rows: where they come from, what they must be like, which side they stand on."""

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from rungwise.config.section import Count, Name, Positive, RawPath, Section, Share, Template, Text, no_twins

_SECRETS = frozenset("pass passwd password passphrase pwd token secret key apikey sig signature credential".split())
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def _is_secret(parameter: str) -> bool:
    """Whether a parameter's name says that its value is one: `api_key`, `X-Amz-Signature`; `keyword` does not."""
    words = [word.lower().removesuffix("s") if len(word) > 4 else word.lower() for word in _WORDS.findall(parameter)]
    return any(word in _SECRETS or f"{word}s" in _SECRETS for word in words)


def _holds_secret(address: str) -> bool:
    """Whether an address holds a password, or a user without one: in an address of the web that is a token."""
    try:
        parts = urlsplit(address)
    except ValueError:  # a host with brackets that are none of an address
        return "@" in address
    names = [pair.partition("=")[0] for pair in re.split("[&;]", parts.query) if "=" in pair]
    is_token = parts.scheme in ("http", "https") and "@" in parts.netloc
    return bool(parts.password) or is_token or any(_is_secret(name) for name in names)


class CollectSettings(Section):
    """Rows that are kept elsewhere, copied into data/raw by `rungwise collect`."""

    name: Name
    """The source's name; unique."""
    from_: Annotated[Text | None, Field(alias="from")] = None
    """A file, a folder or a pattern: a path, or an address that fsspec opens (`https://`, `s3://`, `gs://`, `sftp://`,
    `hf://datasets/owner/name@COMMIT/data`). With `query`: an SQLAlchemy address without a password; SQLite's file
    starts at the workspace."""
    url_env: Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """An environment variable that holds the address instead: the place for one with a password."""
    query: Text | None = None
    """SQL; each of its rows becomes a JSON line. With `order by`, so that equal tables give equal files."""
    target: Annotated[RawPath, Field(alias="to")]
    """Where in data/raw: a file, or a folder where the address names a folder or a pattern."""
    licence: Text | None = None
    """Under what terms the rows may be used, such as `CC-BY-4.0`."""

    @model_validator(mode="after")
    def _one_address(self) -> "CollectSettings":
        if (self.from_ is None) == (self.url_env is None):
            raise ValueError("either `from` or `url_env` says where the rows are")
        if self.target.split("/")[0].startswith((".", "SOURCES.json")):
            raise ValueError("to: a name that begins with a dot, or SOURCES.json, is not for rows")
        if _holds_secret(self.from_ or ""):
            raise ValueError(
                "from: holds a password, which would be copied into dvc.lock; write `url_env: NAME` instead"
            )
        return self


class SourceSettings(Section):
    """One source of rows under data/raw."""

    name: Name
    """The source's name, kept with every row; unique."""
    path: RawPath
    """A file under data/raw, a pattern (`train_*.json`), or a folder: every file in it that has a known ending."""
    licence: Text | None = None
    """Under what terms the rows may be used, such as `CC-BY-4.0`; kept with what is trained on them."""
    format: Literal["csv", "jsonl", "json", "labelled", "parquet", "arrow"] | None = None
    """None: by the file's ending (.csv .tsv .jsonl .ndjson .json .label .parquet .arrow). `labelled`: lines of a
    label, a space and a text, which are the columns `label` and `text`. `arrow`: what Hugging Face `datasets` saves;
    numbers of its class labels become their names."""
    header: bool = True
    """CSV: whether the first line names the columns; without one they are called `[0]`, `[1]`, as `columns` may say."""
    quotes: bool = True
    """CSV: whether a cell may stand in quotes; without, a quote is a character like others and a row is a line."""
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
    parents: Text | None = None
    """For a source of synthetic rows: the column with the ids of the rows that each was made from, `;` between them.
    Such rows only teach, and only where all their parents do; the columns that `split` names need not be there."""

    @model_validator(mode="after")
    def _known_encoding(self) -> "SourceSettings":
        try:
            "".encode(self.encoding)
        except LookupError:
            raise ValueError(f"encoding: no text encoding is called {self.encoding!r}") from None
        return self


class DuplicateSettings(Section):
    """What happens to rows that say the same twice; given dev and test rows always stay.

    All that is found is listed in data/ingest/TASK.
    """

    exact: Literal["keep", "drop"] = "drop"
    """Rows with the text and the answer of another, but for case, width of letters and white space."""
    near: Literal["ignore", "keep", "drop"] = "keep"
    """Rows with the answer of another and nearly its text; `ignore`: they are not looked for."""
    contradictions: Literal["keep", "drop", "stop"] = "keep"
    """Rows with the text of another and another answer, where a text has one right answer (labels, lists)."""
    similarity: Annotated[float, Field(ge=0.5, le=1)] = 0.8
    """Jaccard similarity of the texts' 5-grams of characters from which they are nearly the same."""


class IngestSettings(Section):
    """How rows are read."""

    sources: Annotated[tuple[SourceSettings, ...], Field(min_length=1)]
    """Where the rows come from."""
    max_rejected_share: Share = 0.1
    """More rejected rows than this share of all stop the run; dropped duplicates don't count."""
    duplicates: DuplicateSettings = DuplicateSettings()
    """What happens to rows that say the same twice."""
    redact: tuple[Literal["email", "phone", "card"], ...] = ()
    """What becomes a placeholder (`[EMAIL]`, `[PHONE]`, `[CARD]`) in texts and in answers that are no labels."""
    region: Annotated[str, Field(pattern="^[A-Z]{2}$")] | None = None
    """The country (`GB`) whose phone numbers are written without a country code; None: only those with one count."""

    @model_validator(mode="after")
    def _unique(self) -> "IngestSettings":
        no_twins("ingest.sources", [s.name for s in self.sources])
        return self


class ExpectationSettings(Section):
    """An expectation of one's own, by its Great Expectations name (https://greatexpectations.io/expectations)."""

    expect: Annotated[str, Field(pattern="^expect_[a-z_]+$")]
    """Such as `expect_column_values_to_match_regex`."""
    column: Text | None = None
    """A slot of the prompt, `answer`, `id`, or `words_SLOT` (how many words a slot has); None: about the table."""
    arguments: dict[Text, Any] = Field(default_factory=dict)
    """The expectation's own arguments, such as `{regex: "^[A-Z]", mostly: 0.9}`."""
    severity: Literal["stop", "warn", "reject"] = "stop"
    """What a failure does: `stop` the run, `warn`, or `reject` the rows that fail it."""


class DriftSettings(Section):
    """How far rows may stand from the version accepted before, beyond what chance moves (total variation distance)."""

    labels: Share = 0.1
    """The labels' shares."""
    lengths: Share = 0.15
    """The texts' lengths, in powers of two."""
    words: Share = 0.2
    """The shares of the 1,000 most frequent words."""
    sources: Share = 0.3
    """The sources' shares."""
    unseen_labels: Share = 0.0
    """Rows whose label was not there before."""
    severity: Literal["stop", "warn"] = "warn"
    """What more drift than that does."""


class ValidateSettings(Section):
    """What rows must be like before anything is trained."""

    min_rows: Positive = 50
    """Fewer rows than this stop the run."""
    max_characters: Positive = 20_000
    """A longer field or answer is rejected."""
    max_words: Positive = 5_000
    """A field with more words is rejected."""
    expectations: tuple[ExpectationSettings, ...] = ()
    """Expectations of one's own, beside those that follow from the task."""
    drift: DriftSettings = DriftSettings()
    """How far rows may stand from the version accepted before."""
    suspects_up_to: Count = 50_000
    """Up to so many rows, labels that a cheap model contradicts are listed (never dropped); 0: none are looked for."""
    save_values: bool = False
    """Whether the saved results hold what failed, text of rows included, and not the rows' ids alone."""
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
    by_time: Text | None = None
    """A column with a date or time (ISO 8601): the latest rows judge, those before them steer."""
    group: Text | None = None
    """A column whose equal values belong together (a customer, a problem); None: equal texts do."""
    dev: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of the groups that steer; taken from the rows without a given side."""
    test: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of the groups that judge; unused where the user gave test rows."""

    copies: Literal["near", "exact"] = "near"
    """Which training rows lose their place beside a row of dev or test: copies with slips, other words for some, or
    one inside the other (`near`), or only those with equal words (`exact`)."""
    max_leaked_share: Share = 0.3
    """More training rows than this share that say what dev or test asks for stop the run."""
    min_test: Positive = 200
    """Fewer test rows than this are warned of: they can show little."""

    @model_validator(mode="after")
    def _leaves_training(self) -> "SplitSettings":
        if self.dev + self.test >= 1:
            raise ValueError("dev + test: leave nothing to train on")
        if self.given and self.by_time:
            raise ValueError("given, by_time: one column can say a row's side, not two")
        return self


class EndpointSettings(Section):
    """A server that speaks OpenAI's chat completions and writes rows for `rungwise generate`."""

    url: Annotated[str, Field(pattern="^https?://[^@?#]+$")]
    """The address before `/chat/completions`, such as `http://127.0.0.1:8000/v1`."""
    model: Text
    """The model's name there."""
    consent: bool = False
    """Whether training rows may be shown to that server; addresses, phone and card numbers are redacted first."""
    key_env: Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """An environment variable with the key."""
    concurrency: Annotated[int, Field(ge=1, le=64)] = 4
    """Requests at a time."""
    timeout_seconds: Annotated[float, Field(gt=0)] = 120.0
    """How long an answer may take."""
    retries: Count = 5
    """How often a request that failed in passing (429, 5xx, no connection) is sent again."""
    backoff_seconds: Annotated[float, Field(ge=0)] = 1.0
    """The pause before the second retry; each one after it is twice as long. A server's `Retry-After` goes first."""
    max_requests: Positive = 1_000
    """Requests of one run; what the journal knows costs nothing."""
    max_tokens: Positive = 1_000_000
    """Tokens of one run, as the server counts them."""
    max_tokens_per_request: Positive = 2_000
    """Tokens of one answer."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    """How freely it writes."""


class GenerateSettings(Section):
    """What of a generator's texts is kept."""

    texts_per_request: Annotated[int, Field(ge=1, le=100)] = 8
    """Texts that are asked for at a time."""
    max_characters: Positive = 2_000
    """A longer text is dropped."""
    similarity: Annotated[float, Field(ge=0.5, le=1)] = 0.8
    """Jaccard similarity of 5-grams from which a text is a near duplicate of another generated one."""
    checker: bool = True
    """Whether a text is dropped that a cheap model of the real rows is sure to belong to another label."""
    max_share: Share = 0.5
    """At most this share of the training rows is generated."""
    temperature: Annotated[float, Field(gt=0, le=2)] = 1.0
    """How freely a local model writes."""


class AugmentSettings(Section):
    """Training rows made from training rows: by wordings around a field, or by a generator (`rungwise generate`)."""

    field: Text | None = None
    """The prompt's slot that is reworded; None: the only slot."""
    templates: tuple[Template, ...] = ()
    """Texts with the slot of that field, such as `Hello, {body}`, and slots of `wordings`; empty: nothing is made."""
    wordings: dict[Name, Annotated[tuple[Text, ...], Field(min_length=1)]] = Field(default_factory=dict)
    """Slot of a template -> what may stand there, such as `greeting: [Hi, Good morning]`; every combination is used."""
    slice: Text | None = None
    """The prompt's slot whose values are filled up, such as `language`, whatever the answers are; None: the labels."""
    per_label: Count = 0
    """Labels (or values of `slice`) with fewer training rows than this are filled up to it."""
    targets: dict[Text, Count] = Field(default_factory=dict)
    """Label (or value of `slice`) -> the training rows that it is filled up to, where that is not `per_label`."""
    max_share: Share = 0.5
    """At most this share of the training rows is synthetic."""
    endpoint: EndpointSettings | None = None
    """The server that `rungwise generate` asks."""
    generate: GenerateSettings = GenerateSettings()
    """What of a generator's texts is kept."""
