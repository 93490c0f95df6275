"""Asks a server each question once: answers come from the store where it has them, and a budget ends the asking.

An answer is kept under the digest of what was sent and where, without the key, so that no runner, after any crash, pays
for it twice. Failures are not kept: the next run asks again.
"""

import json
import os
import queue
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from rungwise.config import IncumbentSettings, PriceSettings
from rungwise.core.errors import Problem, WorkspaceError
from rungwise.core.records import digest
from rungwise.endpoint.answers import MAX_CHARACTERS
from rungwise.endpoint.client import REFUSALS, Completion, Failure
from rungwise.endpoint.messages import Message

STORE: Final = "asked"
"""The folder in the store of attempts that holds one file for each answer."""
MAX_FAILURES: Final = 5
"""After this many failures in a row nothing more is asked."""
OVER_BUDGET: Final = "over_budget"
NOT_ASKED: Final = "not_asked"
Send = Callable[[Mapping[str, Any]], Completion | Failure]


@dataclass(frozen=True)
class Question:
    """What is sent for one row."""

    row: str
    """The row's id."""
    body: Mapping[str, Any]
    key: str
    """The name of its answer in the store."""


@dataclass(frozen=True)
class Asked:
    """The answers to some questions."""

    answers: Mapping[str, Completion]
    """Row -> answer."""
    missing: Mapping[str, str]
    """Row -> why it has no answer: a failure's code, `over_budget` or `not_asked`."""
    cost: float
    """What the answers cost, also those from the store; 0 without prices."""
    stopped: Failure | None = None
    """The failure that ended the asking; None if it did not end early, or the budget ended it."""


def question(settings: IncumbentSettings, row: str, messages: Sequence[Message]) -> Question:
    """Returns the question about a row."""
    fields = {
        "model": settings.model,
        "messages": [dict(message) for message in messages],
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens_per_answer,
        **settings.request,
    }
    body = {name: value for name, value in fields.items() if value is not None}
    return Question(row, body, digest([settings.url, body]))


def cost_of(price: PriceSettings | None, input_tokens: float, output_tokens: float) -> float:
    """Returns the price of tokens; 0 without prices."""
    return (price.input * input_tokens + price.output * output_tokens) / 1e6 if price else 0.0


def ask(
    settings: IncumbentSettings,
    questions: Sequence[Question],
    store: Path,
    connect: Callable[[], Send],
    show: Callable[[int, int, str], None],
    *,
    spent: float = 0.0,
) -> Asked:
    """Returns the answers to the questions, in part or all from the store.

    Args:
        settings: the server, its prices and the budget.
        questions: the questions, in the order in which they are asked.
        store: the store of attempts.
        connect: opens the connection; it is called only if something must be asked.
        show: receives the progress.
        spent: what other questions of the same budget cost.

    Raises:
        SettingsError: the connection can't be opened (see `Client`).
        WorkspaceError: an answer can't be stored, so that nothing more is asked.
    """
    known = {q.row: stored for q in questions if (stored := _stored(store, q)) is not None}
    paid = sum(cost_of(settings.price, a.input_tokens, a.output_tokens) for a in known.values())
    asking = _Asking(settings, spent + paid)
    open_questions = [q for q in questions if q.row not in known]
    if open_questions:
        answered = len(known)
        for q, result in _in_parallel(asking, connect(), open_questions, settings.concurrency):
            if isinstance(result, Completion):
                known[q.row] = result
                _store(store, q, result)  # before the next result, so that a crash loses only what is under way
            answered += 1
            show(answered, len(questions), "rows asked")
    missing = {q.row: asking.missing.get(q.row, NOT_ASKED) for q in questions if q.row not in known}
    return Asked(known, missing, asking.spent - spent, asking.stopped)


