"""Finds labels that are the same for a person but not for a program: `Billing`, `billing `; `1`, `1.0`."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from rungwise.core.folders import joined
from rungwise.core.texts import normalised

_WHOLE = re.compile(r"(-?\d+)\.0+")


def alike(labels: Sequence[str]) -> list[tuple[str, ...]]:
    """Returns the groups of labels that differ only in case, white space, Unicode form or a final `.0`.

    The most frequent label of a group comes first; of equally frequent ones the first by name.
    """
    counts = Counter(labels)
    groups: dict[str, list[str]] = {}
    for label in counts:
        key = normalised(label)
        whole = _WHOLE.fullmatch(key)
        groups.setdefault(whole[1] if whole else key, []).append(label)
    ordered = [sorted(group, key=lambda label: (-counts[label], label)) for group in groups.values() if len(group) > 1]
    return sorted(tuple(group) for group in ordered)


def listed(groups: Sequence[Sequence[str]]) -> str:
    """Returns what the groups mean, one sentence without its full stop. Letters beyond ASCII are shown as codes."""
    shown = joined([" = ".join(map(ascii, group)) for group in groups])
    return f"{len(groups)} group(s) of labels differ only in case, white space, Unicode form or a final `.0`: {shown}"


def merged(labels: Sequence[str], groups: Sequence[Sequence[str]]) -> list[str]:
    """Returns the labels, each as the first one of its group."""
    first = {label: group[0] for group in groups for label in group}
    return [first.get(label, label) for label in labels]


def unseen_labels(unseen: Mapping[str, int], n: int, side: str) -> str:
    """Returns what labels without training rows mean for a score, one sentence without its full stop.

    `unseen`: label -> its rows among the `n` rows of the side.
    """
    n_unseen = sum(unseen.values())
    listed = joined([f"{label!r} ({rows})" for label, rows in sorted(unseen.items(), key=lambda pair: -pair[1])])
    return (
        f"{len(unseen)} label(s) of the {side} rows have no training row: {listed}. No rung can answer these "
        f"{n_unseen} of {n} rows, so the score is at most {1 - n_unseen / n:.2f}"
    )
