"""From a data request to rows: what a generator is asked, what of its texts is kept, and why the rest is not.

Only training rows are shown to a generator, and each text that it writes names the rows that it was shown, so that
`split` can tell whose child it is. As in Wang et al., "Self-Instruct" (2023): a few rows of the label wanted, in
an order of their own each time, then the filters.
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
from rungwise.generate.asks import Ask, DataRequest, Generator, Reply
from rungwise.generate.filters import Draft, Sieve

SHOWN: Final = 4
"""Rows that a generator is shown at a time."""
PATIENCE: Final = 4
"""A label is given up after so many times as many asks as would do if every text were kept."""
FAILURES: Final = 5
"""After so many failures in a row a generator is given up."""


@dataclass(frozen=True)
class Generated:
    """What a request came to."""

    drafts: tuple[Draft, ...]
    rejected: Mapping[str, int]
    """Reason -> texts, and failures of the generator."""
    missing: Mapping[str, int]
    """Label or slice -> rows that could not be made."""
    note: str
    """Why it ended early; empty where it did not."""
    failures: Mapping[str, int]
    """Code -> asks that the generator did not answer; they are counted in `rejected` too."""
    limit: str
    """How `max_share` limits the rows; empty where it does not."""


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
    """Returns texts for the labels or slices wanted, at most `max_share` of all training rows.

    `field`: the slot that a text fills. The same rows, seed and replies give the same texts.
    """
    budget = int(len(train) * settings.max_share / (1 - settings.max_share)) if settings.max_share < 1 else None
    sieve = Sieve(settings, train, held_out, field)
    drafts: list[Draft] = []
    failed: Counter[str] = Counter()
    missing, note, limit = {}, "", ""
    total = sum(request.wanted.values())
    for name, n in sorted(request.wanted.items()):
        kept = 0
        allowed = n if budget is None else min(n, budget - len(drafts))
        if allowed < n:
            limit = f"at most {budget} rows are made, {settings.max_share:.0%} of the training rows with them"
        asks = _asks(settings, request, name, train, field, allowed, seed, redact)
        try:
            for made in _rounds(generator, asks, failed):
                for draft in sieve.keep(made)[: allowed - kept]:
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
    rejected = dict(sorted((sieve.rejected + failed).items()))
    return Generated(tuple(drafts), rejected, missing, note, dict(sorted(failed.items())), limit)


def _asks(
    settings: GenerateSettings,
    request: DataRequest,
    name: str,
    train: Table,
    field: str,
    n: int,
    seed: int,
    redact: Callable[[str], str],
) -> Iterator[Ask]:
    """Yields asks for a label or a slice, each with rows drawn anew; what they show is redacted first.

    Of a slice each ask is for one label, drawn as often as it stands there.
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
    for number in range(PATIENCE * -(-n // settings.texts_per_request)):
        label = labels[draw.choice(rows)] if request.slice else name
        same = [i for i in rows if labels[i] == label]
        examples = [train[i] for i in draw.sample(same, min(SHOWN, len(same)))]
        hidden = tuple(
            Example(e.id, {**e.fields, field: redact(e.fields[field])}, e.answer, e.source, e.line, e.group)
            for e in examples
        )
        yield Ask(label, hidden, min(n, settings.texts_per_request), draw.randrange(2**31) + number)


def _rounds(generator: Generator, asks: Iterator[Ask], failed: Counter[str]) -> Iterator[list[tuple[Ask, str]]]:
    """Yields the texts of some asks at a time, in the order of the asks.

    Raises:
        GenerateError: the generator can't go on, or fails again and again.
    """
    failures = 0
    while some := [ask for ask, _ in zip(asks, range(generator.concurrency), strict=False)]:
        made: list[tuple[Ask, str]] = []
        replies = _replies(generator, some)
        for ask in some:
            try:
                reply = next(replies)
            except GenerateError:
                yield made  # what was paid for is used
                raise
            if reply.failure:
                failed[reply.failure] += 1
                failures += 1
                if failures >= FAILURES:
                    raise GenerateError(
                        Problem(f"{generator.name} failed {failures} times in a row, last with {reply.failure}")
                    )
                continue
            failures = 0
            made += [(ask, text) for text in reply.texts]
        yield made


def _replies(generator: Generator, asks: Sequence[Ask]) -> Iterator[Reply]:
    """Yields the replies to some asks, which are made at a time, in their order.

    The threads are daemons and no pool's: nobody waits for them after Ctrl-C, as Python does for those of a pool.
    """
    if len(asks) == 1:
        yield generator(asks[0])
        return

    def answer(ask: Ask, reply: "Future[Reply]") -> None:
        try:
            reply.set_result(generator(ask))
        except BaseException as error:
            reply.set_exception(error)

    replies: list[Future[Reply]] = [Future() for _ in asks]
    for ask, reply in zip(asks, replies, strict=True):
        threading.Thread(target=answer, args=(ask, reply), daemon=True).start()
    for reply in replies:
        yield reply.result()
