"""A workspace of one's own from a file of rows: guesses task, format, metric, bar and rungs, and says why.

Everything guessed stands in params.yaml for a person to correct. Nothing is trained; before anything is, it says
what so many rows can and can't show. Nothing is overwritten, and a file that can't be used leaves nothing behind.
"""

import codecs
import json
import re
import shutil
import statistics
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.config import METRICS, SourceSettings, ValidateSettings, parse
from components.dataset.sources import Row, rows
from components.errors import DataError, SettingsError, WorkspaceError, problem
from components.evaluation.statistics import share_needed
from components.folders import joined
from components.layout import STAGES
from components.versions import init_repository

HOUSE = Path(__file__).parents[1]
"""Where this installation's own dvc.yaml, models and ladders lie."""
MODELS = HOUSE / "infra" / "demo" / "models"
DEFAULT = ("pocket-s", "pocket-m")
"""The models of a ladder that nobody named: small enough for a first verdict in minutes without a GPU."""
LADDERS = HOUSE / "infra" / "ladders"
IGNORED = ".rungwise/\n.prefect/\nmlflow.db*\nmlartifacts/\n"
IGNORED_DATA = "".join(f"/{name}\n" for name in (*STAGES, "attempts")) + ".*.part\n.*.old\n"
LEAST_ROWS = 20
"""With fewer rows nothing can be guessed, let alone learned."""
MIN_TEST = 200
"""With fewer test rows than this a warning says what they can show."""
BARS = {"label": 0.9, "list": 0.75, "text": 0.5, "json": 0.6}
"""Answer format -> the bar that is written where nobody said what is good enough."""
SHARE = 0.15
"""Share of the rows that steer, and of those that judge ..."""
STEER, JUDGE = 1000, 2000
"""... but about so many at most: they cost time on every rung, and more show little more."""


@dataclass(frozen=True)
class Guess:
    """What the rows look like."""

    format: str
    why: str
    separator: str = ";"


def guess(answers: Sequence[str]) -> Guess:
    """Returns the format of answers, of which there are at least LEAST_ROWS, all with text.

    Raises:
        DataError: all answers are equal.
    """
    n, distinct = len(answers), Counter(answers)
    if len(distinct) == 1:
        raise DataError(
            problem(
                "all answers are equal, so there is nothing to learn",
                found=f"{n} rows with one answer of {len(answers[0])} characters",
                wanted="at least two different answers",
                do="name another column with --answer",
            )
        )
    words = [len(a.split()) for a in answers]
    recurring = sum(count for count in distinct.values() if count > 1) / n
    if len(distinct) <= max(2, n / 5) and recurring >= 0.8 and statistics.median(words) <= 8:
        return Guess("label", f"{len(distinct)} different short answers in {n} rows, nearly all of which recur")
    for separator in (";", "|", ","):
        split = [[item.strip() for item in a.split(separator) if item.strip()] for a in answers]
        several = sum(len(items) > 1 for items in split) / n
        short = statistics.mean(len(item.split()) <= 5 for items in split for item in items)
        if several >= 0.6 and short >= 0.9 and not any(re.search(r"[.!?]\s", a) for a in answers[:200]):
            shown = f"{several:.0%} of the answers hold several short items with `{separator}` between them"
            return Guess("list", shown, separator)
    return Guess("text", f"{len(distinct)} different answers of {statistics.median(words):.0f} words (median)")


