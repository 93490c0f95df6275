"""What is asked of a generator."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from rungwise.config import AugmentSettings
from rungwise.core.records import Example
from rungwise.core.table import Table


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


def request_of(settings: AugmentSettings, task: str, train: Table) -> DataRequest:
    """Returns the request that fills up rare labels or slices, as the section `augment` says."""
    request = DataRequest(task, {}, "", settings.slice)
    counts = Counter(request.columns(train))
    wanted = {name: settings.targets.get(name, settings.per_label) - counts[name] for name in sorted(counts)}
    lacking = {name: n for name, n in wanted.items() if n > 0}
    what = f"values of {settings.slice}" if settings.slice else "labels"
    return replace(request, wanted=lacking, why=f"{len(lacking)} {what} have fewer rows than `augment` asks for")