class _Asking:
    """What the threads share: the budget, the failures in a row, and whether asking has ended."""

    def __init__(self, settings: IncumbentSettings, spent: float) -> None:
        self.spent, self.reserved = spent, 0.0
        self.missing: dict[str, str] = {}
        self.stopped: Failure | None = None
        self._settings, self._failures, self._is_over = settings, 0, False
        self._lock = threading.Lock()

    def start(self, q: Question) -> float | None:
        """Returns what the answer may cost, which is reserved; None if nothing more is asked."""
        # a token of a byte-level vocabulary is at least a byte, so that more can't be charged
        most = len(json.dumps(q.body, ensure_ascii=False).encode())
        reserve = cost_of(self._settings.price, most, self._settings.max_tokens_per_answer)
        with self._lock:
            if self.stopped:
                return None
            limit = self._settings.max_cost
            if self._is_over or (limit is not None and self.spent + self.reserved + reserve > limit):
                self._is_over = True
                self.missing[q.row] = OVER_BUDGET
                return None
            self.reserved += reserve
            return reserve

    def end(self) -> None:
        """Ends the asking."""
        with self._lock:
            self._is_over = True

    def finish(self, q: Question, reserve: float, result: Completion | Failure) -> None:
        """Counts an answer or a failure."""
        with self._lock:
            self.reserved -= reserve
            if isinstance(result, Completion):
                self.spent += cost_of(self._settings.price, result.input_tokens, result.output_tokens)
                self._failures = 0
                return
            self.spent += reserve if result.may_cost else 0.0
            self.missing[q.row] = result.code
            self._failures += 1
            if self.stopped is None and (result.code in REFUSALS or self._failures >= MAX_FAILURES):
                self.stopped = result


def _in_parallel(
    asking: _Asking, send: Send, questions: Sequence[Question], n_threads: int
) -> Iterator[tuple[Question, Completion | Failure]]:
    """Yields each question that was asked with its result, as they come.

    Uses daemon threads and no thread pool, because after Ctrl-C Python waits for the threads of a pool.
    """
    waiting: queue.SimpleQueue[Question] = queue.SimpleQueue()
    results: queue.SimpleQueue[tuple[Question, Completion | Failure] | BaseException | None] = queue.SimpleQueue()
    for q in questions:
        waiting.put(q)

    def work() -> None:
        try:
            while True:
                q = waiting.get_nowait()
                if (reserve := asking.start(q)) is not None:
                    result = _trimmed(send(q.body))
                    asking.finish(q, reserve, result)
                    results.put((q, result))
        except queue.Empty:
            results.put(None)
        except BaseException as error:
            results.put(error)

    n_running = min(n_threads, len(questions))
    for _ in range(n_running):
        threading.Thread(target=work, daemon=True).start()
    try:
        while n_running:
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            if result is None:
                n_running -= 1
            else:
                yield result
    finally:  # whoever reads the results may have failed: nothing more is paid for
        asking.end()


def _path(store: Path, q: Question) -> Path:
    return store / STORE / f"{q.key}.json"


def _stored(store: Path, q: Question) -> Completion | None:
    """Returns the answer from the store; None if it is missing or damaged."""
    try:
        entry = json.loads(_path(store, q).read_text(encoding="utf-8"))
        answer = Completion(**entry["answer"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if q.row not in entry["rows"]:  # `rungwise data forget` finds answers by the rows that they belong to
        _write(_path(store, q), {**entry, "rows": [*entry["rows"], q.row]})
    return answer


def answers_about(store: Path, row: str) -> list[str]:
    """Returns the files in the store that hold answers about a row, relative to it."""
    names = []
    for path in sorted((store / STORE).glob("*.json")):
        try:
            is_about = row in json.loads(path.read_text(encoding="utf-8"))["rows"]
        except (ValueError, KeyError, TypeError):  # damaged, so that nobody knows whose it is
            is_about = True
        names += [f"{STORE}/{path.name}"] if is_about else []
    return names


def _store(store: Path, q: Question, answer: Completion) -> None:
    try:
        _write(_path(store, q), {"rows": [q.row], "answer": asdict(answer)})
    except OSError as error:
        found, do = str(error.strerror), "fix it and run again; stored answers are not paid for again"
        where = str(_path(store, q).parent)
        raise WorkspaceError(Problem("an answer can't be stored", where=where, found=found, do=do)) from None


def _write(path: Path, entry: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with part.open("w", encoding="utf-8") as stream:
            json.dump(entry, stream)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _trimmed(result: Completion | Failure) -> Completion | Failure:
    """Returns an answer of at most MAX_CHARACTERS of valid Unicode; a longer one counts as cut off by the server."""
    if isinstance(result, Failure) or result.content is None:
        return result
    content = result.content.encode(errors="replace").decode()
    if len(content) > MAX_CHARACTERS:
        return replace(result, content=content[:MAX_CHARACTERS], finish="length")
    return replace(result, content=content)