def init(
    target: Path,
    file: Path,
    text: str,
    answer: str,
    *,
    records: str = "[]",
    test: Path | None = None,
    test_records: str = "[]",
    dev: Path | None = None,
    dev_records: str = "[]",
    bases: Sequence[str] = (),
    ladder: str | None = None,
) -> list[str]:
    """Makes a workspace in `target`; returns what was guessed and what to know, a sentence a line.

    `dev`, `test`: files whose rows steer and judge, as the user split them. `records`, `dev_records`, `test_records`:
    where the rows stand in a JSON file (see `SourceSettings.records`). `bases`: folders or hub names for prompt and
    LoRA rungs, the smallest first; without them and without `ladder`, a preset's name, models that come along.

    Raises:
        RungwiseError: the rows can't be used, or the folder can't become a workspace.
    """
    _check_target(target)
    source = _source("rows", file, text, answer, records)
    found = _read(source, file, text, answer)
    sources = [(source, file)]
    counts = {"dev": min(round(SHARE * len(found)), STEER), "test": min(round(SHARE * len(found)), JUDGE)}
    shares = {side: n / len(found) for side, n in counts.items()}
    for side, given, where in (("dev", dev, dev_records), ("test", test, test_records)):
        if given:
            sources.append((_source(f"{side}-rows", given, text, answer, where, role=side), given))
            counts[side] = len(_read(*sources[-1], text, answer))
            del shares[side]
    n_test = counts["test"]
    guessed = guess([a for _, a in found])
    rungs, rung_words = _rungs(bases, ladder)
    params = _params(sources, _slot(text), answer, guessed, rungs, shares)
    parse(_yaml(params), "the params.yaml to be written")
    _write(target, params, [path for _, path in sources])
    metric, bar = METRICS[guessed.format][0], BARS[guessed.format]
    family = "reading (extract)" if guessed.format in ("label", "list") else "writing (expand)"
    return [
        _sides(len(found), file, counts, {"dev": dev, "test": test}),
        *(f"{path.name} is not UTF-8 and was read as {one.encoding}: check a row with an accent."
          for one, path in sources if one.encoding != "utf-8"),
        f"Format {guessed.format}: {guessed.why}. That is {family}, measured by {metric}.",
        f"The bar {bar:g} is a guess: set `target` to what your users would call good enough.",
        rung_words,
        *_warnings(found, guessed, n_test, bar),
        f"All of it stands in {target / 'params.yaml'}. Next: cd {target} && rungwise run",
    ]  # fmt: skip


def _sides(n: int, file: Path, counts: Mapping[str, int], given: Mapping[str, Path | None]) -> str:
    """Returns how many rows there are and what becomes of them, in a sentence."""
    verbs = {"dev": "steer", "test": "judge"}
    told = [f"{n} rows of {file.name}"]
    told += [f"{counts[side]} of {path.name} that {verbs[side]}" for side, path in given.items() if path]
    taken = [f"about {counts[side]} {verbs[side]}" for side, path in given.items() if not path]
    return " and ".join(told) + (f"; of the first {', '.join(taken)}, the others teach." if taken else ".")


def _check_target(target: Path) -> None:
    if (target / "params.yaml").exists() or (target / "dvc.yaml").exists():
        raise WorkspaceError(
            problem(
                "there is a workspace or a DVC pipeline already",
                where=str(target),
                do="add tasks and sources to its params.yaml by hand, or name another folder",
            )
        )
    for parent in target.resolve().parents:
        if (parent / "params.yaml").is_file() and (parent / "dvc.yaml").is_file():
            raise WorkspaceError(
                problem(
                    "a workspace can't stand inside another",
                    where=str(target),
                    found=f"a workspace in {parent}",
                    do="name a folder outside of it",
                )
            )
    if target.exists() and not target.is_dir():
        raise WorkspaceError(problem("the workspace's place is taken by a file", where=str(target)))


def _source(name: str, file: Path, text: str, answer: str, records: str, role: str | None = None) -> SourceSettings:
    if not file.is_file():
        raise DataError(
            problem(
                "there is no such file of rows",
                where=str(file),
                wanted="CSV, TSV, JSON, JSON lines or lines of `LABEL text`",
            )
        )
    if text == answer:
        raise SettingsError(
            problem(
                "text and answer are the same column", found=text, wanted="two columns: what is read, what is answered"
            )
        )
    columns = {} if _slot(text) == text else {_slot(text): text}
    if _slot(text) == answer:
        raise SettingsError(
            problem("a column can't be called `text` here", found=text, do="rename the answer's column")
        )
    delimiter = _delimiter(file) if file.suffix.lower() == ".csv" else None
    values = {
        "name": name,
        "path": file.name,
        "columns": columns,
        "role": role,
        "delimiter": delimiter,
        "records": records,
        "encoding": _encoding(file),
    }
    return SourceSettings.model_validate(values)


