"""The sections of params.yaml about rows: where they come from, how they are checked, how they are split."""

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from rungwise.config.endpoint import EndpointSettings
from rungwise.config.section import Count, Name, Positive, RawPath, Section, Share, Template, Text, check_unique

_SECRETS = frozenset("pass passwd password passphrase pwd token secret key apikey sig signature credential".split())
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def _is_secret(parameter: str) -> bool:
    """Whether a parameter's name means that its value is secret: `api_key`, `X-Amz-Signature`, but not `keyword`."""
    words = [word.lower().removesuffix("s") if len(word) > 4 else word.lower() for word in _WORDS.findall(parameter)]
    return any(word in _SECRETS or f"{word}s" in _SECRETS for word in words)


def _holds_secret(address: str) -> bool:
    """Whether an address contains a secret: a password, a secret parameter, or a token as a web address's user."""
    try:
        parts = urlsplit(address)
    except ValueError:  # brackets in the host that are not an IPv6 address
        return "@" in address
    names = [pair.partition("=")[0] for pair in re.split("[&;]", parts.query) if "=" in pair]
    is_token = parts.scheme in ("http", "https") and "@" in parts.netloc
    return bool(parts.password) or is_token or any(_is_secret(name) for name in names)


class CollectSettings(Section):
    """A source outside the workspace that `rungwise collect` copies into data/raw."""

    name: Name
    """The source's name; unique."""
    from_: Annotated[Text | None, Field(alias="from")] = None
    """The address of a file, a folder or a pattern: a path, or a URL that fsspec can open (`https://`, `s3://`,
    `gs://`, `sftp://`, `hf://datasets/owner/name@COMMIT/data`). With `query`, an SQLAlchemy URL without a password; the
    path of an SQLite file is relative to the workspace."""
    url_env: Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """Instead of `from`: the environment variable that holds the address. Use it for an address with a password."""
    query: Text | None = None
    """An SQL query; each row of its result becomes a JSON line. Use `order by`, so that equal tables give equal
    files."""
    target: Annotated[RawPath, Field(alias="to")]
    """The destination in data/raw: a file, or a folder if the address is a folder or a pattern."""
    licence: Text | None = None
    """The licence of the rows, such as `CC-BY-4.0`."""

    @model_validator(mode="after")
    def _one_address(self) -> "CollectSettings":
        if (self.from_ is None) == (self.url_env is None):
            raise ValueError("set either `from` or `url_env`, the address of the rows")
        if self.target.split("/")[0].startswith((".", "SOURCES.json")):
            raise ValueError("to: names that begin with a dot, and SOURCES.json, are reserved")
        if _holds_secret(self.from_ or ""):
            raise ValueError("from: holds a password, which would be copied into dvc.lock. Use `url_env: NAME` instead")
        return self


class SourceSettings(Section):
    """One source of rows under data/raw."""

    name: Name
    """The source's name; unique. It is stored with every row."""
    path: RawPath
    """A file in data/raw, a pattern (`train_*.json`), or a folder. In a folder, every file with a known ending is
    read."""
    licence: Text | None = None
    """The licence of the rows, such as `CC-BY-4.0`. It is stored with the models that are trained on them."""
    format: Literal["csv", "jsonl", "json", "labelled", "parquet", "arrow"] | None = None
    """The file format. By default it follows from the file's ending (.csv .tsv .jsonl .ndjson .json .label .parquet
    .arrow), for text also before .gz or in a .zip with one file. `labelled`: each line is a label, a space and a text;
    the columns are `label` and `text`. `arrow`: a file of Hugging Face `datasets`; class labels are read as their
    names."""
    header: bool = True
    """CSV, and JSON whose rows are lists of cells: whether the first row has the column names. Without them the columns
    are called `[0]`, `[1]` and so on. A list is a row, too, if the task or `columns` name such places."""
    quotes: bool | None = None
    """CSV: whether cells can be quoted. If false, a quote is an ordinary character and every line is a row. By default
    the whole file decides: cells can be quoted unless that would merge or lose lines and the other would not."""
    escape: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """CSV: the character before a quote that belongs to a cell, such as a backslash. By default such a quote is
    doubled, unless the whole file shows a backslash."""
    encoding: Text = "utf-8"
    """The text encoding, such as `cp1252`."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """CSV: the character between cells. By default a comma, or a tab for .tsv."""
    records: str = "[]"
    """JSON: the path of the rows. `[]` is each item of a list, `{name}` each key of an object (stored in the column
    `name`). Example: `data.{intent}.[]`. A row also has the texts and numbers of the objects that the path passes.
    `columns`: the document has a list for each column. `table`: it has a list of column names and a list of rows.
    `data.columns` and `data.table`: the object at `data` has them."""
    columns: dict[Text, Text] = Field(default_factory=dict)
    """Column -> its name in the file, if it has another one there. In JSON, a path such as `data[].text` (several texts
    are joined), `data[*].text` (a list of them), `data[2].text` (the third item), or `[0]`
    for the first item of a row that is a list."""
    chat: Text | None = None
    """The column with a conversation in each row, read as `prompt` and `completion`, if it is not called `messages` or
    `conversations`: a list of turns, or the text that a chat template writes. In a task with another answer, such as a
    label, a slot with the column's own name is the whole conversation, with a line for each turn."""
    role: Literal["train", "dev", "test"] | None = None
    """The side of the split for all rows of this source: `dev` is the validation set. By default, and with `train`,
    `split` decides."""
    parents: Text | None = None
    """For a source of synthetic rows: the column with the ids of the rows that each row was made from, separated by
    `;`. Synthetic rows are only used for training, and only if all their parents are training rows. They don't need the
    columns that `split` names."""

    @model_validator(mode="after")
    def _known_encoding(self) -> "SourceSettings":
        try:
            "".encode(self.encoding)
        except LookupError:
            raise ValueError(f"encoding: {self.encoding!r} is not a text encoding") from None
        return self


