"""The output of `rungwise data` in a terminal."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rungwise.core.folders import joined
from rungwise.core.records import SIDES
from rungwise.core.texts import number_of, on_one_line

_COUNTED = (*SIDES, "synthetic")
_LABELS = 5
"""Number of label shares that are shown for each version."""


def log_text(versions: Sequence[Mapping[str, Any]]) -> str:
    """Returns the accepted versions, the newest first."""
    if not versions:
        return "no version of the rows was accepted yet: `rungwise run` accepts one"
    parts = []
    for line in reversed(versions):
        lines = [f"{line['data_version']}  {line['when']}  {_counts(line)}"]
        for task, shares in line["labels"].items():
            if shares:
                lines.append(f"  {task}: {_top_labels(shares)}")
        for task, moved in line["drift"].items():
            lines += [f"  warning: {task}: {shift['sentence']}" for shift in moved if shift["is_over"]]
        parts.append("\n".join(lines))
    return "\n".join(parts)


def _counts(line: Mapping[str, Any]) -> str:
    """Returns a version's row counts: `route: 900 train, 300 dev, 300 test`."""
    return "; ".join(
        f"{task}: " + ", ".join(f"{sides[side]} {side}" for side in _COUNTED if sides.get(side) or side != "synthetic")
        for task, sides in line["rows"].items()
    )


def _top_labels(shares: Mapping[str, float]) -> str:
    """Returns the largest label shares: `billing 40%, repair 30%`."""
    named = Counter(shares).most_common(_LABELS)
    more = f" and {len(shares) - _LABELS} more" if len(shares) > _LABELS else ""
    return ", ".join(f"{on_one_line(label)} {share:.0%}" for label, share in named) + more


def diff_text(diff: Mapping[str, Any]) -> str:
    """Returns what changed between two versions, one paragraph per task."""
    parts = [f"from {diff['old']} to {diff['new']}"]
    for name, task in diff["tasks"].items():
        lines = [
            f"{name}: {number_of(len(task['came']), 'row')} added, {len(task['went'])} removed, "
            f"{len(task['changed'])} with a changed answer, {len(task['moved'])} moved to another side"
        ]
        for kind, verb in (("came", "added"), ("went", "removed")):
            if task[kind]:
                counts = ", ".join(f"{on_one_line(label)}: {n}" for label, n in task[f"{kind}_by_label"].items())
                lines.append(f"  {verb}: {counts or joined(task[kind])}")
        if task["edited"]:
            pairs = joined([f"{old} -> {new}" for old, new in task["edited"]])
            lines.append(f"  {len(task['edited'])} edited only in letter case, letter width or white space: {pairs}")
        if task["changed"]:
            lines.append(f"  changed: {joined([f'{old} -> {new}' for old, new in task['changed']])}")
        if task["moved"]:
            lines.append(f"  moved: {joined([f'{row} {sides}' for row, sides in task['moved'].items()])}")
        lines += [f"  {shift['sentence']}" for shift in task["shifts"]]
        parts.append("\n".join(lines))
    for kind, where in (("new_tasks", diff["old"]), ("old_tasks", diff["new"])):
        if diff[kind]:
            parts.append(
                f"not in {where}, and therefore not compared: task {joined(diff[kind])} (a renamed task counts as new)"
            )
    return "\n\n".join(parts)


def uses_text(uses: Mapping[str, Any]) -> str:
    """Returns where a row was used, or what was removed with it."""
    is_done = "objects" in uses
    verb = "removed" if is_done else "used in"
    lines = [
        f"{verb}: versions of the rows: {joined(uses['versions'])}",
        f"{verb}: attempts: {joined([a[:12] for a in uses['attempts']])}",
        f"{verb}: predictions: {len(uses['scored'])}",
        f"{verb}: registered versions: {joined(uses['adapters'])}",
    ]
    if uses["champions"]:
        text = "lost its champion" if is_done else "would lose its champion"
        effect = "`rungwise predict` fails until `rungwise run` promotes another version"
        lines += [f"warning: task {task} {text}: {effect}" for task in uses["champions"]]
    if uses["children"]:
        lines.append(f"warning: rows made from it are still in data/raw: {joined(uses['children'])}; delete them there")
    if uses["unseen"]:
        names = joined(uses["unseen"])
        lines.append(
            f"warning: not checked: {names}, whose rows are not in DVC's cache (`rungwise data pull` fetches them)"
        )
    if is_done:
        lines += [
            f"warning: files outside the workspace were not removed, delete them there: {place}"
            for place in uses["left"]
        ]
        lines.append(
            f"removed {number_of(uses['objects'], 'object')} from DVC's cache and "
            f"{number_of(uses['runs'], 'run')} from the registry"
        )
        lines.append(
            "git's history still has what was committed, and a remote still has its copies (see `dvc gc --cloud`)"
        )
    else:
        where = f"still in data/raw: {joined(uses['raw'])}; delete it there first. " if uses["raw"] else ""
        lines.append(f"{where}`--purge` removes what is listed; git's history still has a row that was committed")
    return "\n".join(lines)


def prune_text(result: Mapping[str, Any]) -> str:
    """Returns what pruning removed, and why it did not remove more."""
    summary = (
        f"removed: {joined(result['dropped'])}; kept: {joined(result['kept'])}; "
        f"{number_of(result['objects'], 'object')} deleted"
    )
    reasons = [
        f"{version} is kept: {joined(by)} in the registry was trained on it" for version, by in result["named"].items()
    ]
    if not result["dropped"] and not reasons:
        reasons = [f"only {number_of(len(result['kept']), 'version', 'exists', 'exist')}, not more than --keep"]
    return "\n".join([summary, *reasons])
