"""The values that go to a generator and come back: requests for rows, queries, replies."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from rungwise.config import AugmentSettings
from rungwise.core.records import Example
from rungwise.core.table import Table


@dataclass(frozen=True)
class DataRequest:
    """How many more training rows are wanted, and why."""

    task: str
    wanted: Mapping[str, int]
    """Label, or value of the slot `slice` -> number of additional training rows."""
    why: str
    slice: str | None = None
    """The slot whose values `wanted` names; None: it names labels."""

    def columns(self, train: Table) -> Sequence[str]:
        """Returns each training row's label, or its value of the slot `slice`."""
        return train.fields[self.slice] if self.slice else train.answer


@dataclass(frozen=True)
class Query:
    """One request to a generator: new texts like a few examples."""

    label: str
    examples: tuple[Example, ...]
    n_texts: int
    """How many texts to write."""
    seed: int


@dataclass(frozen=True)
class Reply:
    """The texts that a generator wrote, or why there are none."""

    texts: tuple[str, ...]
    failure: str = ""
    """A short code if there is no text, such as `not_json` or `http_500`."""


class Generator(Protocol):
    """Writes texts: an endpoint or a local model. Safe to call from several threads."""

    name: str
    concurrency: int
    """Number of queries that it answers at a time."""

    def __call__(self, query: Query) -> Reply:
        """Returns texts for the query's label.

        Raises:
            GenerateError: it can't continue, because it was refused or its budget is spent.
        """
        ...


def request_of(settings: AugmentSettings, task: str, train: Table) -> DataRequest:
    """Returns the request for the labels or slices with fewer rows than the `augment` settings require."""
    request = DataRequest(task, {}, "", settings.slice)
    counts = Counter(request.columns(train))
    wanted = {name: settings.targets.get(name, settings.per_label) - counts[name] for name in sorted(counts)}
    missing = {name: n for name, n in wanted.items() if n > 0}
    what = f"values of {settings.slice}" if settings.slice else "labels"
    return replace(request, wanted=missing, why=f"{len(missing)} {what} have fewer rows than `augment` requires")
