"""Makes a workspace from a file of rows: guesses the format, metric, bar and rungs, and returns its reasons.

All guesses are written to params.yaml, where a person can correct them. Nothing is trained and no file is overwritten.
If the rows can't be used, no file is written.
"""

import math
import shlex
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from rungwise.config import IngestSettings, Settings, SplitSettings, ValidateSettings, parse
from rungwise.core.disk import disk_errors
from rungwise.core.errors import DataError, Problem, WorkspaceError
from rungwise.core.folders import joined
from rungwise.core.recipes import STAGES
from rungwise.core.texts import normalised, number_of
from rungwise.dataset.answer_cells import items_in
from rungwise.dataset.readers import Cell, list_in, text_of
from rungwise.init import label_words
from rungwise.init.answers import Cleaned, cleaned, common_ends
from rungwise.init.columns import Columns
from rungwise.init.file_form import Options
from rungwise.init.guess import Guess, guess, is_answer, of_columns_with_texts
from rungwise.init.ladder import Ladder, ladder_of
from rungwise.init.names import check_task, names_of
from rungwise.init.params_file import params_text
from rungwise.init.rows_file import EVALUATION_SHARE, MIN_ROWS, RowsFile, read_rows_file, without_repeated
from rungwise.init.training import training
from rungwise.init.warnings import (
    is_too_long,
    language_warnings,
    length_warnings,
    repeated_warnings,
    row_warnings,
    tokenizer_folders,
    unseen_warnings,
)
from rungwise.workspace.dvc import init_repository
from rungwise.workspace.layout import Paths
from rungwise.workspace.refusals import write_refusals
from rungwise.workspace.resources import package_file

IGNORED = ".rungwise/\n.prefect/\nmlflow.db*\nmlartifacts/\ndvc_plots/\n"
IGNORED_DATA = "".join(f"/{name}\n" for name in (*STAGES, "attempts")) + ".*.part\n.*.old\n"
DUPLICATES = 0.95
"""The sides of the split are counted without duplicates if fewer than this share of the rows differ."""
LEAST_EVALUATION_ROWS = 45
"""Rows that are split off at least if there are three times as many: chance makes a side smaller, and `min_scored`
requires 30."""
MAX_VALIDATION_ROWS, MAX_TEST_ROWS = 1000, 2000
"""Upper bounds of the rows that are split off: every rung is scored on them, and more rows narrow the intervals
little."""


