"""Makes a workspace from a file of rows: guesses the format, metric, bar and rungs, and returns its reasons.

All guesses are written to params.yaml, where a person can correct them. Nothing is trained and no file is overwritten.
If the rows can't be used, no file is written.
"""

import json
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from rungwise.config import Settings, parse
from rungwise.core.errors import Problem, WorkspaceError
from rungwise.core.recipes import STAGES
from rungwise.init import label_words
from rungwise.init.guess import Guess, Ladder, guess, ladder_of
from rungwise.init.rows_file import EVALUATION_SHARE, RowsFile, read_rows_file
from rungwise.init.training import BATCH_SIZE, Training, training
from rungwise.init.warnings import language_warnings, length_warnings, row_warnings, tokenizer_folders
from rungwise.workspace.dvc import init_repository
from rungwise.workspace.resources import package_file

IGNORED = ".rungwise/\n.prefect/\nmlflow.db*\nmlartifacts/\n"
IGNORED_DATA = "".join(f"/{name}\n" for name in (*STAGES, "attempts")) + ".*.part\n.*.old\n"
MAX_VALIDATION_ROWS, MAX_TEST_ROWS = 1000, 2000
"""Upper bounds of the rows that are split off: every rung is scored on them, and more rows narrow the intervals
little."""


def init(
    target: Path,
    file: Path,
    text: str,
    answer: str,
    *,
    records: str = "[]",
    test: Path | None = None,
    test_records: str | None = None,
    dev: Path | None = None,
    dev_records: str | None = None,
    bases: Sequence[str] = (),
    ladder: str | None = None,
) -> list[str]:
    """Makes a workspace in `target`; returns the guesses, their reasons and warnings, one sentence per line.

    Args:
        target: the folder; it is created if it does not exist.
        file: the rows.
        text: the column that the model reads.
        answer: the column with the right answers.
        records: where the rows are in a JSON file (see `SourceSettings.records`).
        test: a file of test rows, if the user has split the rows.
        test_records: where they are in a JSON file; without `test`, in `file`.
        dev: a file of validation rows, if the user has split the rows.
        dev_records: where they are in a JSON file; without `dev`, in `file`.
        bases: folders, GGUF files, hub names or embedded bases for the prompt and LoRA rungs, smallest first. By
            default SmolLM2-135M.
        ladder: the name of a preset, instead of `bases`.

    Raises:
        RungwiseError: the rows can't be used, or the folder can't become a workspace.
    """
    _check_target(target)
    first = read_rows_file("rows", file, text, answer, records, ())
    files = [first]
    n = len(first.rows)
    counts = {
        "dev": min(round(EVALUATION_SHARE * n), MAX_VALIDATION_ROWS),
        "test": min(round(EVALUATION_SHARE * n), MAX_TEST_ROWS),
    }
    shares = {side: count / n for side, count in counts.items()}
    own_files = {"dev": dev or (file if dev_records else None), "test": test or (file if test_records else None)}
    for side, side_records in (("dev", dev_records), ("test", test_records)):
        if path := own_files[side]:
            files.append(read_rows_file(f"{side}-rows", path, text, answer, side_records or "[]", files))
            counts[side] = len(files[-1].rows)
            del shares[side]
    guessed = guess([answer for _, answer in first.rows])
    rungs = ladder_of(bases, ladder, guessed.format)
    n_train = n - sum(counts[side] for side, path in own_files.items() if not path)
    trained = training(n_train, rungs.bases)
    words = label_words.proposed(first.rows) if guessed.format == "label" else {}
    params = _params(files, guessed, rungs, shares, trained, words)
    settings = _checked(params)
    _write(target, params, {one.stored_name: one.file for one in files})
    folders = tokenizer_folders([rung.base for rung in settings.ladder if rung.base])
    return [
        _sides(n, file, counts, own_files),
        *(
            f"{one.file.name} is not UTF-8 and was read as {one.source.encoding}. Check a row that has an accent."
            for one in files
            if one.source.encoding != "utf-8"
        ),
        f"Format {guessed.format}: {guessed.why}. The model {_FAMILIES[guessed.family]}. Metric: {guessed.metric}.",
        f"The bar {guessed.bar:g} is a guess. Set `target` to the score that is good enough for your users.",
        *label_words.sentences(words),
        rungs.sentence,
        trained.sentence,
        *row_warnings(files, guessed, counts),
        *language_warnings([text for text, _ in first.rows], folders),
        *length_warnings(first.rows, folders),
        f"All settings are in {target / 'params.yaml'}. Next: {_next_command(target, rungs)}",
    ]


