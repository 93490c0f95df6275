"""One request to a server with OpenAI's chat completions API, and everything that can go wrong with it, as values.

A server is not trusted: whatever it does, a request ends at its deadline, an answer has a limit, and a number of tokens
that can't be one is replaced by an estimate. The API: https://platform.openai.com/docs/api-reference/chat. No message
holds the key or text of the server: what a server says can be text of a row.
"""

import json
import os
import re
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

from rungwise.config import ServerSettings
from rungwise.core.errors import Problem, SettingsError

MAX_ANSWER_BYTES: Final = 2_000_000
"""Longest answer that is read."""
MAX_RETRY_AFTER_SECONDS: Final = 300
"""Longest time that all pauses of one request can take together, whatever a server's `Retry-After` says."""
_MAX_TOKENS: Final = 1e9
"""A larger number of tokens in an answer can't be one."""
_MAX_NAME: Final = 100
"""Characters of a model's name, and of why it stopped, that are kept."""
_CHUNK: Final = 65_536
_TEMPORARY: Final = (408, 409, 425, 429, 500, 502, 503, 504)
REDIRECTS: Final = frozenset(f"http_{status}" for status in (301, 302, 303, 307, 308))
"""Failures of a server that sends requests on to another address."""
REFUSALS: Final = REDIRECTS | {"http_401", "http_403", "http_404", "http_405"}
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


@dataclass(frozen=True)
class _Tried:
    """What came of sending a request once."""

    result: Completion | Failure
    is_temporary: bool = False
    """Whether sending it again may help."""
    retry_after: str = ""
    """The server's `Retry-After`."""


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
        self._settings = settings
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=settings.concurrency))
        if settings.key_env:
            self._session.headers["Authorization"] = f"Bearer {_key(settings.key_env, where)}"

    def __call__(self, body: Mapping[str, Any]) -> Completion | Failure:
        """Returns the server's answer to a request, or the reason for its failure."""
        started, waited = time.monotonic(), 0.0
        tried = self._once(body)
        for number in range(self._settings.retries):
            if not tried.is_temporary:
                break
            pause = _pause(tried.retry_after, number, self._settings.backoff_seconds)
            pause = min(pause, MAX_RETRY_AFTER_SECONDS - waited)
            time.sleep(pause)
            waited += pause
            tried = self._once(body)
        if isinstance(tried.result, Completion):
            return replace(tried.result, seconds=time.monotonic() - started)
        return tried.result

    def _once(self, body: Mapping[str, Any]) -> _Tried:
        """Sends a request once, in a thread of its own: a server that never ends its answer holds only that thread."""
        begun, tried = threading.Event(), Future[_Tried]()

        def send() -> None:
            try:
                tried.set_result(self._sent(body, begun))
            except BaseException as error:
                tried.set_exception(error)

        threading.Thread(target=send, daemon=True).start()
        try:
            return tried.result(self._settings.timeout_seconds)
        except TimeoutError:
            return _Tried(Failure("timed_out"), is_temporary=not begun.is_set())

    def _sent(self, body: Mapping[str, Any], begun: threading.Event) -> _Tried:
        """Sends a request and reads the answer; sets `begun` when the answer begins."""
        import requests

        timeout = self._settings.timeout_seconds
        deadline = time.monotonic() + timeout
        try:
            # a redirect could send the rows to a server that nobody consented to
            with self._session.post(
                self._address, json=body, timeout=timeout, stream=True, allow_redirects=False
            ) as answer:
                begun.set()
                status, retry_after = answer.status_code, answer.headers.get("Retry-After", "")
                text = _read(answer.raw, deadline)
        except requests.RequestException as error:
            return _Tried(Failure("timed_out" if _is_timeout(error) else "no_connection"), is_temporary=True)
        except TimeoutError:
            return _Tried(Failure("timed_out"))
        except Exception:  # what urllib3 raises while it reads a body: cut off, invalid compression
            return _Tried(Failure("cut_off"))
        if status != 200:
            return _Tried(Failure(f"http_{status}", _detail(text)), status in _TEMPORARY, retry_after)
        if len(text) > MAX_ANSWER_BYTES:
            return _Tried(Failure("too_large"))
        return _Tried(_completion(text, len(json.dumps(body))))


def _pause(retry_after: str, number: int, backoff_seconds: float) -> float:
    """Returns the seconds before a retry, the first of which has number 0: as the server says, or twice the last."""
    from urllib3.exceptions import InvalidHeader
    from urllib3.util import Retry

    try:
        return float(Retry().parse_retry_after(retry_after))
    except (InvalidHeader, ValueError, OverflowError):
        return backoff_seconds * 2.0 ** min(number - 1, 20) if number else 0.0


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


def _completion(text: bytes, sent_bytes: int) -> Completion | Failure:
    """Returns the answer in a body; its seconds are not known yet."""
    try:
        value = json.loads(text)
        choice = value["choices"][0]
        content, usage = choice["message"]["content"], value.get("usage")
        finish, model = choice.get("finish_reason"), value.get("model")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return Failure("no_completion")
    if not isinstance(content, str | None):
        return Failure("no_completion")
    n_in, n_out, n_all = (_tokens(usage, name) for name in ("prompt_tokens", "completion_tokens", "total_tokens"))
    input_tokens, output_tokens = n_in or sent_bytes // 4, n_out or len(content or "") // 4
    return Completion(
        content=content,
        finish=finish[:_MAX_NAME] if isinstance(finish, str) else "",
        model=model[:_MAX_NAME] if isinstance(model, str) else "",
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=max(n_all, n_in + n_out) if n_all else input_tokens + output_tokens,
        is_counted=n_in > 0 and n_out == output_tokens,
        seconds=0.0,
    )


def _tokens(usage: Any, name: str) -> int:
    """Returns a number of tokens that the server counted; 0 if it is missing or can't be one."""
    value = usage.get(name) if isinstance(usage, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(value) if 0 < value < _MAX_TOKENS else 0
