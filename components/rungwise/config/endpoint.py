"""The sections of params.yaml about servers with OpenAI's chat completions API."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from rungwise.config.section import Count, Name, Positive, Section, Share, Template, Text


class ServerSettings(Section):
    """Where a server is, and how it is asked."""

    url: Annotated[str, Field(pattern="^https?://[^@?#]+$")]
    """The address before `/chat/completions`, such as `http://127.0.0.1:8000/v1`."""
    model: Text
    """The model's name on the server."""
    consent: bool = False
    """Whether rows may be sent to the server. E-mail addresses, phone and card numbers are redacted first."""
    key_env: Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """The environment variable that holds the API key."""
    concurrency: Annotated[int, Field(ge=1, le=64)] = 4
    """Number of requests at the same time."""
    timeout_seconds: Annotated[float, Field(gt=0)] = 120.0
    """Time limit of an answer, from sending the request to the last byte."""
    retries: Count = 5
    """How often a request is repeated after a temporary failure (429, 5xx, no connection)."""
    backoff_seconds: Annotated[float, Field(ge=0)] = 1.0
    """The pause before the second retry; each later pause is twice as long. A server's `Retry-After` takes precedence.
    All pauses of a request take five minutes at most."""


class EndpointSettings(ServerSettings):
    """A server with OpenAI's chat completions API that writes rows for `rungwise generate`."""

    max_requests: Positive = 1_000
    """Most requests of one run. Answers in the journal of an earlier run are reused and don't count."""
    max_tokens: Positive = 1_000_000
    """Most tokens of one run, as the server counts them."""
    max_tokens_per_request: Positive = 2_000
    """Most tokens of one answer."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    """The sampling temperature."""


class PriceSettings(Section):
    """What the incumbent's answers cost, and what a machine for the rungs costs."""

    input: Annotated[float, Field(ge=0)]
    """The price of a million tokens that are sent."""
    output: Annotated[float, Field(ge=0)]
    """The price of a million tokens that the model writes."""
    machine_hour: Annotated[float, Field(ge=0)] | None = None
    """The price of an hour of the machine that would answer with a rung. The rungs' cost is that of this machine while
    it answers one row after the other as fast as the machine of the climb did. By default it is not computed."""
    currency: Annotated[str, Field(min_length=1, max_length=8)] = "USD"
    """The currency of all prices, as it is shown."""


class IncumbentSettings(ServerSettings):
    """The incumbent, what you use today: a model behind an address that is compared with the rungs.

    It is asked the validation rows once, and it is a line to compare with: it is never promoted and changes no
    decision.
    """

    prompts: dict[Name, Template] = Field(default_factory=dict)
    """Task -> the prompt that you use today, with `{column}` slots. By default the task's own prompt after a sentence
    that says how to answer and, if answers are labels, names all labels."""
    examples: Count | None = None
    """Number of training rows with their answers that come before each row, different answers first. Default: 4 if the
    model could not guess what answers look like (lists, texts, objects), otherwise 0; always 0 for a task of
    `prompts`."""
    max_rows: Positive = 300
    """Most validation rows of each task that are sent: a sample by the hashes of their ids."""
    max_cost: Annotated[float, Field(gt=0)] | None = None
    """Most that the answers to the current rows of all tasks may cost together, in the currency of `price`. Answers in
    the store count with what they cost."""
    price: PriceSettings | None = None
    """The prices; by default costs are not shown."""
    max_tokens_per_answer: Positive = 512
    """Most tokens of one answer."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    """The sampling temperature."""
    request: dict[Text, Any] = Field(default_factory=dict)
    """More fields of each request, such as `{reasoning_effort: low}`. `null` leaves out a field that is sent by
    default (`temperature`, `max_tokens`), for servers that refuse it."""
    margin: Share = 0.03
    """A rung is as good as the incumbent if the lower end of its paired difference is above minus this much."""

    @model_validator(mode="after")
    def _fits(self) -> "IncumbentSettings":
        if self.max_cost is not None and self.price is None:
            raise ValueError("max_cost: it requires `price`")
        if taken := {"model", "messages", "stream"} & set(self.request):
            raise ValueError(f"request: {', '.join(sorted(taken))} can't be set here")
        return self