class DuplicateSettings(Section):
    """What happens to duplicate rows. Rows that the user marked as dev or test are never dropped.

    All duplicates are listed in data/ingest/TASK.
    """

    exact: Literal["keep", "drop"] = "drop"
    """Rows whose text and answer equal another row's, ignoring case, letter width and white space."""
    near: Literal["ignore", "keep", "drop"] = "keep"
    """Rows with another row's answer and nearly its text (see `similarity`). `ignore`: don't search for them."""
    contradictions: Literal["keep", "drop", "stop"] = "keep"
    """Rows with another row's text but a different answer. Applies to labels and lists, where a text has one right
    answer. `stop`: the run fails."""
    similarity: Annotated[float, Field(ge=0.5, le=1)] = 0.8
    """Two texts are near duplicates from this Jaccard similarity of their character 5-grams on."""


class IngestSettings(Section):
    """How rows are read from data/raw."""

    sources: Annotated[tuple[SourceSettings, ...], Field(min_length=1)]
    """The sources of the rows."""
    max_rejected_share: Share = 0.1
    """The run fails if more than this share of the rows is rejected. Dropped duplicates don't count."""
    duplicates: DuplicateSettings = DuplicateSettings()
    """What happens to duplicate rows."""
    redact: tuple[Literal["email", "phone", "card"], ...] = ()
    """What is replaced by a placeholder (`[EMAIL]`, `[PHONE]`, `[CARD]`), in texts and in answers that are not
    labels."""
    region: Annotated[str, Field(pattern="^[A-Z]{2}$")] | None = None
    """The country whose phone numbers are written without a country code, such as `GB`. By default only numbers with a
    country code are redacted."""

    @model_validator(mode="after")
    def _unique(self) -> "IngestSettings":
        check_unique("ingest.sources", [s.name for s in self.sources])
        return self


class ExpectationSettings(Section):
    """An additional expectation, by its Great Expectations name (https://greatexpectations.io/expectations)."""

    expect: Annotated[str, Field(pattern="^(un)?expect(ed)?_[a-z_]+$")]
    """The expectation's name, such as `expect_column_values_to_match_regex`."""
    column: Text | None = None
    """A slot of the prompt, `answer`, `id`, or `words_SLOT` (the number of words in a slot). Leave it out for an
    expectation about the whole table."""
    arguments: dict[Text, Any] = Field(default_factory=dict)
    """The expectation's own arguments, such as `{regex: "^[A-Z]", mostly: 0.9}`. Columns in them (`column_A`,
    `column_B`, `column_list`, `column_set`) are named as `column` is."""
    severity: Literal["stop", "warn", "reject"] = "stop"
    """What happens if the expectation fails: `stop` (the run fails), `warn`, or `reject` (the failing rows are
    rejected)."""


class DriftSettings(Section):
    """How much the rows may differ from the version accepted before: total variation distances from 0 to 1.

    Differences that chance explains are subtracted first.
    """

    labels: Share = 0.1
    """Limit for the shares of the labels."""
    lengths: Share = 0.15
    """Limit for the lengths of the texts, counted in powers of two."""
    words: Share = 0.2
    """Limit for the shares of the 1,000 most frequent words."""
    sources: Share = 0.3
    """Limit for the shares of the sources."""
    unseen_labels: Share = 0.0
    """Limit for the share of rows with a label that did not occur before."""
    severity: Literal["stop", "warn"] = "warn"
    """What happens above a limit: `warn`, or `stop` (the run fails)."""