def _slot(column: str) -> str:
    return column if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", column) else "text"


def _encoding(file: Path) -> str:
    """Returns utf-8 for text in it, UTF-16 where a byte order mark says so, otherwise latin-1, which reads any byte."""
    with file.open("rb") as stream:
        if stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "utf-16"
        stream.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while block := stream.read(2**20):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "latin-1"
    return "utf-8"


def _delimiter(file: Path) -> str | None:
    """Returns the delimiter of a CSV file's header where it is no comma."""
    with file.open(encoding="utf-8-sig", errors="replace") as stream:
        header = stream.readline(100_000)
    counts = {d: header.count(d) for d in (";", "\t", "|")}
    best = max(counts, key=lambda d: counts[d])
    return best if counts[best] > header.count(",") else None


def _read(source: SourceSettings, file: Path, text: str, answer: str) -> list[tuple[str, str]]:
    """Returns (text, answer) of the rows that have both.

    Raises:
        DataError: a column is missing, the file is of no known form, or too few rows are left.
    """
    slot = _slot(text)
    found, n = [], 0
    for row in rows(source, file, (slot, answer)):
        n += 1
        if isinstance(row, Row) and (row.values[slot] or "").strip() and (row.values[answer] or "").strip():
            found.append((str(row.values[slot]), str(row.values[answer]).strip()))
    if len(found) < LEAST_ROWS:
        raise DataError(
            problem(
                "there are too few rows to begin with",
                where=str(file),
                found=f"{len(found)} rows with text and answer, of {n}",
                wanted=f"{LEAST_ROWS}; for a verdict that holds about {round(MIN_TEST / SHARE)}",
                do="collect more rows",
            )
        )
    return found


def _rungs(bases: Sequence[str], ladder: str | None) -> tuple[str, str]:
    """Returns the ladder's lines and a sentence about them."""
    first = "  - {name: classical, method: tfidf}\n"
    if ladder is not None:
        presets = {p.stem: p for p in sorted(LADDERS.glob("*.yaml"))}
        if bases or ladder not in presets:
            raise SettingsError(
                problem(
                    "a ladder is named by --ladder or built from --base, not both"
                    if bases
                    else "there is no such ladder",
                    found=ladder[:40],
                    wanted="one of " + (joined(presets) or "none: no presets are installed"),
                )
            )
        lines = presets[ladder].read_text(encoding="utf-8").partition("ladder:\n")[2]
        return lines, f"The ladder is the preset {ladder}; `rungwise pin` writes its models' commits."
    chosen = list(bases) or [str(MODELS / name) for name in DEFAULT]
    kept: list[str] = []
    for base in chosen:
        path = Path(base).expanduser()
        kept.append(str(path.resolve()) if path.is_dir() else base)
    names = _names(kept)
    lines = first + f"  - {{name: prompt, base: {json.dumps(kept[0])}, method: prompt, examples: 4}}\n"
    for name, base in zip(names, kept, strict=True):
        lines += f"  - {{name: {name}, base: {json.dumps(base)}, method: lora, rank: 16, alpha: 32}}\n"
    where = "your bases" if bases else "the small models that come along"
    return lines, f"The ladder: no language model, a prompt, then LoRA on {where}: {', '.join(names)}."


def _names(bases: Sequence[str]) -> list[str]:
    names: list[str] = []
    for base in bases:
        short = re.sub(r"[^a-z0-9]+", "-", base.partition("@")[0].rsplit("/", 1)[-1].lower()).strip("-")[:30] or "base"
        short = short if short[0].isalpha() else f"base-{short}"
        taken = {*names, "classical", "prompt"}
        names.append(
            short if short not in taken else next(f"{short}-{i}" for i in range(2, 99) if f"{short}-{i}" not in taken)
        )
    return names


