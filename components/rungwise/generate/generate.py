"""From a data request to rows: what a generator is asked, what of its texts is kept, and why the rest is not.

Only training rows are shown to a generator, and each text that it writes names the rows that it was shown, so that
`split` can tell whose child it is. As in Wang et al., "Self-Instruct" (2023): a few rows of the label wanted, in
an order of their own each time, then the filters.
"""

import json
import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Final, Protocol

from rungwise.config import AugmentSettings, GenerateSettings
from rungwise.core.errors import GenerateError, Problem
from rungwise.core.records import Example
from rungwise.core.table import Table
from rungwise.dataset.similar import copies, near_pairs, normalised, plain

SHOWN: Final = 4
"""Rows that a generator is shown at a time."""
PATIENCE: Final = 4
"""A label is given up after so many times as many asks as would do if every text were kept."""
FAILURES: Final = 5
"""After so many failures in a row a generator is given up."""
SURE: Final = 0.6
"""From this share on for another label the checker disagrees."""


@dataclass(frozen=True)
class DataRequest:
    """Rows that are wanted: by a person, or by the climb."""

    task: str
    wanted: Mapping[str, int]
    """Label, or value of the slot `slice` -> how many more training rows."""
    why: str
    slice: str | None = None
    """The slot whose values are wanted; None: labels are."""

    def columns(self, train: Table) -> Sequence[str]:
        """Returns the label, or the slice, that each training row counts for."""
        return train.fields[self.slice] if self.slice else train.answer


@dataclass(frozen=True)
class Ask:
    """One question to a generator."""

    label: str
    shown: tuple[Example, ...]
    n: int
    """How many texts are wanted."""
    seed: int


@dataclass(frozen=True)
class Reply:
    """What a generator wrote."""

    texts: tuple[str, ...]
    failure: str = ""
    """A short code where there is no text: `not_json`, `http_500` ..."""


class Generator(Protocol):
    """Whatever writes texts: an endpoint, a local model. Safe to call from several threads."""

    name: str
    concurrency: int
    """Asks that it takes at a time."""

    def __call__(self, ask: Ask) -> Reply:
        """Returns texts for the label.

        Raises:
            GenerateError: it can't go on at all: refused, out of budget.
        """
        ...


@dataclass(frozen=True)
class Draft:
    """A text that passed every filter."""

    text: str
    label: str
    parents: tuple[str, ...]


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


def request_of(settings: AugmentSettings, task: str, train: Table) -> DataRequest:
    """Returns the request that fills up rare labels or slices, as the section `augment` says."""
    request = DataRequest(task, {}, "", settings.slice)
    counts = Counter(request.columns(train))
    wanted = {name: settings.targets.get(name, settings.per_label) - counts[name] for name in sorted(counts)}
    lacking = {name: n for name, n in wanted.items() if n > 0}
    what = f"values of {settings.slice}" if settings.slice else "labels"
    return replace(request, wanted=lacking, why=f"{len(lacking)} {what} have fewer rows than `augment` asks for")


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
    sieve = _Sieve(settings, train, held_out, field)
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


class _Sieve:
    """Says which texts are worth having, and counts why the others are not."""

    def __init__(self, settings: GenerateSettings, train: Table, held_out: Table, field: str) -> None:
        self.rejected: Counter[str] = Counter()
        self._settings, self._field = settings, field
        self._known = list(train.fields[field])
        self._judged = list(held_out.fields[field]) if len(held_out) else []
        self._plain = {plain(text) for text in self._known}
        self._check = _checker(self._known, train.answer) if settings.checker else None

    def keep(self, made: Sequence[tuple[Ask, str]]) -> list[Draft]:
        """Returns the drafts among the texts of a round."""
        fresh: list[tuple[Ask, str]] = []
        for ask, text in made:
            reason = self._form(text.strip(), ask)
            if reason:
                self.rejected[reason] += 1
            else:
                fresh.append((ask, text.strip()))
                self._plain.add(plain(text))
        texts = [text for _, text in fresh]
        reasons: dict[int, str] = {}
        for pair in near_pairs([plain(text) for text in texts], self._settings.similarity):
            reasons[pair.right] = "near_generated"
        for pair in copies(texts, self._known):
            reasons[pair.left] = "copy_of_training" if pair.kind == "exact" else "near_training"
        for pair in copies(texts, self._judged):
            reasons[pair.left] = f"leak_{pair.kind}"
        kept = []
        for place, (ask, text) in enumerate(fresh):
            reason = reasons.get(place) or ("checker" if self._check and self._check(text, ask.label) else "")
            if reason:
                self.rejected[reason] += 1
                continue
            self._known.append(text)
            kept.append(Draft(text, ask.label, tuple(e.id for e in ask.shown)))
        return kept

    def _form(self, text: str, ask: Ask) -> str:
        """Returns why a text can't be used as it stands; empty where it can."""
        if not text or not re.search(r"\w", text):
            return "empty"
        if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
            return "not_text"
        if len(text) > self._settings.max_characters:
            return "too_long"
        shown = {normalised(e.fields[self._field]) for e in ask.shown}
        if normalised(text) in shown:
            return "copy_of_prompt"
        return "copy" if plain(text) in self._plain else ""


def _checker(texts: Sequence[str], labels: Sequence[str]) -> Callable[[str, str], bool] | None:
    """Returns whether a model of the real rows is sure that a text has another label; None: too little to say."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import SGDClassifier

    if len(set(labels)) < 2:
        return None
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    try:
        texts_NV = vectorizer.fit_transform(texts)
    except ValueError:  # texts without a word
        return None
    model = SGDClassifier(loss="log_loss", alpha=1e-4, random_state=0).fit(texts_NV, labels)

    def disagrees(text: str, label: str) -> bool:
        shares = model.predict_proba(vectorizer.transform([text]))[0]
        return bool(shares.max() >= SURE and model.classes_[shares.argmax()] != label)

    return disagrees


def instruction(ask: Ask, field: str) -> str:
    """Returns what a model that follows instructions is asked."""
    examples = json.dumps([e.fields[field] for e in ask.shown], ensure_ascii=False, indent=0)
    label = json.dumps(ask.label, ensure_ascii=False)
    return (
        f"Here are texts that people wrote; all of them belong to the category {label}:\n"
        f"{examples}\n"
        f"Write {ask.n} new texts of this category, as different people would write them: other details, other words, "
        "other lengths. Answer with a JSON array of strings and nothing else."
    )


def texts_of(content: str) -> tuple[str, ...] | None:
    """Returns the texts of a model's answer: the JSON array of strings in it, or None where there is none."""
    start, end = content.find("["), content.rfind("]")
    if start < 0 or end < start:
        return None
    try:
        found = json.loads(content[start : end + 1])
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        return None
    return tuple(found)
