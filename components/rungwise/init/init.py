"""A workspace of one's own from a file of rows: guesses task, format, metric, bar and rungs, and says why.

Everything guessed stands in params.yaml for a person to correct. Nothing is trained; before anything is, it says
what so many rows can and can't show. Nothing is overwritten, and a file that can't be used leaves nothing behind.
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
from rungwise.init.given import SHARE, Given, given
from rungwise.init.guess import Guess, Ladder, guess, ladder_of
from rungwise.init.warnings import too_long, warnings
from rungwise.workspace.dvc import init_repository
from rungwise.workspace.resources import package_file

IGNORED = ".rungwise/\n.prefect/\nmlflow.db*\nmlartifacts/\n"
IGNORED_DATA = "".join(f"/{name}\n" for name in (*STAGES, "attempts")) + ".*.part\n.*.old\n"
STEER, JUDGE = 1000, 2000
"""About so many rows steer and judge at most: they cost time on every rung, and more show little more."""


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
    """Makes a workspace in `target`; returns what was guessed and what to know, a sentence a line.

    `dev`, `test`: files whose rows steer and judge, as the user split them. `records`, `dev_records`, `test_records`:
    where the rows stand in a JSON file (see `SourceSettings.records`); one without its file is of `file`. `bases`:
    folders or hub names for prompt and LoRA rungs, the smallest first; without them and without `ladder`, a preset's
    name, models that come along.

    Raises:
        RungwiseError: the rows can't be used, or the folder can't become a workspace.
    """
    _check_target(target)
    first = given("rows", file, text, answer, records, ())
    files = [first]
    n = len(first.rows)
    counts = {"dev": min(round(SHARE * n), STEER), "test": min(round(SHARE * n), JUDGE)}
    shares = {side: count / n for side, count in counts.items()}
    sides = {"dev": dev or (file if dev_records else None), "test": test or (file if test_records else None)}
    for side, where in (("dev", dev_records), ("test", test_records)):
        if path := sides[side]:
            files.append(given(f"{side}-rows", path, text, answer, where or "[]", files))
            counts[side] = len(files[-1].rows)
            del shares[side]
    guessed = guess([a for _, a in first.rows])
    rungs = ladder_of(bases, ladder)
    params = _params(files, guessed, rungs, shares)
    settings = _checked(params)
    _write(target, params, {one.stored: one.file for one in files})
    family = {"extract": "reading (extract)", "expand": "writing (expand)"}[guessed.family]
    steps = f"cd {shlex.quote(str(target))} && {'' if rungs.is_pinned else 'rungwise pin && '}rungwise run"
    return [
        _sides(n, file, counts, sides),
        *(f"{one.file.name} is not UTF-8 and was read as {one.source.encoding}: check a row with an accent."
          for one in files if one.source.encoding != "utf-8"),
        f"Format {guessed.format}: {guessed.why}. That is {family}, measured by {guessed.metric}.",
        f"The bar {guessed.bar:g} is a guess: set `target` to what your users would call good enough.",
        rungs.sentence,
        *warnings(files, guessed, counts),
        *too_long(first.rows, [rung.base for rung in settings.ladder if rung.base]),
        f"All of it stands in {target / 'params.yaml'}. Next: {steps}",
    ]  # fmt: skip


def _sides(n: int, file: Path, counts: Mapping[str, int], own: Mapping[str, Path | None]) -> str:
    """Returns how many rows there are and what becomes of them, in a sentence; `own`: side -> its own file."""
    verbs = {"dev": "steer", "test": "judge"}
    told = [f"{n} rows of {file.name}"]
    told += [f"{counts[side]} of {path.name} that {verbs[side]}" for side, path in own.items() if path]
    taken = [f"about {counts[side]} {verbs[side]}" for side, path in own.items() if not path]
    return " and ".join(told) + (f"; of the first {', '.join(taken)}, the others teach." if taken else ".")


def _check_target(target: Path) -> None:
    if (target / "params.yaml").exists() or (target / "dvc.yaml").exists():
        raise WorkspaceError(
            Problem(
                "there is a workspace or a DVC pipeline already",
                where=str(target),
                do="add tasks and sources to its params.yaml by hand, or name another folder",
            )
        )
    for parent in target.resolve().parents:
        if (parent / "params.yaml").is_file() and (parent / "dvc.yaml").is_file():
            raise WorkspaceError(
                Problem(
                    "a workspace can't stand inside another",
                    where=str(target),
                    found=f"a workspace in {parent}",
                    do="name a folder outside of it",
                )
            )
    for folder in (target, target / "data", target / "data" / "raw"):
        if folder.exists() and not folder.is_dir():
            do = "move the file away, or name another folder"
            raise WorkspaceError(Problem("the workspace's place is taken by a file", where=str(folder), do=do))


def _params(files: Sequence[Given], guessed: Guess, ladder: Ladder, shares: Mapping[str, float]) -> str:
    """Returns the text of params.yaml; `files`: the rows to split first; `shares`: side -> share of them."""
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
    asked = {"label": "Label", "list": "Items", "text": "Answer"}[guessed.format]
    return f"""\
# Guessed from {json.dumps(first.stored)}: correct what is wrong.
seed: 7
tasks:
  task:
    family: {guessed.family}
    prompt: "Text: {{{first.slot}}}\\n{asked}:"
    answer: {{column: {quoted}, format: {guessed.format}{separator}}}
    metric: {guessed.metric}
    target: {guessed.bar:g}         # a guess: what would your users call good enough?
ladder:               # cheapest first
{ladder.lines}ingest:
  sources:
{"".join(lines)}validate: {{}}
split: {{{", ".join(f"{side}: {share:.2g}" for side, share in shares.items())}}}
augment: {{}}
train: {{steps: 300, batch_size: 32, learning_rate: 3e-3}}   # large models: learning_rate 2e-4
evaluate: {{confidence: 0.95}}
decide: {{}}
register: {{}}
promote: {{}}
"""


def _checked(params: str) -> Settings:
    """Returns the settings of the params.yaml that is to be written; raises SettingsError."""
    from ruamel.yaml import YAML

    return parse(YAML(typ="safe").load(params), "the params.yaml to be written")


def _write(target: Path, params: str, files: Mapping[str, Path]) -> None:
    """Builds the workspace beside its place and moves its parts there, params.yaml last."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".init-") as temporary:
        part = Path(temporary)
        raw = target / "data" / "raw"
        raw.mkdir(parents=True, exist_ok=True)
        for name, file in files.items():
            if (raw / name).exists() and (raw / name).read_bytes() != file.read_bytes():
                raise WorkspaceError(
                    Problem(
                        "a file of that name stands in data/raw already",
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
            raise WorkspaceError(
                Problem("git or DVC could not be set up", where=str(target), found=str(error))
            ) from None
        shutil.copy(package_file("init", "dvc.yaml"), part / "dvc.yaml")
        (part / "dvc.yaml").rename(target / "dvc.yaml")
        (part / "params.yaml").write_text(params, encoding="utf-8")
        (part / "params.yaml").rename(target / "params.yaml")
