"""Reads what annotation tools export: Label Studio's tasks as plain columns, and Prodigy's decisions.

The forms: https://labelstud.io/guide/task_format, https://labelstud.io/guide/export (JSON-MIN) and
https://prodi.gy/docs/api-interfaces.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from rungwise.dataset.readers.cells import Cell, as_cell, object_in

DECISIONS: Final = ("accept", "reject", "ignore")
"""What Prodigy writes into `answer`."""
_LISTS: Final = ("choices", "taxonomy")
"""Kinds of Label Studio's labels of which a row can have several."""


def with_plain_columns(row: dict[str, Any]) -> dict[str, Any]:
    """Returns a row of Label Studio with a column for each key of its data and for each label; others unchanged."""
    if (task := columns_of_task(row)) is not None:
        return {**row, **task}
    if is_label_studio(row):
        return {name: _labels(value) for name, value in row.items()}
    return row


def is_label_studio(columns: Collection[str]) -> bool:
    """Whether columns are those of Label Studio's JSON-MIN and CSV files."""
    return "annotation_id" in columns and "lead_time" in columns


def columns_of_task(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the keys of a Label Studio task's data, and its labels by their names; None for other objects.

    Labels and taxonomies are lists; a text, a number or a date is the value itself. What marks a part of a text is a
    list of objects with `start` and `end`.
    """
    data, annotations = row.get("data"), row.get("annotations")
    if not isinstance(data, dict) or not isinstance(annotations, list) or not all(map(_is_annotation, annotations)):
        return None
    if not annotations and "predictions" not in row:
        return None
    values: dict[str, list[Any]] = {}
    kinds: dict[str, str] = {}
    for result in next(iter(finished(annotations)), {}).get("result", []):
        name, kind, value = (result.get(key) for key in ("from_name", "type", "value"))
        if not isinstance(name, str) or not isinstance(kind, str) or not isinstance(value, dict):
            continue  # such as a relation between two parts
        content = value if "start" in value else value.get("text" if kind == "textarea" else kind)
        values.setdefault(name, []).extend(content if isinstance(content, list) else [content])
        kinds[name] = kind
    single = {
        name
        for name, items in values.items()
        if len(items) == 1 and not (kinds[name] in _LISTS or isinstance(items[0], dict))
    }
    return {**data, **{name: items[0] if name in single else items for name, items in values.items()}}


def finished(annotations: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Returns the annotations of a task that say something and were not cancelled, the ground truth first."""
    done = [one for one in annotations if one["result"] and not one.get("was_cancelled")]
    return sorted(done, key=lambda one: not one.get("ground_truth"))


def _is_annotation(value: Any) -> bool:
    results = value.get("result") if isinstance(value, dict) else None
    return isinstance(results, list) and all(isinstance(result, dict) for result in results)


def labels_in(text: str) -> Cell:
    """Returns the labels of a cell as Label Studio's CSV files write several of them; other texts unchanged."""
    labels = _labels(object_in(text)) if text.startswith('{"') else None
    return as_cell(labels) if isinstance(labels, list) else text


def _labels(value: Any) -> Any:
    """Returns the labels of a cell as JSON-MIN writes several of them; other values unchanged."""
    is_several = isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _LISTS
    return next(iter(value.values())) if is_several else value


def why_undecided(row: Mapping[str, Any], names: Collection[str]) -> str:
    """Returns why a row of Prodigy has no label; empty if it has one, and for rows of other tools.

    A label counts only if it was accepted; where the decision itself is read (`answer` in `names`), a rejection counts.
    """
    if "_task_hash" not in row or row.get("answer") not in DECISIONS:
        return ""
    if (
        row.get("accept") == []
        and isinstance(config := row.get("config"), dict)
        and config.get("choice_style") == "single"
    ):
        return "Prodigy's `accept` is empty, and one label was to be chosen"
    counted = DECISIONS[:2] if "answer" in names else DECISIONS[:1]
    return "" if row["answer"] in counted else f"Prodigy's `answer` is {row['answer']}"
