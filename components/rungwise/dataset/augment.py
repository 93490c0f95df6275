"""Creates synthetic training rows by putting wordings around a field of real training rows.

Reads training rows and returns training rows; each synthetic row (child) names its parent. The share of synthetic rows
is limited. A child that duplicates a training row or a held-out row is dropped and counted.
"""

import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rungwise.config import AugmentSettings, TaskSettings, augment_field
from rungwise.core.prompts import fill, slots
from rungwise.core.records import Example, Rejection
from rungwise.core.table import Table
from rungwise.core.texts import normalised
from rungwise.dataset.similar import copies


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
    """Returns the training rows, with children added for labels or slices that have fewer rows than their target.

    Rows whose answers are not labels get no children, unless slices are counted. Slices are processed in the order of
    their names; within one, `seed` decides the order of the pairs of parent and wording. `held_out` (dev and test rows)
    is used only to drop children that duplicate one of them.
    """
    field = augment_field(settings, task)
    if not settings.templates or field is None or not (settings.slice or task.answer.format == "label"):
        return Augmented(Table.of(train), ())
    templates = [text for template in settings.templates for text in _filled(template, field, settings)]
    # share = children / (real + children), so children <= real * share / (1 - share)
    share = settings.max_share
    n_real = sum(not e.is_synthetic for e in train)
    budget = int(n_real * share / (1 - share)) if share < 1 else len(train) * len(templates)
    budget -= len(train) - n_real
    taken = {_key(e): "copy_of_training" for e in train}
    held_out_texts = Table.of(held_out).joined()
    children: list[Example] = []
    rejections: list[Rejection] = []
    by_slice: dict[str, list[Example]] = defaultdict(list)
    counts: Counter[str] = Counter()
    for example in train:
        name = example.fields[settings.slice] if settings.slice else example.answer
        counts[name] += 1
        if not example.is_synthetic:
            by_slice[name].append(example)
    for name in sorted(by_slice):
        pairs = [(p, i) for p in sorted(by_slice[name], key=lambda e: e.id) for i in range(len(templates))]
        random.Random(f"{seed}/{name}").shuffle(pairs)
        wanted = settings.targets.get(name, settings.per_label)
        while pairs and (n := min(wanted - counts[name], budget - len(children))) > 0:
            some, pairs = pairs[:n], pairs[n:]
            made = [_child(parent, field, templates[number], number) for parent, number in some]
            leaks = {pair.left: f"leak_{pair.kind}" for pair in copies(Table.of(made).joined(), held_out_texts)}
            for place, ((parent, number), child) in enumerate(zip(some, made, strict=True)):
                if reason := leaks.get(place) or taken.get(_key(child)):
                    detail = f"wording {number + 1}"
                    rejections.append(Rejection("augment", parent.source, parent.line, reason, detail, child.id))
                    continue
                taken[_key(child)] = "copy_of_synthetic"
                counts[name] += 1
                children.append(child)
    return Augmented(Table.of((*train, *children)), tuple(rejections))


def _filled(template: str, field: str, settings: AugmentSettings) -> list[str]:
    """Returns the template with every combination of wordings in its slots; the slot for the row's text stays."""
    names = [name for name in slots(template) if name != field]
    own = {field: f"{{{field}}}"}
    texts = []
    for chosen in itertools.product(*(settings.wordings[name] for name in names)):
        escaped = [text.replace("{", "{{").replace("}", "}}") for text in chosen]
        texts.append(fill(_doubled(template), {**own, **dict(zip(names, escaped, strict=True))}))
    return texts


def _doubled(template: str) -> str:
    """Returns the template with its escaped braces doubled again, so that they survive one more call of `fill`."""
    return template.replace("{{", "{{{{").replace("}}", "}}}}")


def _child(parent: Example, field: str, template: str, number: int) -> Example:
    text = fill(template, {field: parent.fields[field]})
    fields = {**parent.fields, field: text}
    return replace(parent, id=f"{parent.id}-t{number + 1}", fields=fields, parents=(parent.id,))


def _key(example: Example) -> tuple[str, ...]:
    return tuple(normalised(text) for _, text in sorted(example.fields.items()))
