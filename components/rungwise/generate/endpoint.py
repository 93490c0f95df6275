"""A generator behind any server with OpenAI's chat completions API; rows are sent only with consent.

Every usable answer is written to a journal before it is used, so a killed run continues and pays for nothing twice. An
answer that can't be used is requested again by the next run. Retries with back-off are those of urllib3
(https://urllib3.readthedocs.io/en/stable/reference/urllib3.util.html). The API:
https://platform.openai.com/docs/api-reference/chat.
"""

import json
import os
import threading
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from rungwise.config import EndpointSettings
from rungwise.core.errors import GenerateError, Problem, SettingsError
from rungwise.core.folders import read_lines
from rungwise.core.records import digest
from rungwise.generate.prompt import instruction, texts_of
from rungwise.generate.queries import Query, Reply

MAX_ANSWER_BYTES: Final = 10_000_000
"""Longest answer that is read."""


class Endpoint:
    """Sends queries to a server; see `Generator`."""

    def __init__(self, settings: EndpointSettings, field: str, journal: Path) -> None:
        """Opens the journal at `journal`.

        Raises:
            SettingsError: consent is missing, or the environment variable with the key is.
        """
        import requests
        from requests.adapters import HTTPAdapter
        from urllib3.util import Retry

        if not settings.consent:
            raise SettingsError(
                Problem(
                    "training rows would be sent to a server",
                    where="params.yaml: augment.endpoint.consent",
                    found="false",
                    wanted="true, set by someone who may decide this: the server receives training rows, redacted",
                )
            )
        self.name = f"{settings.model} at {urlsplit(settings.url).netloc}"
        self.concurrency = settings.concurrency
        self._settings, self._field, self._journal = settings, field, journal
        self._lock = threading.Lock()
        self._answers = {line["key"]: line for line in _entries(journal) if texts_of(line["content"])}
        self._requests = self._tokens = 0
        retry = Retry(
            total=settings.retries,
            backoff_factor=settings.backoff_seconds,
            status_forcelist=(408, 409, 425, 429, 500, 502, 503, 504),
            allowed_methods=None,
            raise_on_status=False,
            respect_retry_after_header=True,
        )
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry, pool_maxsize=settings.concurrency))
        if settings.key_env:
            key = os.environ.get(settings.key_env)
            if not key:
                raise SettingsError(
                    Problem(
                        "the endpoint's key is missing",
                        where="params.yaml: augment.endpoint.key_env",
                        found=f"no environment variable {settings.key_env}",
                        do=f"set it: export {settings.key_env}=...",
                    )
                )
            self._session.headers["Authorization"] = f"Bearer {key}"

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
        return Reply(texts) if texts is not None else Reply((), "not_json")

    def _send(self, key: str, body: dict[str, Any]) -> dict[str, Any]:
        """Returns the server's answer, and adds it to the journal if it can be used.

        Raises:
            GenerateError: the budget is spent, or the server refuses the request.
        """
        import requests

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
        address = self._settings.url.rstrip("/") + "/chat/completions"
        try:
            with self._session.post(address, json=body, timeout=self._settings.timeout_seconds, stream=True) as answer:
                status = answer.status_code
                text = answer.raw.read(MAX_ANSWER_BYTES + 1, decode_content=True)
        except requests.RequestException as error:
            return {"failure": "timed_out" if isinstance(error, requests.Timeout) else "no_connection"}
        except Exception:  # what urllib3 raises while it reads a body: cut off, invalid compression
            return {"failure": "cut_off"}
        if status in (400, 401, 403, 404, 405, 422):
            raise GenerateError(
                Problem(
                    f"the endpoint {self.name} refuses with HTTP {status}",
                    do="check `augment.endpoint` (url, model, key_env)",
                )
            )
        if status != 200:
            return {"failure": f"http_{status}"}
        if len(text) > MAX_ANSWER_BYTES:
            return {"failure": "too_large"}
        try:
            completion = json.loads(text)
            content = completion["choices"][0]["message"]["content"]
            tokens = int((completion.get("usage") or {}).get("total_tokens") or len(text) // 4)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            return {"failure": "no_completion"}
        if not isinstance(content, str):
            return {"failure": "no_completion"}
        entry = {"key": key, "content": content, "tokens": tokens, "failure": ""}
        with self._lock:
            self._tokens += tokens
            if not texts_of(content):
                return entry
            self._answers[key] = entry
            self._journal.parent.mkdir(parents=True, exist_ok=True)
            with self._journal.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(entry) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
        return entry


def _entries(journal: Path) -> list[dict[str, Any]]:
    """Returns the entries of the journal; removes an incomplete last line, which a killed run leaves."""
    entries: list[dict[str, Any]] = []
    if journal.is_file():
        try:
            for line in read_lines(journal):
                entries.append(line)
        except ValueError:
            text = journal.read_text(encoding="utf-8")
            journal.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")
    return entries