def init(
    target: Path,
    file: Path | Sequence[Path],
    text: str | None = None,
    answer: str | None = None,
    *,
    records: str | None = None,
    test: Path | None = None,
    test_records: str | None = None,
    dev: Path | None = None,
    dev_records: str | None = None,
    bases: Sequence[str] = (),
    ladder: str | None = None,
    encoding: str | None = None,
    has_header: bool | None = None,
    task: str | None = None,
) -> list[str]:
    """Makes a workspace in `target`; returns the guesses, their reasons and warnings, one sentence per line.

    Args:
        target: the folder; it is created if it does not exist.
        file: the rows: a file, a folder, a pattern such as `rows/*.csv`, or several of them.
        text: the column that the model reads; guessed by default.
        answer: the column with the right answers; guessed by default.
        records: where the rows are in a JSON file (see `SourceSettings.records`); found out by default.
        test: test rows, if the user has split the rows.
        test_records: where they are in a JSON file; without `test`, in `file`.
        dev: validation rows, if the user has split the rows.
        dev_records: where they are in a JSON file; without `dev`, in `file`.
        bases: folders, GGUF files, hub names or embedded bases for the prompt and LoRA rungs, smallest first. By
            default SmolLM2-135M.
        ladder: the name of a preset, instead of `bases`.
        encoding: the text encoding of all files; found out by default.
        has_header: whether the first row of a table (CSV, lists of cells) has the column names; found out by default.
        task: the task's name; by default from the answer column or the folder.

    Raises:
        RungwiseError: the rows can't be used, or the folder can't become a workspace.
    """
    _check_target(target)
    check_task(task)
    given = [file] if isinstance(file, Path) else list(file)
    options = Options(text, answer, encoding=encoding, has_header=has_header)
    files: list[RowsFile] = []
    for number, path in enumerate(given):
        name = "rows" if number == 0 else f"rows-{number + 1}"
        files.append(read_rows_file(name, path, options if number == 0 else _like(files[0], options), records, files))
    options = _like(files[0], options)
    own = _own_sides({"dev": (dev, dev_records), "test": (test, test_records)}, given[0], options, files)
    references = tuple(dict.fromkeys(name for one in (*files, *own.values()) for name in one.others))
    read = [row for one in files for row in one.rows]
    answers = cleaned(read, [row for one in own.values() for row in one.rows])
    any_of = files[0].columns.are_spans or _are_questions(files[0], answers.rows)
    others = [answer for one in own.values() for _, answer in answers.applied(one.rows)]
    form = partial(_form, replace(files[0].columns, others=references), others=others, any_of=any_of)
    guessed = form(answers.rows)
    if ends := _common_ends(guessed, [answer for _, answer in answers.rows]):
        answers = replace(answers, strip=(*answers.strip, *ends))
        answers = replace(answers, rows=answers.applied(read))
        guessed = form(answers.rows)
    sides = {side: answers.applied(one.rows) for side, one in own.items()}
    _check_answered(sides, own)
    n_answered = sum(map(len, (answers.rows, *sides.values())))
    usable, sides = _usable(guessed, answers.rows), {side: _usable(guessed, one) for side, one in sides.items()}
    files = [_with_all(one, references) for one in (*files, *own.values())]
    answers = replace(answers, rows=without_repeated(usable, sides))
    n_usable, n_removed = len(usable) + sum(map(len, sides.values())), len(usable) - len(answers.rows)
    n_different = _different(answers.rows, joined([str(path) for path in given]))
    if guessed.any_of or guessed.others:
        answers = _of_first(answers)
    rows, n = answers.rows, len(answers.rows)
    n_split = n_different if n_different < DUPLICATES * n else n  # a run drops the duplicates before it splits
    counts = {side: len(sides[side]) if side in sides else _evaluation_rows(n_split, side) for side in ("dev", "test")}
    shares = {side: counts[side] / n_split for side in counts if side not in sides}
    rungs = ladder_of(bases, ladder, guessed.format)
    n_train = n_split - sum(counts[side] for side in shares)
    trained = training(n_train, rungs.bases)
    labelled = [(text, text_of(answer)) for text, answer in rows] if guessed.format == "label" else []
    words = label_words.proposed(labelled)
    plain = [(text, text_of(answer)) for text, answer in rows]
    limits = _limits(files, sum(len(one.rows) for one in files) - n_usable, counts)
    limits |= _rejected_later(plain, labelled) | _removed_later(n_removed, len(usable))
    more = answers.setting + label_words.setting(words)
    names = names_of(target, files[0], task)
    params = params_text(files, guessed, rungs, shares, trained, more, limits, names)
    settings = _checked(params)
    _write(target, params, {stored: path for one in files for stored, path in one.files.items()})
    folders = tokenizer_folders([rung.base for rung in settings.ladder if rung.base])
    return [
        _sides(n, n_split, joined([one.description for one in files[: len(given)]]), counts, files, sides),
        *dict.fromkeys(sentence for one in files for sentence in one.notes),
        *files[0].columns.sentences,
        f"Format {guessed.format}: {guessed.why}. The model {_FAMILIES[guessed.family]}. Metric: {guessed.metric}.",
        f"The task is called {names.task}; --task names it.",
        f"The bar {guessed.bar:g} is a guess. Under `bars`, write the score that is good enough for your users.",
        *answers.sentences,
        *_incomplete(n_answered - n_usable),
        *label_words.sentences(words),
        rungs.sentence,
        trained.sentence,
        *row_warnings(files, plain, guessed, counts, limits),
        *repeated_warnings(n_removed, usable, sides, limits),
        *unseen_warnings(guessed, settings.tasks[names.task].answer, rows, sides),
        *language_warnings([text for text, _ in plain], folders),
        *length_warnings(plain, folders),
        f"All settings are in {target / 'params.yaml'}. Next: {_next_command(target, rungs)}",
    ]


def _with_all(file: RowsFile, others: Sequence[str]) -> RowsFile:
    """Returns a file with every column of further right answers; for a missing one, the answer column is read again."""
    title = file.source.columns.get(file.answer, file.answer)
    missing = {name: title for name in others if name not in file.others}
    source = file.source.model_copy(update={"columns": {**file.source.columns, **missing}})
    return replace(file, source=source)


def _like(file: RowsFile, options: Options) -> Options:
    """Returns how further files are read: with the columns of the first."""
    finds_others = options.answer is None and not file.columns.one_hot
    texts, answer = ",".join(file.columns.texts), file.columns.answer
    return replace(options, text=texts, answer=answer, others=file.others, finds_others=finds_others)


def _of_first(answers: Cleaned) -> Cleaned:
    """Returns the rows with the first of their right answers, cleaned again."""
    first = cleaned([(text, _first(answer)) for text, answer in answers.rows])
    return replace(first, strip=tuple(dict.fromkeys([*answers.strip, *first.strip])))


def _form(columns: Columns, rows: Sequence[tuple[str, Cell]], *, others: Sequence[Cell], any_of: bool) -> Guess:
    """Returns the format of the answers; those in several columns are texts. `others`: see `guess`."""
    answers = [answer for _, answer in rows]
    if columns.others:
        guess([_first(answer) for answer in answers])  # refuses answers that are all equal
        return of_columns_with_texts(columns.answer, columns.others, are_lists=columns.are_lists)
    return guess(answers, columns.one_hot, any_of=any_of, others=others)


