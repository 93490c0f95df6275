"""Synthetic training rows from wordings around a field of real training rows.

Only training rows are read, only training rows are made; each child names its parent. The share of synthetic
rows is capped, and a child whose text equals any other row's is dropped and counted.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from components.config import AugmentSettings, TaskSettings, augment_field
from components.dataset.similar import normalised
from components.prompts import fill
from components.records import Example, Rejection
from components.table import Table


@dataclass(frozen=True)
class Augmented:
    """The training rows, real ones first, and the children that were dropped."""

    train: Table
    rejections: tuple[Rejection, ...]


def augment(
    settings: AugmentSettings,
    task: TaskSettings,
    train: Sequence[Example],
    held_out: Sequence[Example],
    *,
    seed: int,
) -> Augmented:
    """Returns the training rows with children added for labels that have fewer than `per_label` rows.

    Rows whose answers are not labels get no children. Labels are served in the order of their names, and within a
    label all pairs of parent and template in an order drawn from `seed`. `held_out` (dev and test rows) is only looked
    at to drop children that equal one.
    """
    field = augment_field(settings, task)
    if not settings.templates or field is None or task.answer.format != "label":
        return Augmented(Table.of(train), ())
    # share = children / (real + children), so children <= real * share / (1 - share)
    share = settings.max_share
    budget = int(len(train) * share / (1 - share)) if share < 1 else len(train) * len(settings.templates)
    taken = {_key(e): "copy_of_training" for e in train} | {_key(e): "leak" for e in held_out}
    children: list[Example] = []
    rejections: list[Rejection] = []
    by_label: dict[str, list[Example]] = defaultdict(list)
    for example in train:
        by_label[example.answer].append(example)
    counts = Counter(e.answer for e in train)
    for label in sorted(by_label):
        pairs = [(p, i) for p in sorted(by_label[label], key=lambda e: e.id) for i in range(len(settings.templates))]
        random.Random(f"{seed}/{label}").shuffle(pairs)
        for parent, number in pairs:
            if counts[label] >= settings.per_label or len(children) >= budget:
                break
            child = _child(parent, field, settings.templates[number], number)
            if reason := taken.get(_key(child)):
                detail = f"template {number + 1}"
                rejections.append(Rejection("augment", parent.source, parent.line, reason, detail, child.id))
                continue
            taken[_key(child)] = "copy_of_synthetic"
            counts[label] += 1
            children.append(child)
    return Augmented(Table.of((*train, *children)), tuple(rejections))


def _child(parent: Example, field: str, template: str, number: int) -> Example:
    text = fill(template, {field: parent.fields[field]})
    fields = {**parent.fields, field: text}
    return replace(parent, id=f"{parent.id}-t{number + 1}", fields=fields, parents=(parent.id,))


def _key(example: Example) -> tuple[str, ...]:
    return tuple(normalised(text) for _, text in sorted(example.fields.items()))
