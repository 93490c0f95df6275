"""Generates texts for a data request: queries a generator and filters its replies.

Reads training rows and returns drafts and counts. A generator sees only training rows, and each draft names the rows
that were shown for it, so that `split` knows its parents. As in Wang et al., "Self-Instruct" (2023,
https://arxiv.org/abs/2212.10560): each query shows a few randomly drawn rows of the label, and filters follow.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

from rungwise.config import GenerateSettings
from rungwise.core.errors import GenerateError, Problem
from rungwise.core.records import Example
from rungwise.core.table import Table
from rungwise.core.texts import number_of
from rungwise.generate.filters import Draft, Filters
from rungwise.generate.queries import DataRequest, Generator, Query, Reply

EXAMPLES_PER_QUERY: Final = 4
"""Training rows that one query shows."""
MAX_QUERIES_FACTOR: Final = 4
"""Upper bound of the queries for a label, as a multiple of those needed if every text were kept."""
MAX_FAILURES: Final = 5
"""After this many consecutive failures no more queries are sent."""


@dataclass(frozen=True)
class Generated:
    """The result of a request."""

    drafts: tuple[Draft, ...]
    rejected: Mapping[str, int]
    """Reason -> number of texts, and code of a failure -> number of queries."""
    missing: Mapping[str, int]
    """Label or slice -> rows that could not be generated."""
    note: str
    """Why it ended early; empty if it did not."""
    failures: Mapping[str, int]
    """Code -> queries that the generator did not answer; also counted in `rejected`."""
    limit: str
    """How `max_share` limits the rows; empty if it does not."""


def generate(
    settings: GenerateSettings,
    request: DataRequest,
    field: str,
    train: Table,
    held_out: Table,
    generator: Generator,
    *,
    seed: int,
    redact: Callable[[str], str],
    show: Callable[[int, int, str], None],
) -> Generated:
    """Returns texts for the wanted labels or slices, at most `max_share` of all training rows.

    `field`: the slot that a text fills. `redact` is applied to the rows before the generator sees them; `show` receives
    the progress. The same rows, seed and replies give the same texts.
    """
    budget = int(len(train) * settings.max_share / (1 - settings.max_share)) if settings.max_share < 1 else None
    filters = Filters(settings, train, held_out, field)
    drafts: list[Draft] = []
    failed: Counter[str] = Counter()
    missing, note, limit = {}, "", ""
    total = sum(request.wanted.values())
    for name, n in sorted(request.wanted.items()):
        kept = 0
        allowed = n if budget is None else min(n, budget - len(drafts))
        if budget is not None and allowed < n:
            limit = (
                f"at most {number_of(budget, 'row', 'is', 'are')} generated, {settings.max_share:.0%} of the "
                "training rows with them"
            )
        queries = _queries(settings, request, name, train, field, allowed, seed, redact)
        try:
            for texts in _rounds(generator, queries, failed):
                for draft in filters.keep(texts)[: allowed - kept]:
                    drafts.append(draft)
                    kept += 1
                show(len(drafts), total, "rows kept")
                if kept >= allowed:
                    break
        except GenerateError as error:
            note = error.problem.line
        if kept < n:
            missing[name] = n - kept
        if note:
            missing |= {other: m for other, m in request.wanted.items() if other > name}
            break
    rejected = dict(sorted((filters.rejected + failed).items()))
    return Generated(tuple(drafts), rejected, missing, note, dict(sorted(failed.items())), limit)


def _queries(
    settings: GenerateSettings,
    request: DataRequest,
    name: str,
    train: Table,
    field: str,
    n: int,
    seed: int,
    redact: Callable[[str], str],
) -> Iterator[Query]:
    """Yields queries for a label or a slice, each with newly drawn and redacted rows.

    For a slice each query has one label, drawn in proportion to its rows in the slice.
    """
    rows = [
        i
        for i, (counted, parents) in enumerate(zip(request.columns(train), train.parents, strict=True))
        if counted == name and not parents
    ]
    if not rows:
        return
    labels = train.answer
    draw = random.Random(f"{seed}/{request.task}/{name}")
    for number in range(MAX_QUERIES_FACTOR * -(-n // settings.texts_per_request)):
        label = labels[draw.choice(rows)] if request.slice else name
        same = [i for i in rows if labels[i] == label]
        examples = [train[i] for i in draw.sample(same, min(EXAMPLES_PER_QUERY, len(same)))]
        redacted = tuple(
            Example(e.id, {**e.fields, field: redact(e.fields[field])}, e.answer, e.source, e.line, e.group)
            for e in examples
        )
        yield Query(label, redacted, min(n, settings.texts_per_request), draw.randrange(2**31) + number)


def _rounds(generator: Generator, queries: Iterator[Query], failed: Counter[str]) -> Iterator[list[tuple[Query, str]]]:
    """Yields the texts of each round of concurrent queries, in the order of the queries.

    Raises:
        GenerateError: the generator can't continue, or fails MAX_FAILURES times in a row.
    """
    failures = 0
    while chunk := [query for query, _ in zip(queries, range(generator.concurrency), strict=False)]:
        texts: list[tuple[Query, str]] = []
        replies = _replies(generator, chunk)
        for query in chunk:
            try:
                reply = next(replies)
            except GenerateError:
                yield texts  # uses the replies that were already paid for
                raise
            if reply.failure:
                failed[reply.failure] += 1
                failures += 1
                if failures >= MAX_FAILURES:
                    raise GenerateError(
                        Problem(
                            f"{generator.name} failed {number_of(failures, 'time')} in a row, last with {reply.failure}"
                        )
                    )
                continue
            failures = 0
            texts += [(query, text) for text in reply.texts]
        yield texts


def _replies(generator: Generator, queries: Sequence[Query]) -> Iterator[Reply]:
    """Sends all queries concurrently and yields the replies in the order of the queries.

    Uses daemon threads and no thread pool, because after Ctrl-C Python waits for the threads of a pool.
    """
    if len(queries) == 1:
        yield generator(queries[0])
        return

    def answer(query: Query, reply: "Future[Reply]") -> None:
        try:
            reply.set_result(generator(query))
        except BaseException as error:
            reply.set_exception(error)

    replies: list[Future[Reply]] = [Future() for _ in queries]
    for query, reply in zip(queries, replies, strict=True):
        threading.Thread(target=answer, args=(query, reply), daemon=True).start()
    for reply in replies:
        yield reply.result()