def _are_questions(file: RowsFile, rows: Sequence[tuple[str, Cell]]) -> bool:
    """Whether the rows are questions with a column of answers, so that a list holds alternative right answers."""
    is_named = file.answer.lower() in ("answer", "answers", "aliases")
    return is_named and sum(text.rstrip().endswith(("?", "？")) for text, _ in rows) > len(rows) / 2


def _incomplete(n: int) -> list[str]:
    """Returns a warning of `n` answers that the format does not allow."""
    if not n:
        return []
    return [f"Warning: {number_of(n, 'answer', 'is', 'are')} empty, or without a field that others have: left out."]


def _own_sides(
    given: Mapping[str, tuple[Path | None, str | None]], file: Path, options: Options, files: Sequence[RowsFile]
) -> dict[str, RowsFile]:
    """Returns the user's own validation and test rows; `given`: side -> its file and where its rows are.

    Without a file they are in that of the training rows, at another place.
    """
    own: dict[str, RowsFile] = {}
    for side, (path, records) in given.items():
        if path or records:
            own[side] = read_rows_file(f"{side}-rows", path or file, options, records, [*files, *own.values()])
    return own


def _common_ends(guessed: Guess, answers: Sequence[Cell]) -> tuple[str, ...]:
    """Returns what all labels, or all items of lists, begin and end with and what is not a part of their names."""
    if guessed.format == "label":
        return common_ends([text_of(answer) for answer in answers])
    if guessed.format != "list" or guessed.one_hot:
        return ()
    return common_ends([item for answer in answers for item in items_in(answer, guessed.separator)])


def _check_answered(sides: Mapping[str, Sequence[object]], files: Mapping[str, RowsFile]) -> None:
    """Raises DataError if none of the user's own validation or test rows has an answer."""
    for side, rows in sides.items():
        if not rows:
            raise DataError(
                Problem(
                    "none of these rows has an answer",
                    where=files[side].title,
                    found=f"{number_of(files[side].n, 'row')}, whose answers say that there is none",
                    wanted="rows with the right answers: a score compares with them",
                    do=f"leave out --{side}: a part of the rows is then set apart",
                )
            )


def _different(rows: Sequence[tuple[str, Cell]], where: str) -> int:
    """Returns how many rows differ: a run drops duplicates; raises DataError for too few."""
    n = len({(normalised(text), normalised(text_of(answer))) for text, answer in rows})
    if n < MIN_ROWS:
        raise DataError(
            Problem(
                "too few rows are different",
                where=where,
                found=f"{n} different ones of {len(rows)}; a run drops the duplicates",
                wanted=f"{MIN_ROWS} different rows",
                do="choose the column with the texts: --text COLUMN; or collect more rows",
            )
        )
    return n


def _usable(guessed: Guess, rows: Sequence[tuple[str, Cell]]) -> list[tuple[str, Cell]]:
    """Returns the rows whose answers have what the format requires."""
    return [row for row in rows if is_answer(guessed, row[1])]


def _first(answer: Cell) -> Cell:
    """Returns the first of several right answers, which the model learns."""
    return next(iter(answer), "") if isinstance(answer, tuple) else next(iter(list_in(answer or "") or [answer]), "")


