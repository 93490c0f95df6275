"""What `rungwise data` says on a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.folders import joined
from components.history import counts_of, top_labels


def log_text(found: Sequence[Mapping[str, Any]]) -> str:
    """Returns the accepted versions, the newest first."""
    if not found:
        return "no version of the rows was accepted yet: `rungwise run` does it"
    parts = []
    for line in reversed(found):
        lines = [f"{line['data_version']}  {line['when']}  {counts_of(line)}"]
        for task, shares in line["labels"].items():
            if shares:
                lines.append(f"  {task}: {top_labels(shares)}")
        for task, moved in line["drift"].items():
            lines += [f"  careful: {task}: {shift['sentence']}" for shift in moved if shift["is_over"]]
        parts.append("\n".join(lines))
    return "\n".join(parts)


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
        if task["changed"]:
            lines.append(f"  changed: {joined([f'{old} -> {new}' for old, new in task['changed']])}")
        if task["moved"]:
            lines.append(f"  moved: {joined([f'{row} {sides}' for row, sides in task['moved'].items()])}")
        lines += [f"  {shift['sentence']}" for shift in task["shifts"]]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def uses_text(found: Mapping[str, Any]) -> str:
    """Returns what a row was used for, or what was removed of it."""
    verb = "removed" if "objects" in found else "used in"
    lines = [
        f"{verb}: versions of the rows: {joined(found['versions'])}",
        f"{verb}: attempts: {joined([a[:12] for a in found['attempts']])}",
        f"{verb}: predictions: {len(found['scored'])}",
        f"{verb}: registered versions: {joined(found['adapters'])}",
    ]
    if "objects" in found:
        lines.append(f"{found['objects']} objects went from DVC's cache; a remote keeps its copies (`dvc gc --cloud`)")
    else:
        where = f"still in data/raw: {joined(found['raw'])}; delete it there first. " if found["raw"] else ""
        lines.append(f"{where}`--purge` removes what is listed")
    return "\n".join(lines)


def prune_text(found: Mapping[str, Any]) -> str:
    """Returns what pruning removed."""
    return f"dropped: {joined(found['dropped'])}; kept: {joined(found['kept'])}; {found['objects']} objects went"