class ValidateSettings(Section):
    """What rows must satisfy before anything is trained."""

    min_rows: Positive = 50
    """The run fails with fewer rows than this."""
    max_characters: Positive = 20_000
    """A row with a longer field or answer is rejected."""
    max_words: Positive = 5_000
    """A row with more words in a field is rejected."""
    expectations: tuple[ExpectationSettings, ...] = ()
    """Expectations in addition to those that follow from the task."""
    drift: DriftSettings = DriftSettings()
    """How much the rows may differ from the version accepted before."""
    suspects_up_to: Count = 50_000
    """With up to this many rows, labels that a cheap model contradicts are listed. They are never dropped. 0: no
    search."""
    save_values: bool = False
    """Whether the saved results hold the failing values, which can be text of rows. If false, they hold only row
    ids."""
    min_rows_per_label: Positive = 2
    """A label with fewer rows than this is rare: too few to both learn and test it."""
    rare_labels: Literal["reject", "stop"] = "reject"
    """What happens to rows with rare labels: `reject`, or `stop` (the run fails)."""
    max_rejected_share: Share = 0.1
    """The run fails if more than this share of the rows is rejected."""


class DocsSettings(Section):
    """The pages of `rungwise data docs`."""

    texts: bool = True
    """Whether the pages show the texts of rows: of duplicates, leaks and labels that may be wrong, side by side. They
    are only in the workspace's own `.rungwise/docs`. Great Expectations' page follows `validate.save_values`."""


class SplitSettings(Section):
    """Which rows are for training, validation (`dev`) and test.

    By default a hash of a row's group decides, so that adding or removing other rows never moves a row.
    """

    given: Text | None = None
    """A column with each row's side: `train`, `dev` or `test`."""
    by_time: Text | None = None
    """A column with a date or time (ISO 8601): the latest rows become test rows, those before them validation rows."""
    group: Text | None = None
    """A column whose equal values keep rows on one side, such as a customer or a problem. By default, equal texts
    do."""
    dev: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of the groups that become validation rows. Unused if the user marked validation rows."""
    test: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of the groups that become test rows. Unused if the user marked test rows."""

    leaks: Literal["near", "exact"] = "near"
    """Which training rows are removed as duplicates of validation or test rows: `exact`, only those with equal words;
    `near`, also those with typing errors or some other words, and texts that contain each other."""
    max_leaked_share: Share = 0.3
    """The run fails if more than this share of the training rows is removed because it repeats validation or test
    rows."""

    @model_validator(mode="after")
    def _leaves_training(self) -> "SplitSettings":
        if self.dev + self.test >= 1:
            raise ValueError("dev + test: they leave no rows for training")
        if self.given and self.by_time:
            raise ValueError("given, by_time: set only one of the two")
        return self


class GenerateSettings(Section):
    """How many texts are requested from a model, and which of them become rows."""

    texts_per_request: Annotated[int, Field(ge=1, le=100)] = 8
    """Texts per request."""
    max_characters: Positive = 2_000
    """A longer text is dropped."""
    similarity: Annotated[float, Field(ge=0.5, le=1)] = 0.8
    """A text is dropped as a near duplicate of another generated text from this Jaccard similarity of 5-grams on."""
    checker: bool = True
    """Whether a text is dropped if a cheap model, trained on the real rows, is sure that it has another label."""
    max_share: Share = 0.5
    """Upper bound of the share of generated rows among the training rows."""
    temperature: Annotated[float, Field(gt=0, le=2)] = 1.0
    """The sampling temperature of a local model."""


class AugmentSettings(Section):
    """Synthetic training rows: from templates around a field, or from a model (`rungwise generate`)."""

    field: Text | None = None
    """The slot of the prompt that is reworded. By default the only slot."""
    templates: tuple[Template, ...] = ()
    """Texts around the slot, such as `Hello, {body}`; they can have slots of `wordings` too. Without templates no rows
    are made here."""
    wordings: dict[Name, Annotated[tuple[Text, ...], Field(min_length=1)]] = Field(default_factory=dict)
    """Slot of a template -> its alternatives, such as `greeting: [Hi, Good morning]`. All combinations are used."""
    slice: Text | None = None
    """The slot of the prompt whose values are filled up, such as `language`. By default the labels are filled up."""
    per_label: Count = 0
    """Labels (or values of `slice`) with fewer training rows than this are filled up to this number."""
    targets: dict[Text, Count] = Field(default_factory=dict)
    """Label (or value of `slice`) -> the number of training rows that it is filled up to, instead of `per_label`."""
    max_share: Share = 0.5
    """Upper bound of the share of synthetic rows among the training rows."""
    endpoint: EndpointSettings | None = None
    """The server that `rungwise generate` uses."""
    generate: GenerateSettings = GenerateSettings()
    """How generated texts are requested and filtered."""
