"""A generator behind any server with OpenAI's chat completions API; rows are sent only with consent.

Every usable answer is written to a journal before it is used, so a killed run continues and pays for nothing twice. An
answer that can't be used is requested again by the next run. `endpoint.client` sends the requests.
"""

import json
import threading
from pathlib import Path
from typing import Any, Final

from rungwise.config import EndpointSettings
from rungwise.core.errors import GenerateError, Problem
from rungwise.core.logs import append_log, read_log
from rungwise.core.records import digest
from rungwise.endpoint.client import REDIRECTS, Client, Failure
from rungwise.generate.prompt import instruction, texts_of
from rungwise.generate.queries import Query, Reply

_REFUSALS: Final = REDIRECTS | {f"http_{status}" for status in (400, 401, 403, 404, 405, 422)}
"""Failures that end the generation: every query has the same form."""


class Endpoint:
    """Sends queries to a server; see `Generator`."""

    def __init__(self, settings: EndpointSettings, field: str, journal: Path) -> None:
        """Opens the journal at `journal`.

        Raises:
            SettingsError: consent is missing, or the environment variable with the key is.
        """
        self._send_body = Client(settings, "augment.endpoint", "training rows")
        self.name = self._send_body.name
        self.concurrency = settings.concurrency
        self._settings, self._field, self._journal = settings, field, journal
        self._lock = threading.Lock()
        self._answers = {
            line["key"]: line for line in read_log(journal, ("key", "content")) if texts_of(line["content"])
        }
        self._requests = self._tokens = 0

    def __call__(self, query: Query) -> Reply:
        """Returns the texts of the server's answer; see `Generator`."""
        body = {
            "model": self._settings.model,
            "messages": [{"role": "user", "content": instruction(query, self._field)}],
            "temperature": self._settings.temperature,
            "max_tokens": self._settings.max_tokens_per_request,
            "seed": query.seed,
        }
        key = digest([self._settings.url, body])
        with self._lock:
            entry = self._answers.get(key)
        if entry is None:
            entry = self._send(key, body)
        if entry["failure"]:
            return Reply((), entry["failure"])
        texts = texts_of(entry["content"])
        return Reply(texts[: query.n_texts]) if texts is not None else Reply((), "not_json")

    def _send(self, key: str, body: dict[str, Any]) -> dict[str, Any]:
        """Returns the server's answer, and adds it to the journal if it can be used.

        Raises:
            GenerateError: the budget is spent, or the server refuses the request.
        """
        with self._lock:
            budget = self._settings
            if self._requests >= budget.max_requests or self._tokens >= budget.max_tokens:
                raise GenerateError(
                    Problem(
                        f"the budget is spent: {self._requests} of {budget.max_requests} requests, {self._tokens:,} of "
                        f"{budget.max_tokens:,} tokens (`augment.endpoint.max_requests`, `max_tokens`)"
                    )
                )
            self._requests += 1
        result = self._send_body(body)
        if isinstance(result, Failure):
            if result.code in _REFUSALS:
                raise GenerateError(
                    Problem(
                        f"the endpoint {self.name} refuses with HTTP {result.code.removeprefix('http_')}",
                        found=result.detail,
                        do="set `augment.endpoint.url` to the address itself: a redirect is not followed"
                        if result.code in REDIRECTS
                        else "check `augment.endpoint` (url, model, key_env)",
                    )
                )
            if result.may_cost:
                self._count(len(json.dumps(body)) // 4 + budget.max_tokens_per_request)
            return {"failure": result.code}
        if result.content is None:
            self._count(result.total_tokens)
            return {"failure": "no_completion"}
        content, tokens = result.content, result.total_tokens
        entry = {"key": key, "content": content, "tokens": tokens, "failure": ""}
        with self._lock:
            self._tokens += tokens
            if not texts_of(content):
                return entry
            self._answers[key] = entry
            append_log(self._journal, entry)
        return entry

    def _count(self, tokens: int) -> None:
        """Counts what an answer without a text costs, or may cost."""
        with self._lock:
            self._tokens += tokens
