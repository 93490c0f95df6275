"""One request to a server with OpenAI's chat completions API, and everything that can go wrong with it, as values.

Retries with back-off are those of urllib3
(https://urllib3.readthedocs.io/en/stable/reference/urllib3.util.html). The API:
https://platform.openai.com/docs/api-reference/chat. No message holds the key or text of the server: what a server says
can be text of a row.
"""

import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from rungwise.config import ServerSettings
from rungwise.core.errors import Problem, SettingsError

MAX_ANSWER_BYTES: Final = 10_000_000
"""Longest answer that is read."""
MAX_RETRY_AFTER_SECONDS: Final = 300
"""Longest pause that a server's `Retry-After` can cause."""
_CHUNK: Final = 65_536
_TEMPORARY: Final = (408, 409, 425, 429, 500, 502, 503, 504)
REFUSALS: Final = frozenset({"http_401", "http_403", "http_404", "http_405"})
"""Failures that every further request would meet too: wrong key, wrong address, unknown model."""
_CODE: Final = re.compile(r"[a-z][a-z_]{2,59}")
"""Codes of errors such as `model_not_found`; nothing else of an error is shown, as it could be text of a row."""


@dataclass(frozen=True)
class Completion:
    """A server's answer."""

    content: str | None
    """None where the model wrote nothing, for example because it refuses."""
    finish: str
    """Why the model stopped, as the server says: `stop`, `length`, `content_filter`; empty if it does not."""
    model: str
    """The model's name in the answer; empty if the server does not give it."""
    input_tokens: int
    output_tokens: int
    total_tokens: int
    is_counted: bool
    """Whether the server counted the tokens; otherwise they are estimated as a quarter of the bytes."""
    seconds: float
    """From sending to the last byte, with retries."""


@dataclass(frozen=True)
class Failure:
    """Why a request has no answer."""

    code: str
    """`timed_out`, `no_connection`, `cut_off`, `too_large`, `no_completion` or `http_STATUS`."""
    detail: str = ""
    """The server's own code of the error, if it has one."""

    @property
    def may_cost(self) -> bool:
        """Whether the server may have written an answer that it charges for."""
        return not self.code.startswith("http_") and self.code != "no_connection"


class Client:
    """Sends requests to one server. Safe to call from several threads."""

    def __init__(self, settings: ServerSettings, where: str, rows: str) -> None:
        """Opens a session; nothing is sent yet.

        Args:
            settings: the server.
            where: the section of params.yaml, which errors name.
            rows: which rows the server would receive, in words.

        Raises:
            SettingsError: consent is missing, or the environment variable with the key is.
        """
        import requests
        from requests.adapters import HTTPAdapter
        from urllib3.util import Retry

        if not settings.consent:
            raise SettingsError(
                Problem(
                    f"{rows} would be sent to a server",
                    where=f"params.yaml: {where}.consent",
                    found="false",
                    wanted=f"true, set by someone who may decide this: the server receives {rows}, redacted",
                )
            )
        self.name = f"{settings.model} at {urlsplit(settings.url).netloc}"
        self._address = settings.url.rstrip("/") + "/chat/completions"
        self._timeout = settings.timeout_seconds
        retry = Retry(
            total=settings.retries,
            backoff_factor=settings.backoff_seconds,
            status_forcelist=_TEMPORARY,
            allowed_methods=None,
            raise_on_status=False,
            respect_retry_after_header=True,
            retry_after_max=MAX_RETRY_AFTER_SECONDS,
        )
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry, pool_maxsize=settings.concurrency))
        if settings.key_env:
            self._session.headers["Authorization"] = f"Bearer {_key(settings.key_env, where)}"

    def __call__(self, body: Mapping[str, Any]) -> Completion | Failure:
        """Returns the server's answer to a request, or the reason for its failure."""
        import requests

        started = time.perf_counter()
        try:
            # a redirect could send the rows to a server that nobody consented to
            with self._session.post(
                self._address, json=body, timeout=self._timeout, stream=True, allow_redirects=False
            ) as answer:
                status, text = answer.status_code, _read(answer.raw, time.monotonic() + self._timeout)
        except requests.RequestException as error:
            return Failure("timed_out" if _is_timeout(error) else "no_connection")
        except TimeoutError:
            return Failure("timed_out")
        except Exception:  # what urllib3 raises while it reads a body: cut off, invalid compression
            return Failure("cut_off")
        if status != 200:
            return Failure(f"http_{status}", _detail(text))
        if len(text) > MAX_ANSWER_BYTES:
            return Failure("too_large")
        return _completion(text, len(json.dumps(body)), time.perf_counter() - started)


def _key(name: str, where: str) -> str:
    """Returns the API key of an environment variable.

    Raises:
        SettingsError: it is missing, or can't be a key.
    """
    key = os.environ.get(name, "").strip()
    place = f"params.yaml: {where}.key_env"
    if not key:
        found, do = f"no environment variable {name}", f"set it: export {name}=..."
        raise SettingsError(Problem("the endpoint's key is missing", where=place, found=found, do=do))
    if not (key.isascii() and key.isprintable()):  # the error of requests would show it
        raise SettingsError(
            Problem(
                "the endpoint's key can't be sent",
                where=place,
                found=f"characters in {name} that can't be in a header",
                wanted="printable ASCII on one line",
            )
        )
    return key


def _read(raw: Any, deadline: float) -> bytes:
    """Returns a body's bytes, at most one more than MAX_ANSWER_BYTES.

    Raises:
        TimeoutError: it does not end before the deadline, although some bytes always come in time.
    """
    parts, size = [], 0
    while size <= MAX_ANSWER_BYTES and (part := raw.read1(_CHUNK, decode_content=True)):
        parts.append(part)
        size += len(part)
        if time.monotonic() > deadline:
            raise TimeoutError
    return b"".join(parts)[: MAX_ANSWER_BYTES + 1]


def _is_timeout(error: Exception) -> bool:
    import requests
    from urllib3.exceptions import ReadTimeoutError

    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(error, requests.Timeout) or isinstance(reason, ReadTimeoutError)


def _detail(text: bytes) -> str:
    """Returns the code of an error in OpenAI's form; empty if there is none, or if it is more than a code."""
    try:
        error = json.loads(text)["error"]
        codes = [error.get(name) for name in ("code", "type", "param")]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    known = [code for code in codes if isinstance(code, str) and _CODE.fullmatch(code)]
    return ", ".join(dict.fromkeys(known))


def _completion(text: bytes, sent_bytes: int, seconds: float) -> Completion | Failure:
    try:
        value = json.loads(text)
        choice = value["choices"][0]
        content = choice["message"]["content"]
        usage = value.get("usage") or {}
        counts = [int(usage.get(name) or 0) for name in ("prompt_tokens", "completion_tokens", "total_tokens")]
        finish, model = choice.get("finish_reason"), value.get("model")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return Failure("no_completion")
    if not isinstance(content, str | None):
        return Failure("no_completion")
    is_counted = counts[0] > 0
    estimated = sent_bytes // 4, len(content or "") // 4
    return Completion(
        content=content,
        finish=finish if isinstance(finish, str) else "",
        model=model if isinstance(model, str) else "",
        input_tokens=counts[0] if is_counted else estimated[0],
        output_tokens=counts[1] if is_counted else estimated[1],
        total_tokens=counts[2] or (counts[0] + counts[1] if is_counted else len(text) // 4),
        is_counted=is_counted,
        seconds=seconds,
    )