def _params(
    sources: Sequence[tuple[SourceSettings, Path]],
    slot: str,
    answer: str,
    guessed: Guess,
    rungs: str,
    shares: Mapping[str, float],
) -> str:
    quoted = json.dumps(answer, ensure_ascii=False)
    separator = f", separator: {json.dumps(guessed.separator)}" if guessed.format == "list" else ""
    lines = []
    for one, _ in sources:
        more = f", columns: {json.dumps(one.columns, ensure_ascii=False)}" if one.columns else ""
        more += f", role: {one.role}" if one.role else ""
        more += f", records: {json.dumps(one.records)}" if one.records != "[]" else ""
        more += f", encoding: {one.encoding}" if one.encoding != "utf-8" else ""
        more += f", delimiter: {json.dumps(one.delimiter)}" if one.delimiter else ""
        lines.append(f"    - {{name: {one.name}, path: {json.dumps(one.path, ensure_ascii=False)}{more}}}\n")
    asked = {"label": "Label", "list": "Items", "text": "Answer"}[guessed.format]
    family = "extract" if guessed.format in ("label", "list") else "expand"
    return f"""\
# Guessed from {json.dumps(sources[0][0].path, ensure_ascii=False)}: correct what is wrong.
seed: 7
tasks:
  task:
    family: {family}
    prompt: "Text: {{{slot}}}\\n{asked}:"
    answer: {{column: {quoted}, format: {guessed.format}{separator}}}
    metric: {METRICS[guessed.format][0]}
    target: {BARS[guessed.format]:g}         # a guess: what would your users call good enough?
ladder:               # cheapest first
{rungs}ingest:
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


def _yaml(text: str) -> dict[str, object]:
    from ruamel.yaml import YAML

    values: dict[str, object] = YAML(typ="safe", pure=True).load(text)
    return values


def _warnings(found: Sequence[tuple[str, str]], guessed: Guess, n_test: int, bar: float) -> list[str]:
    told = []
    if n_test < MIN_TEST:
        needed = share_needed(n_test, bar, 0.95)
        asks = f"asks for {needed:.2f} observed" if needed else "can't be shown, not even by a faultless model"
        told.append(
            f"Careful: with {n_test} test rows the bar {bar:g} {asks}; {MIN_TEST} or more show finer differences."
        )
    if guessed.format == "label":
        rare = [label for label, n in Counter(a for _, a in found).items() if n < 10]
        if rare:
            told.append(
                f"Careful: {len(rare)} labels have fewer than 10 rows; what a model can do on them can't be shown."
            )
    longest = ValidateSettings().max_characters
    n_long = sum(max(len(t), len(a)) > longest for t, a in found)
    if n_long:
        told.append(f"Careful: {n_long} rows have a cell of more than {longest:,} characters and will be rejected.")
    return told


def _write(target: Path, params: str, files: Sequence[Path]) -> None:
    """Builds the workspace beside its place and moves its parts there, params.yaml last."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".init-") as temporary:
        part = Path(temporary)
        raw = target / "data" / "raw"
        raw.mkdir(parents=True, exist_ok=True)
        for file in files:
            if (raw / file.name).exists() and (raw / file.name).read_bytes() != file.read_bytes():
                raise WorkspaceError(
                    problem("a file of that name stands in data/raw already", where=str(raw / file.name))
                )
            if not (raw / file.name).exists():
                shutil.copy(file, part / file.name)
                (part / file.name).rename(raw / file.name)
        for name, text in ((".gitignore", IGNORED), ("data/.gitignore", IGNORED_DATA)):
            if not (target / name).exists():
                (part / "ignored").write_text(text, encoding="utf-8")
                (part / "ignored").rename(target / name)
        try:
            init_repository(target)
        except (OSError, subprocess.CalledProcessError) as error:
            raise WorkspaceError(
                problem("git or DVC could not be set up", where=str(target), found=str(error))
            ) from None
        shutil.copy(HOUSE / "dvc.yaml", part / "dvc.yaml")
        (part / "dvc.yaml").rename(target / "dvc.yaml")
        (part / "params.yaml").write_text(params, encoding="utf-8")
        (part / "params.yaml").rename(target / "params.yaml")