def _evaluation_rows(n: int, side: str) -> int:
    """Returns how many of `n` rows are split off for validation or test."""
    most = {"dev": MAX_VALIDATION_ROWS, "test": MAX_TEST_ROWS}[side]
    return min(max(round(EVALUATION_SHARE * n), LEAST_EVALUATION_ROWS), n // 3, most)


def _limits(files: Sequence[RowsFile], n_without: int, counts: Mapping[str, int]) -> dict[str, float]:
    """Returns the settings, by dotted name, without which a run would refuse these rows."""
    limits: dict[str, float] = {}
    n = sum(one.n for one in files)
    share = (n_without + sum(one.n - len(one.rows) for one in files)) / n
    if share > IngestSettings.model_fields["max_rejected_share"].default:
        limits["ingest.max_rejected_share"] = min(1.0, math.ceil(share * 20 + 1) / 20)
    for section, side in (("decide", "dev"), ("promote", "test")):
        if counts[side] < LEAST_EVALUATION_ROWS:
            limits[f"{section}.min_scored"] = max(1, counts[side] // 2)
    return limits


def _rejected_later(rows: Sequence[tuple[str, str]], labelled: Sequence[tuple[str, str]]) -> dict[str, float]:
    """Returns the setting without which `validate` would stop because it rejects too many of these rows.

    `labelled`: the rows of a task with labels.
    """
    usual, counts = ValidateSettings(), Counter(label for _, label in labelled)
    n = sum(is_too_long(text, answer) or 0 < counts[answer] < usual.min_rows_per_label for text, answer in rows)
    if n <= usual.max_rejected_share * len(rows):
        return {}
    return {"validate.max_rejected_share": min(1.0, math.ceil(n / len(rows) * 20 + 1) / 20)}


def _removed_later(n_removed: int, n: int) -> dict[str, float]:
    """Returns the setting without which `split` would stop, if `n_removed` of `n` rows repeat held-out rows."""
    if n_removed <= SplitSettings.model_fields["max_leaked_share"].default * n:
        return {}
    return {"split.max_leaked_share": min(1.0, math.ceil(n_removed / n * 20 + 1) / 20)}


_FAMILIES = {
    "extract": "finds the answer in the text (extract)",
    "expand": "writes the answer (expand)",
    "combined": "finds and writes several answers at once (combined)",
}


def _next_command(target: Path, ladder: Ladder) -> str:
    return f"cd {shlex.quote(str(target))} && {'' if ladder.is_pinned else 'rungwise pin && '}rungwise run"


def _sides(
    n: int,
    n_split: int,
    title: str,
    counts: Mapping[str, int],
    files: Sequence[RowsFile],
    sides: Mapping[str, Sequence[object]],
) -> str:
    """Returns how many rows are for training, validation and test; `sides`: side -> its rows, if it has its own."""
    names = {"dev": "validation", "test": "test"}
    taken = [f"about {counts[side]:,} for {name}" for side, name in names.items() if side not in sides]
    n_train = n_split - sum(counts[side] for side in names if side not in sides)
    duplicates = f", of which a run drops {number_of(n - n_split, 'duplicate')}" if n_split < n else ""
    sentence = (
        f"{number_of(n, 'row')} in {title}{duplicates}: {', '.join([f'about {n_train:,} for training', *taken])}."
    )
    if not taken:
        sentence = f"{number_of(n, 'training row')} in {title}."
    titles = {str(one.source.role): one.description for one in files}
    others = [f"{number_of(counts[side], f'{names[side]} row')} in {titles[side]}." for side in names if side in sides]
    return " ".join([sentence, *others])


def _check_target(target: Path) -> None:
    if (target / "params.yaml").exists() or (target / "dvc.yaml").exists():
        raise WorkspaceError(
            Problem(
                "the folder already has a workspace or a DVC pipeline",
                where=str(target),
                do="add tasks and sources to its params.yaml, or choose another folder",
            )
        )
    for parent in target.resolve().parents:
        if (parent / "params.yaml").is_file() and (parent / "dvc.yaml").is_file():
            raise WorkspaceError(
                Problem(
                    "a workspace can't be inside another one",
                    where=str(target),
                    found=f"a workspace in {parent}",
                    do="choose a folder outside it",
                )
            )
    for folder in (target, target / "data", target / "data" / "raw"):
        if folder.exists() and not folder.is_dir():
            do = "move the file, or choose another folder"
            raise WorkspaceError(Problem("a file is where the workspace needs a folder", where=str(folder), do=do))


def _checked(params: str) -> Settings:
    """Returns the settings of the new params.yaml; raises SettingsError."""
    from ruamel.yaml import YAML

    return parse(YAML(typ="safe").load(params), "the new params.yaml")


@disk_errors()
def _write(target: Path, params: str, files: Mapping[str, Path]) -> None:
    """Writes each file under a temporary name and renames it into place, params.yaml last."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".init-") as temporary:
        part = Path(temporary)
        raw = target / "data" / "raw"
        raw.mkdir(parents=True, exist_ok=True)
        for name, file in files.items():
            if (raw / name).exists() and (raw / name).read_bytes() != file.read_bytes():
                raise WorkspaceError(
                    Problem(
                        "data/raw already has another file of this name",
                        where=str(raw / name),
                        do="rename one of the two",
                    )
                )
        for name, file in files.items():
            if not (raw / name).exists():
                (raw / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, part / "copied")
                (part / "copied").rename(raw / name)
        for name, text in ((".gitignore", IGNORED), ("data/.gitignore", IGNORED_DATA)):
            if not (target / name).exists():
                (part / "ignored").write_text(text, encoding="utf-8")
                (part / "ignored").rename(target / name)
        try:
            init_repository(target)
        except (OSError, subprocess.CalledProcessError) as error:
            raise WorkspaceError(Problem("git or DVC can't be set up", where=str(target), found=str(error))) from None
        write_refusals(Paths(target).refusals, ())
        shutil.copy(package_file("init", "graph.yaml"), part / "dvc.yaml")
        (part / "dvc.yaml").rename(target / "dvc.yaml")
        (part / "params.yaml").write_text(params, encoding="utf-8")
        (part / "params.yaml").rename(target / "params.yaml")