_FAMILIES = {"extract": "finds the answer in the text (extract)", "expand": "writes the answer (expand)"}


def _next_command(target: Path, ladder: Ladder) -> str:
    return f"cd {shlex.quote(str(target))} && {'' if ladder.is_pinned else 'rungwise pin && '}rungwise run"


def _sides(n: int, file: Path, counts: Mapping[str, int], own_files: Mapping[str, Path | None]) -> str:
    """Returns how many rows are for training, validation and test; `own_files`: side -> its own file, if it has one."""
    names = {"dev": "validation", "test": "test"}
    taken = [f"about {counts[side]:,} for {names[side]}" for side, path in own_files.items() if not path]
    n_train = n - sum(counts[side] for side, path in own_files.items() if not path)
    sentence = f"{n:,} rows in {file.name}: {', '.join([f'about {n_train:,} for training', *taken])}."
    if not taken:
        sentence = f"{n:,} training rows in {file.name}."
    others = [f"{counts[side]:,} {names[side]} rows in {path.name}." for side, path in own_files.items() if path]
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


def _params(
    files: Sequence[RowsFile],
    guessed: Guess,
    ladder: Ladder,
    shares: Mapping[str, float],
    trained: Training,
    words: Mapping[str, str],
) -> str:
    """Returns the text of params.yaml; `shares`: side -> share of the first file's rows that go to it."""
    first = files[0]
    quoted = json.dumps(first.answer, ensure_ascii=False)
    separator = f", separator: {json.dumps(guessed.separator)}" if guessed.format == "list" else ""
    lines = []
    for one in (file.source for file in files):
        more = f", columns: {json.dumps(one.columns, ensure_ascii=False)}" if one.columns else ""
        more += f", role: {one.role}" if one.role else ""
        more += f", records: {json.dumps(one.records)}" if one.records != "[]" else ""
        more += f", encoding: {one.encoding}" if one.encoding != "utf-8" else ""
        more += f", delimiter: {json.dumps(one.delimiter)}" if one.delimiter else ""
        lines.append(f"    - {{name: {one.name}, path: {json.dumps(one.path, ensure_ascii=False)}{more}}}\n")
    precision = f", precision: {trained.precision}" if trained.speedup is not None else ""
    answer_word = {"label": "Label", "list": "Items", "text": "Answer"}[guessed.format]
    return f"""\
# Guessed from {json.dumps(first.stored_name)}. Correct what is wrong.
seed: 7
tasks:
  task:
    family: {guessed.family}
    prompt: "Text: {{{first.slot}}}\\n{answer_word}:"
    answer: {{column: {quoted}, format: {guessed.format}{separator}{label_words.setting(words)}}}
    metric: {guessed.metric}
    target: {guessed.bar:g}         # a guess: set the score that is good enough for your users
ladder:               # the cheapest first
{ladder.lines}ingest:
  sources:
{"".join(lines)}validate: {{}}
split: {{{", ".join(f"{side}: {share:.2g}" for side, share in shares.items())}}}
augment: {{}}
train: {{steps: {trained.steps}, batch_size: {BATCH_SIZE}{precision}}}   # the learning rate follows from the base
evaluate: {{confidence: 0.95}}
decide: {{}}
register: {{}}
promote: {{}}
"""


def _checked(params: str) -> Settings:
    """Returns the settings of the new params.yaml; raises SettingsError."""
    from ruamel.yaml import YAML

    return parse(YAML(typ="safe").load(params), "the new params.yaml")


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
                shutil.copy(file, part / name)
                (part / name).rename(raw / name)
        for name, text in ((".gitignore", IGNORED), ("data/.gitignore", IGNORED_DATA)):
            if not (target / name).exists():
                (part / "ignored").write_text(text, encoding="utf-8")
                (part / "ignored").rename(target / name)
        try:
            init_repository(target)
        except (OSError, subprocess.CalledProcessError) as error:
            raise WorkspaceError(Problem("git or DVC can't be set up", where=str(target), found=str(error))) from None
        shutil.copy(package_file("init", "graph.yaml"), part / "dvc.yaml")
        (part / "dvc.yaml").rename(target / "dvc.yaml")
        (part / "params.yaml").write_text(params, encoding="utf-8")
        (part / "params.yaml").rename(target / "params.yaml")
