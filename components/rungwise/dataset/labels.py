"""Finds labels that are the same for a person but not for a program: `Billing`, `billing `; `1`, `1.0`."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from rungwise.core.folders import joined
from rungwise.core.texts import normalised, number_of

_WHOLE = re.compile(r"(-?\d+)\.0+")
_TRUTH = {"true": "1", "yes": "1", "y": "1", "false": "0", "no": "0", "n": "0"}
"""Words for 1 and 0, if all labels are such words or 1 and 0."""


def alike(labels: Sequence[str]) -> list[tuple[str, ...]]:
    """Returns the groups of labels that differ only in case, white space, Unicode form or a final `.0`.

    Where all labels say yes or no, those that say the same are a group, such as `true`, `yes` and `1`. The most
    frequent label of a group comes first; of equally frequent ones the first by name.
    """
    counts = Counter(labels)
    keys = {label: _key(label) for label in counts}
    if set(keys.values()) <= {*_TRUTH, "0", "1"}:
        keys = {label: _TRUTH.get(key, key) for label, key in keys.items()}
    groups: dict[str, list[str]] = {}
    for label, key in keys.items():
        groups.setdefault(key, []).append(label)
    ordered = [sorted(group, key=lambda label: (-counts[label], label)) for group in groups.values() if len(group) > 1]
    return sorted(tuple(group) for group in ordered)


def _key(label: str) -> str:
    key = normalised("".join(one for one in label if unicodedata.category(one) != "Cf"))  # nobody sees these
    whole = _WHOLE.fullmatch(key)
    return whole[1] if whole else key


def listed(groups: Sequence[Sequence[str]]) -> str:
    """Returns what the groups mean, one sentence without its full stop.

    Letters beyond ASCII are shown as codes where labels would look the same.
    """
    shown = joined([" = ".join(map(_writing_of(group), group)) for group in groups])
    return (
        f"{number_of(len(groups), 'group')} of labels that differ only in case, white space, Unicode form, a "
        f"final `.0` or the word for yes and no: {shown}"
    )


def _writing_of(group: Sequence[str]) -> Callable[[str], str]:
    """Returns `repr`, or `ascii` if two labels of the group look the same on a screen."""
    return repr if len({unicodedata.normalize("NFKC", label) for label in group}) == len(group) else ascii


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
        f"{number_of(len(unseen), 'label')} without a training row in the {side} rows: {listed}. No rung can "
        f"answer these {n_unseen} of {n} rows, so the score is at most {1 - n_unseen / n:.2f}"
    )


def unseen_values(unseen: Mapping[str, int], affected: int, n: int, ceiling: float, side: str) -> str:
    """Returns what unseen items or labels of fields mean for a score, one sentence without its full stop.

    Args:
        unseen: item, or `field: label` -> its rows.
        affected: rows with at least one of them.
        n: all rows of the side.
        ceiling: the highest score that they leave, 0 to 1.
        side: the name of the side.
    """
    listed = joined([f"{value!r} ({rows})" for value, rows in unseen.items()])
    return (
        f"labels or items of the {side} rows have no training row: {listed}. No rung can answer {affected} of {n} rows "
        f"fully, so the score is at most {ceiling:.2f}"
    )


FREQUENT_ITEM_SHARE = 0.05
"""Items of open lists are often new: one that no training row has is named if this share of the rows has it."""


def frequent_items(unseen: Mapping[str, int], n: int, side: str) -> str:
    """Returns the frequent ones of the items without training rows, one sentence without its full stop; empty if none.

    `unseen`: item -> its rows among the `n` rows of the side.
    """
    frequent = {value: rows for value, rows in unseen.items() if rows >= max(2.0, FREQUENT_ITEM_SHARE * n)}
    if not frequent:
        return ""
    listed = joined([f"{value!r} ({rows})" for value, rows in frequent.items()])
    return (
        f"frequent items of the {side} rows have no training row: {listed}. Add training rows with them, or correct "
        "how they are written"
    )
