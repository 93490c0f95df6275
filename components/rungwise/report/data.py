"""What `rungwise data` says on a terminal."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rungwise.core.folders import joined
from rungwise.core.records import SIDES

_COUNTED = (*SIDES, "synthetic")
_LABELS = 5
"""So many label shares of a version are shown."""


def log_text(found: Sequence[Mapping[str, Any]]) -> str:
    """Returns the accepted versions, the newest first."""
    if not found:
        return "no version of the rows was accepted yet: `rungwise run` does it"
    parts = []
    for line in reversed(found):
        lines = [f"{line['data_version']}  {line['when']}  {_counts(line)}"]
        for task, shares in line["labels"].items():
            if shares:
                lines.append(f"  {task}: {_top_labels(shares)}")
        for task, moved in line["drift"].items():
            lines += [f"  careful: {task}: {shift['sentence']}" for shift in moved if shift["is_over"]]
        parts.append("\n".join(lines))
    return "\n".join(parts)


def _counts(line: Mapping[str, Any]) -> str:
    """Returns a version's rows in a few words: `route: 900 train, 300 dev, 300 test`."""
    return "; ".join(
        f"{task}: " + ", ".join(f"{sides[side]} {side}" for side in _COUNTED if sides.get(side) or side != "synthetic")
        for task, sides in line["rows"].items()
    )


def _top_labels(shares: Mapping[str, float]) -> str:
    """Returns the largest label shares in a few words."""
    named = Counter(shares).most_common(_LABELS)
    more = f" and {len(shares) - _LABELS} more" if len(shares) > _LABELS else ""
    return ", ".join(f"{label} {share:.0%}" for label, share in named) + more


def diff_text(found: Mapping[str, Any]) -> str:
    """Returns what changed between two versions, a paragraph a task."""
    parts = [f"from {found['old']} to {found['new']}"]
    for name, task in found["tasks"].items():
        lines = [
            f"{name}: {len(task['came'])} rows came, {len(task['went'])} went, "
            f"{len(task['changed'])} changed their answer, {len(task['moved'])} moved to another side"
        ]
        for kind in ("came", "went"):
            if task[kind]:
                counts = ", ".join(f"{label}: {n}" for label, n in task[f"{kind}_by_label"].items())
                lines.append(f"  {kind}: {counts or joined(task[kind])}")
        if task["edited"]:
            pairs = joined([f"{old} -> {new}" for old, new in task["edited"]])
            lines.append(f"  {len(task['edited'])} edited in letters' case, width or spaces alone: {pairs}")
        if task["changed"]:
            lines.append(f"  changed: {joined([f'{old} -> {new}' for old, new in task['changed']])}")
        if task["moved"]:
            lines.append(f"  moved: {joined([f'{row} {sides}' for row, sides in task['moved'].items()])}")
        lines += [f"  {shift['sentence']}" for shift in task["shifts"]]
        parts.append("\n".join(lines))
    for kind, where in (("new_tasks", found["old"]), ("old_tasks", found["new"])):
        if found[kind]:
            parts.append(
                f"not in {where}, so not compared: task {joined(found[kind])} (a task that was renamed is new)"
            )
    return "\n\n".join(parts)


def uses_text(found: Mapping[str, Any]) -> str:
    """Returns what a row was used for, or what was removed of it."""
    is_done = "objects" in found
    verb = "removed" if is_done else "used in"
    lines = [
        f"{verb}: versions of the rows: {joined(found['versions'])}",
        f"{verb}: attempts: {joined([a[:12] for a in found['attempts']])}",
        f"{verb}: predictions: {len(found['scored'])}",
        f"{verb}: registered versions: {joined(found['adapters'])}",
    ]
    if found["champions"]:
        text = "lost its champion" if is_done else "would lose its champion"
        again = "answers nothing until `rungwise run` promotes another"
        lines += [f"careful: task {task} {text}: `rungwise predict` {again}" for task in found["champions"]]
    if found["children"]:
        lines.append(f"careful: rows made from it stay in data/raw: {joined(found['children'])}; delete them there")
    if found["unseen"]:
        names = joined(found["unseen"])
        lines.append(f"careful: not looked at: {names}, whose rows are not in DVC's cache (`rungwise data pull`)")
    if is_done:
        lines += [f"careful: files outside the workspace stay, remove them there: {place}" for place in found["left"]]
        lines.append(f"{found['objects']} objects went from DVC's cache, {found['runs']} runs from the registry")
        lines.append("what was committed stays in git's history, and a remote keeps its copies (`dvc gc --cloud`)")
    else:
        where = f"still among today's rows: {joined(found['raw'])}; delete it there first. " if found["raw"] else ""
        lines.append(f"{where}`--purge` removes what is listed; git's history keeps a row that was committed")
    return "\n".join(lines)


def prune_text(found: Mapping[str, Any]) -> str:
    """Returns what pruning removed, and why no more."""
    told = f"dropped: {joined(found['dropped'])}; kept: {joined(found['kept'])}; {found['objects']} objects went"
    named = [
        f"{version} stays: {joined(by)} in the registry was made from it" for version, by in found["named"].items()
    ]
    if not found["dropped"] and not named:
        named = [f"there are {len(found['kept'])} versions, no more than --keep asks for"]
    return "\n".join([told, *named])
