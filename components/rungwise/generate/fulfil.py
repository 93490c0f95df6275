"""Fulfils a data request in a workspace: writes generated rows into data/raw, or an empty table for annotators.

Reads the settings and the split; returns a summary for the command.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from rungwise.config import (
    AnswerSettings,
    AugmentSettings,
    Settings,
    SplitSettings,
    TaskSettings,
    augment_field,
    base_named,
)
from rungwise.core.errors import ModelError, Problem, SettingsError
from rungwise.core.folders import joined, open_sealed, replace_text
from rungwise.core.progress import LineProgress
from rungwise.core.prompts import slots
from rungwise.core.records import canonical_json, derive_seed
from rungwise.core.table import Table
from rungwise.dataset.redact import redactor
from rungwise.generate.generate import Generated, generate
from rungwise.generate.queries import DataRequest, Generator, request_of
from rungwise.workspace.layout import Paths, settings_of


def fulfil(
    root: Path,
    task: str,
    base: str | None,
    wanted: Mapping[str, int],
    export: Path | None = None,
    *,
    generator: Generator | None = None,
) -> dict[str, Any]:
    """Generates the wanted rows; returns how many were kept, dropped (by reason) and missing, and the file.

    `base`: a folder or hub name of a local model; None: the server of `augment.endpoint`. `wanted`: label, or value
    of `augment.slice` -> rows; empty: as many as `augment` requires. `export`: a new CSV file to write instead of
    using a generator. `generator`: writes the texts in the place of both; its rows are kept by the same filters.

    Raises:
        RungwiseError: the task or label does not exist, its answers are not labels, its rows are not split yet, no rows
            are wanted, or the generator can't be used.
    """
    settings = settings_of(root)
    one, field = _task(settings, task)
    folder = open_sealed(Paths(root).output("split"), "split")
    train, dev, test = (Table.read(folder / task / f"{side}.jsonl") for side in ("train", "dev", "test"))
    request = _request(settings.augment, task, train, wanted)
    summary = {"task": task, "wanted": dict(request.wanted), "why": request.why}
    if export is not None:
        columns = _write_empty(export, one, request, settings.split)
        return {**summary, "file": str(export), "columns": columns}
    generator = generator or _generator(settings.augment, root, task, field, base)
    result = generate(
        settings.augment.generate,
        request,
        field,
        train,
        Table.of((*dev, *test)),
        generator,
        seed=derive_seed(settings.seed, "generate", task),
        redact=redactor(("email", "phone", "card"), settings.ingest.region),
        show=LineProgress(f"generate {task}"),
    )
    path = Paths(root).raw / f"generated-{task}.jsonl"
    before: list[str] = []
    lines: dict[str, None] = {}
    if result.drafts:
        # rows of earlier requests stay; the same request again gives the same lines
        before = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        lines = dict.fromkeys([*before, *_lines(one, field, train, result)])
        replace_text(path, "".join(f"{line}\n" for line in lines))
    return {
        **summary,
        "rows": len(result.drafts),
        "new": len(lines) - len(set(before)),
        "rejected": dict(result.rejected),
        "missing": dict(result.missing),
        "note": result.note,
        "limit": f"{result.limit} (`augment.generate.max_share`)" if result.limit else "",
        "failures": _failures(generator, result),
        "file": str(path) if result.drafts else None,
        "source": f"- {{name: generated-{task}, path: {path.name}, parents: parents}}",
    }


ADVICE: Final = {
    "no_connection": "it can't be reached: check that it runs, and `augment.endpoint.url`",
    "timed_out": "it takes longer than `augment.endpoint.timeout_seconds`",
    "http_429": "it receives too many requests: lower `augment.endpoint.concurrency`",
    "not_json": "it does not answer with a JSON array of texts: try another model",
    "over_context": "rows of this length do not fit into the model's context",
}
"""Code of a failure -> what it means and what to do. Other codes are shown as they are."""


def _failures(generator: Generator, result: Generated) -> str:
    """Returns how many queries failed and what to do about it; empty if none did."""
    if not result.failures:
        return ""
    counts = ", ".join(f"{code}: {n}" for code, n in result.failures.items())
    known = [ADVICE[code] for code in result.failures if code in ADVICE]
    return f"{generator.name} failed ({counts}): {'; '.join(known) or 'see its own log'}"


def _task(settings: Settings, task: str) -> tuple[TaskSettings, str]:
    """Returns the task and the slot that generated texts fill.

    Raises:
        SettingsError: there is no such task, its answers are not labels, or the slot is not unique.
    """
    if task not in settings.tasks:
        found, names = task[:60], joined(settings.tasks)
        raise SettingsError(Problem("there is no such task", where="params.yaml: tasks", found=found, wanted=names))
    one = settings.tasks[task]
    field = augment_field(settings.augment, one)
    if one.answer.format != "label" or field is None:
        raise SettingsError(
            Problem(
                "rows can't be generated for this task",
                where=f"task {task}",
                found=f"answers of format {one.answer.format}, slots {joined(slots(one.prompt))}",
                wanted="answers that are labels, and one slot (or `augment.field`)",
            )
        )
    return one, field


def _request(augment: AugmentSettings, task: str, train: Table, wanted: Mapping[str, int]) -> DataRequest:
    """Returns the request for the wanted rows, or for those that `augment` requires.

    Raises:
        SettingsError: a label does not exist, or no rows are wanted.
    """
    request = DataRequest(task, dict(wanted), "requested by command", augment.slice)
    names = sorted(set(request.columns(train)))
    for name, n in wanted.items():
        if name not in names or n < 1:
            found, known = f"{name[:60]}: {n}", f"a number of rows for one of {joined(names)}"
            raise SettingsError(Problem("these rows can't be generated", found=found, wanted=known))
    request = request if wanted else request_of(augment, task, train)
    if not request.wanted:
        raise SettingsError(
            Problem(
                "no rows are wanted",
                where="params.yaml: augment",
                found=f"per_label: {augment.per_label}",
                wanted="a number above the rows of some label or slice, or --label LABEL --rows N",
            )
        )
    return request


def _generator(augment: AugmentSettings, root: Path, task: str, field: str, base: str | None) -> Generator:
    """Returns the local model or the endpoint.

    Raises:
        RungwiseError: neither is given, or it can't be used.
    """
    if base is not None:
        from rungwise.generate.local import LocalModel

        try:
            named = base_named(base)
        except ValueError as error:
            found, wanted = base[:80], str(error)
            raise SettingsError(Problem("a base can't be used", where="--base", found=found, wanted=wanted)) from None
        try:
            return LocalModel(augment.generate, field, named, root)
        except ModelError as error:  # its message is about a rung, but here the option names the base
            do = "correct `--base`" if error.problem.setting == "base" else error.problem.do
            raise ModelError(replace(error.problem, where=f"--base {named}", do=do)) from None
    if augment.endpoint is not None:
        from rungwise.generate.endpoint import Endpoint

        return Endpoint(augment.endpoint, field, root / ".rungwise" / "generate" / f"{task}.jsonl")
    raise SettingsError(Problem("there is no generator", wanted="--base MODEL, or a server in `augment.endpoint`"))


def _write_empty(path: Path, task: TaskSettings, request: DataRequest, split: SplitSettings) -> str:
    """Writes a table with an empty row for each wanted row; returns how to fill its columns for the split.

    Raises:
        SettingsError: the file exists already, or can't be written.
    """
    own = [*slots(task.prompt), *_answer_cells(task.answer, "")]
    unsafe = sorted(name for name in (*own, *request.wanted) if _unrun(name) != name)
    more = [name for name in dict.fromkeys((split.given, split.by_time, split.group)) if name and name not in own]
    try:
        with path.open("x", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow([_unrun(name) for name in (*own, *more)])
            for name, n in sorted(request.wanted.items()):
                row = [_unrun(name) if slot == request.slice else "" for slot in slots(task.prompt)]
                answer = _answer_cells(task.answer, "" if request.slice else name)
                ends = ["train" if column == split.given else "" for column in more]
                writer.writerows([[*row, *map(_unrun, answer.values()), *ends]] * n)
    except OSError as error:
        exists = path.exists()
        raise SettingsError(
            Problem(
                "the table can't be written",
                where=f"--export {path}",
                found="a folder"
                if path.is_dir()
                else "a file that may be filled in"
                if exists
                else str(error.strerror),
                wanted="a new file in an existing folder",
                do="name another file, or move this one away" if exists else "create its folder first",
            )
        ) from None
    meaning = {
        split.given: "holds the row's side, `train` by default",
        split.by_time: "needs a date in each row: the latest rows become test rows and are not trained on",
        split.group: "may stay empty: rows with equal values belong together",
    }
    notes = [f"{name} {meaning[name]}" for name in more]
    if unsafe:
        notes.append(f"{joined(unsafe)}: a spreadsheet would run this; it has ' before it, which you remove at the end")
    return "; ".join(notes)


def _answer_cells(answer: AnswerSettings, label: str) -> dict[str, str]:
    """Returns column -> its cell in a row with this label; empty cells without a label."""
    if answer.one_hot:
        return {name: str(int(name == label)) if label else "" for name in answer.one_hot}
    return {str(answer.column): label}


_FORMULA: Final = re.compile(r"(^|[;\t\r\n])(?=[\s\x00-\x1f\u200b-\u200f\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20])")
"""Where a formula begins: at the start of a cell, or after what a spreadsheet may take for the end of another cell."""


def _unrun(cell: str) -> str:
    """Returns a cell that no spreadsheet runs as a formula (https://owasp.org/www-community/attacks/CSV_Injection)."""
    return cell if re.fullmatch(r"[+-]?\d+([.,]\d+)?%?", cell) else _FORMULA.sub(r"\1'", cell)


def _lines(task: TaskSettings, field: str, train: Table, result: Generated) -> list[str]:
    """Returns the drafts as JSON lines; the prompt's other slots are copied from the first row that was shown."""
    places = {id_: i for i, id_ in enumerate(train.id)}
    return [
        canonical_json(
            {
                **train[places[draft.parents[0]]].fields,
                field: draft.text,
                **_answer_cells(task.answer, draft.label),
                "parents": ";".join(draft.parents),
            }
        )
        for draft in result.drafts
    ]
