"""Fulfils a data request in a workspace: a generator's rows into data/raw, or an empty table for annotators."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.config import AugmentSettings, Settings, TaskSettings, augment_field, base_named
from components.dataset.redact import redactor
from components.errors import SettingsError, problem
from components.folders import joined, open_sealed, replace_text
from components.generating.generate import DataRequest, Generated, Generator, generate, request_of
from components.layout import Paths, settings_of
from components.prompts import slots
from components.records import canonical_json, derive_seed
from components.table import Table
from components.workspace import LineProgress


def fulfil(
    root: Path, task: str, base: str | None, wanted: Mapping[str, int], export: Path | None = None
) -> dict[str, Any]:
    """Makes the rows that are wanted; returns what was kept, what was dropped and why, and where the rows are.

    `base`: a folder or hub name of a local model; None: the server of `augment.endpoint`. `wanted`: label, or value
    of `augment.slice` -> rows; empty: as many as `augment` asks for. `export`: a CSV file to write in place of asking
    anybody.

    Raises:
        RungwiseError: there is no such task or label, its answers are no labels, its rows are not split yet, nothing is
            wanted, or the generator can't be used.
    """
    settings = settings_of(root)
    one, field = _task(settings, task)
    folder = open_sealed(Paths(root).output("split"), "split")
    train, dev, test = (Table.read(folder / task / f"{side}.jsonl") for side in ("train", "dev", "test"))
    request = _request(settings.augment, task, train, wanted)
    told = {"task": task, "wanted": dict(request.wanted), "why": request.why}
    if export is not None:
        _write_empty(export, one, request)
        return {**told, "file": str(export)}
    result = generate(
        settings.augment.generate,
        request,
        field,
        train,
        Table.of((*dev, *test)),
        _generator(settings.augment, root, task, field, base),
        seed=derive_seed(settings.seed, "generate", task),
        redact=redactor(("email", "phone", "card"), settings.ingest.region),
        show=LineProgress(f"generate {task}"),
    )
    path = Paths(root).raw / f"generated-{task}.jsonl"
    if result.drafts:
        # what an earlier request brought stays; the same request again brings the same lines
        before = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        lines = dict.fromkeys([*before, *_lines(one, field, train, result)])
        replace_text(path, "".join(f"{line}\n" for line in lines))
    return {
        **told,
        "rows": len(result.drafts),
        "rejected": dict(result.rejected),
        "missing": dict(result.missing),
        "note": result.note,
        "file": str(path) if result.drafts else None,
        "source": f"- {{name: generated-{task}, path: {path.name}, parents: parents}}",
    }


def _task(settings: Settings, task: str) -> tuple[TaskSettings, str]:
    """Returns the task and the slot that is written anew."""
    if task not in settings.tasks:
        found, names = task[:60], joined(settings.tasks)
        raise SettingsError(problem("there is no such task", where="params.yaml: tasks", found=found, wanted=names))
    one = settings.tasks[task]
    field = augment_field(settings.augment, one)
    if one.answer.format != "label" or field is None:
        raise SettingsError(
            problem(
                "rows can't be generated for this task",
                where=f"task {task}",
                found=f"answers of format {one.answer.format}, slots {joined(slots(one.prompt))}",
                wanted="answers that are labels, and one slot (or `augment.field`)",
            )
        )
    return one, field


def _request(augment: AugmentSettings, task: str, train: Table, wanted: Mapping[str, int]) -> DataRequest:
    request = DataRequest(task, dict(wanted), "asked for by hand", augment.slice)
    names = sorted(set(request.columns(train)))
    for name, n in wanted.items():
        if name not in names or n < 1:
            found, known = f"{name[:60]}: {n}", f"a number of rows for one of {joined(names)}"
            raise SettingsError(problem("no such rows can be wanted", found=found, wanted=known))
    request = request if wanted else request_of(augment, task, train)
    if not request.wanted:
        raise SettingsError(
            problem(
                "no rows are wanted",
                where="params.yaml: augment",
                found=f"per_label: {augment.per_label}",
                wanted="a number that some label or slice falls short of, or --label LABEL --rows N",
            )
        )
    return request


def _generator(augment: AugmentSettings, root: Path, task: str, field: str, base: str | None) -> Generator:
    if base is not None:
        from components.generating.local import LocalModel

        try:
            named = base_named(base)
        except ValueError as error:
            found, wanted = base[:80], str(error)
            raise SettingsError(problem("a base can't be used", where="--base", found=found, wanted=wanted)) from None
        return LocalModel(augment.generate, field, named, root)
    if augment.endpoint is not None:
        from components.generating.endpoint import Endpoint

        return Endpoint(augment.endpoint, field, root / ".rungwise" / "generate" / f"{task}.jsonl")
    raise SettingsError(problem("there is nobody to ask", wanted="--base MODEL, or a server in `augment.endpoint`"))


def _write_empty(path: Path, task: TaskSettings, request: DataRequest) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*slots(task.prompt), str(task.answer.column)])
        for name, n in sorted(request.wanted.items()):
            row = [name if slot == request.slice else "" for slot in slots(task.prompt)]
            writer.writerows([[*row, "" if request.slice else name]] * n)


def _lines(task: TaskSettings, field: str, train: Table, result: Generated) -> list[str]:
    """Returns the drafts as JSON lines; a prompt's other slots stay as they were in the first row that was shown."""
    places = {id_: i for i, id_ in enumerate(train.id)}
    return [
        canonical_json(
            {
                **train[places[draft.parents[0]]].fields,
                field: draft.text,
                str(task.answer.column): draft.label,
                "parents": ";".join(draft.parents),
            }
        )
        for draft in result.drafts
    ]
