"""A workspace of one's own from a file of rows: guesses task, format, metric, bar and rungs, and says why.

Everything guessed stands in params.yaml for a person to correct. Nothing is trained; before anything is, it says
what so many rows can and can't show. Nothing is overwritten, and a file that can't be used leaves nothing behind.
"""

import codecs
import glob
import json
import re
import shlex
import shutil
import statistics
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from components.config import HUB_NAME, METRICS, DecideSettings, IngestSettings, SourceSettings, ValidateSettings, parse
from components.dataset.similar import normalised
from components.dataset.sources import LOST_BYTE, Bad, Row, rows
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
LEAST_ROWS = ValidateSettings().min_rows
"""With fewer rows nothing can be guessed, and the run would stop."""
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
MIN_TEST = 200
"""With fewer development or test rows than this a warning says what they can show."""
LOOKED_AT = 500
"""Of so many rows the length in tokens is counted."""
PROMPT_TOKENS = 12
"""About what the guessed prompt adds to a row."""
_NOTHING = {"nan", "none", "null", "n/a", "na"}
"""What programs write into a cell that has no value."""
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


@dataclass(frozen=True)
class Given:
    """A file of rows as the user gave it."""

    source: SourceSettings
    file: Path
    stored: str
    """Its name under data/raw."""
    rows: Sequence[tuple[str, str]]
    """(text, answer) of the rows that have both."""
    n: int
    """All rows of the file."""


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
    first = _given("rows", file, text, answer, records, ())
    given = [first]
    n = len(first.rows)
    counts = {"dev": min(round(SHARE * n), STEER), "test": min(round(SHARE * n), JUDGE)}
    shares = {side: count / n for side, count in counts.items()}
    sides = {"dev": dev or (file if dev_records else None), "test": test or (file if test_records else None)}
    for side, where in (("dev", dev_records), ("test", test_records)):
        if path := sides[side]:
            given.append(_given(f"{side}-rows", path, text, answer, where or "[]", given))
            counts[side] = len(given[-1].rows)
            del shares[side]
    guessed = guess([a for _, a in first.rows])
    rungs, rung_words, is_pinned = _rungs(bases, ladder)
    params = _params([one.source for one in given], first.stored, _slot(text), answer, guessed, rungs, shares)
    _check(params)
    _write(target, params, {one.stored: one.file for one in given})
    metric, bar = METRICS[guessed.format][0], BARS[guessed.format]
    family = "reading (extract)" if guessed.format in ("label", "list") else "writing (expand)"
    steps = f"cd {shlex.quote(str(target))} && {'' if is_pinned else 'rungwise pin && '}rungwise run"
    return [
        _sides(n, file, counts, sides),
        *(f"{one.file.name} is not UTF-8 and was read as {one.source.encoding}: check a row with an accent."
          for one in given if one.source.encoding != "utf-8"),
        f"Format {guessed.format}: {guessed.why}. That is {family}, measured by {metric}.",
        f"The bar {bar:g} is a guess: set `target` to what your users would call good enough.",
        rung_words,
        *_warnings(given, guessed, counts, bar),
        *_too_long(first.rows, params),
        f"All of it stands in {target / 'params.yaml'}. Next: {steps}",
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
    for folder in (target, target / "data", target / "data" / "raw"):
        if folder.exists() and not folder.is_dir():
            do = "move the file away, or name another folder"
            raise WorkspaceError(problem("the workspace's place is taken by a file", where=str(folder), do=do))


def _given(name: str, file: Path, text: str, answer: str, records: str, others: Sequence[Given]) -> Given:
    """Returns a file's rows and the source that reads them; `others`: the files that are in data/raw by then.

    Raises:
        RungwiseError: there is no such file, its name or columns can't be used, or too few rows are left.
    """
    if not file.is_file():
        raise DataError(
            problem(
                "there is no such file of rows",
                where=str(file),
                wanted="CSV, TSV, JSON, JSON lines or lines of `LABEL text`",
            )
        )
    if file.stat().st_size == 0:
        raise DataError(problem("a file of rows is empty", where=str(file), found="0 bytes", wanted="rows"))
    for other in others:
        if other.file.resolve() == file.resolve() and other.source.records == records:
            raise SettingsError(
                problem(
                    "the same rows can't stand on two sides",
                    where=str(file),
                    found=f"the file is named for {other.source.name} and for {name}",
                    wanted="a file for each side, or the one of --rows alone: sides are then taken from it",
                )
            )
    for what, word in (("file", file.name), ("text column", text), ("answer column", answer)):
        if not word.isprintable() or not word.strip():
            raise SettingsError(
                problem(f"a {what} has a name that can't be written", found=ascii(word)[:60], do="rename it")
            )
    slot = _slot(text)
    if text == answer:
        raise SettingsError(
            problem(
                "text and answer are the same column", found=text, wanted="two columns: what is read, what is answered"
            )
        )
    if slot == answer:
        raise SettingsError(
            problem("a column can't be called `text` here", found=text, do="rename the answer's column")
        )
    is_taken = any(one.stored == file.name and one.file.resolve() != file.resolve() for one in others)
    stored = f"{name}-{file.name}" if is_taken else file.name
    encoding = _encoding(file)
    values = {
        "name": name,
        "path": glob.escape(stored),
        "columns": {} if slot == text else {slot: text},
        "role": name.removesuffix("-rows") if name != "rows" else None,
        "delimiter": _delimiter(file, encoding) if file.suffix.lower() == ".csv" else None,
        "records": records,
        "encoding": encoding,
    }
    try:
        source = SourceSettings.model_validate(values)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise SettingsError(
            problem("a file of rows can't be named in params.yaml", found=str(file), wanted=str(fault["msg"]))
        ) from None
    found, n = [], 0
    for row in _read(source, file, (slot, answer)):
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
    return Given(source, file, stored, found, n)


def _read(source: SourceSettings, file: Path, needed: tuple[str, str]) -> Iterator[Row | Bad]:
    """Yields a file's rows; an error names the command's options, where a later one would name params.yaml."""
    try:
        yield from rows(source, file, needed)
    except DataError as error:
        said = str(error)
        if said.startswith("a column"):
            said = re.sub(
                r"\n  do: .*", "\n  do:     name the columns as the header does: --text COLUMN --answer COLUMN", said
            )
        if said.startswith("a source's format"):
            said = re.sub(r"\n  do: .*", "\n  do:     give the file such an ending", said)
        if said.startswith("a JSON file is of another form"):
            said = re.sub(
                r"\n  do: .*", "\n  do:     say where the rows stand: --records KEY.[] (or --dev-records ...)", said
            )
        raise DataError(said) from None


def _slot(column: str) -> str:
    return column if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", column) else "text"


def _encoding(file: Path) -> str:
    """Returns the encoding that fits a file's bytes best.

    UTF-16 where a mark of byte order says so; UTF-8 where most of what is not ASCII is (rows that are not are
    rejected and counted); otherwise Windows' cp1252 where it knows every byte, and latin-1, which knows any.
    """
    spelt = broken = 0
    with file.open("rb") as stream:
        if stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "utf-16"
        stream.seek(0)
        utf_8, windows = (codecs.getincrementaldecoder(name) for name in ("utf-8", "cp1252"))
        as_utf_8, as_windows, is_windows = utf_8("surrogateescape"), windows(), True
        while block := stream.read(2**20):
            text = as_utf_8.decode(block)
            if not text.isascii():
                lost = len(LOST_BYTE.findall(text))
                broken, spelt = broken + lost, spelt + len(_BEYOND_ASCII.findall(text)) - lost
            try:
                as_windows.decode(block)
            except UnicodeDecodeError:
                is_windows = False
    if broken <= spelt:
        return "utf-8"
    return "cp1252" if is_windows else "latin-1"


def _delimiter(file: Path, encoding: str) -> str | None:
    """Returns the delimiter of a CSV file's header where it is no comma."""
    with file.open(encoding=encoding, errors="replace") as stream:
        header = stream.readline(100_000)
    counts = {d: header.count(d) for d in (";", "\t", "|")}
    best = max(counts, key=lambda d: counts[d])
    return best if counts[best] > header.count(",") else None


def _rungs(bases: Sequence[str], ladder: str | None) -> tuple[str, str, bool]:
    """Returns the ladder's lines, a sentence about them, and whether each hub model has its commit."""
    first = "  - {name: classical, method: tfidf}\n"
    if ladder is not None:
        presets = {p.stem: p for p in sorted(LADDERS.glob("*.yaml"))}
        if bases or ladder not in presets:
            raise SettingsError(
                problem(
                    "a ladder is named by --ladder or built from --base, not both"
                    if bases
                    else "there is no such ladder",
                    found=f"--ladder {ladder[:40]}" + (f" and --base {bases[0][:40]}" if bases else ""),
                    wanted="one of the two" if bases else "one of " + (joined(presets) or "none: none is installed"),
                )
            )
        lines = presets[ladder].read_text(encoding="utf-8").partition("ladder:\n")[2]
        return lines, f"The ladder is the preset {ladder}; `rungwise pin` writes its models' commits.", False
    chosen = list(bases) or [str(MODELS / name) for name in DEFAULT]
    kept: list[str] = []
    for base in chosen:
        path = Path(base).expanduser()
        if not path.is_dir() and not HUB_NAME.fullmatch(base.partition("@")[0]):
            raise SettingsError(
                problem(
                    "there is no such base",
                    where="--base",
                    found=base[:80],
                    wanted="a folder with a model, or the hub's owner/name",
                    do="correct the path; it is taken from the current folder",
                )
            )
        kept.append(str(path.resolve()) if path.is_dir() else base)
    names = _names(kept)
    lines = first + f"  - {{name: prompt, base: {json.dumps(kept[0])}, method: prompt, examples: 4}}\n"
    for name, base in zip(names, kept, strict=True):
        lines += f"  - {{name: {name}, base: {json.dumps(base)}, method: lora, rank: 16, alpha: 32}}\n"
    where = "your bases" if bases else "the small models that come along"
    told = f"The ladder: no language model, a prompt, then LoRA on {where}: {', '.join(names)}."
    return lines, told, all(Path(base).is_dir() or "@" in base for base in kept)


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
    sources: Sequence[SourceSettings],
    file: str,
    slot: str,
    answer: str,
    guessed: Guess,
    rungs: str,
    shares: Mapping[str, float],
) -> str:
    quoted = json.dumps(answer, ensure_ascii=False)
    separator = f", separator: {json.dumps(guessed.separator)}" if guessed.format == "list" else ""
    lines = []
    for one in sources:
        more = f", columns: {json.dumps(one.columns, ensure_ascii=False)}" if one.columns else ""
        more += f", role: {one.role}" if one.role else ""
        more += f", records: {json.dumps(one.records)}" if one.records != "[]" else ""
        more += f", encoding: {one.encoding}" if one.encoding != "utf-8" else ""
        more += f", delimiter: {json.dumps(one.delimiter)}" if one.delimiter else ""
        lines.append(f"    - {{name: {one.name}, path: {json.dumps(one.path, ensure_ascii=False)}{more}}}\n")
    asked = {"label": "Label", "list": "Items", "text": "Answer"}[guessed.format]
    family = "extract" if guessed.format in ("label", "list") else "expand"
    return f"""\
# Guessed from {json.dumps(file)}: correct what is wrong.
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


def _check(params: str) -> None:
    """Checks the params.yaml that is to be written; raises SettingsError."""
    from ruamel.yaml import YAML

    parse(YAML(typ="safe").load(params), "the params.yaml to be written")


def _warnings(given: Sequence[Given], guessed: Guess, counts: Mapping[str, int], bar: float) -> list[str]:
    found, told = given[0].rows, []
    least, verbs = DecideSettings().min_scored, {"dev": "development", "test": "test"}
    for side, n in counts.items():
        needed = share_needed(n, bar, 0.95)
        asks = f"asks for {needed:.2f} observed" if needed else "can't be shown, not even by a faultless model"
        if n < least:
            told.append(
                f"Careful: about {n} {verbs[side]} rows are too few to judge anything (`min_scored` asks for {least})."
            )
        elif n < MIN_TEST:
            told.append(
                f"Careful: with {n} {verbs[side]} rows the bar {bar:g} {asks}; {MIN_TEST} or more show finer things."
            )
    n_all = sum(one.n for one in given)
    n_lost, limit = (
        n_all - sum(len(one.rows) for one in given),
        IngestSettings.model_fields["max_rejected_share"].default,
    )
    if n_lost:
        then = f"more than {limit:.0%} stop the run: mend them, or raise `ingest.max_rejected_share`"
        kept = "they are counted and left out"
        told.append(
            f"Careful: {n_lost} of {n_all} rows have no text, no answer or can't be read; "
            f"{then if n_lost > limit * n_all else kept}."
        )
    if guessed.format == "label":
        rare = [label for label, n in Counter(a for _, a in found).items() if n < 10]
        if rare:
            told.append(
                f"Careful: {len(rare)} labels have fewer than 10 rows; what a model can do on them can't be shown."
            )
    empty = sorted({a for _, a in found if a.lower() in _NOTHING})
    if empty:
        n_empty = sum(a.lower() in _NOTHING for _, a in found)
        told.append(
            f"Careful: {n_empty} answers say {joined(map(repr, empty))}: if they mean nothing, leave them empty."
        )
    n_different = len({normalised(t) for t, _ in found})
    if n_different < len(found) / 2:
        told.append(f"Careful: the {len(found)} rows hold {n_different} different texts; equal rows count once.")
    longest = ValidateSettings().max_characters
    n_long = sum(max(len(t), len(a)) > longest for t, a in found)
    if n_long:
        told.append(f"Careful: {n_long} rows have a cell of more than {longest:,} characters and will be rejected.")
    return told


def _too_long(found: Sequence[tuple[str, str]], params: str) -> list[str]:
    """Returns which bases of the ladder are too short for many rows, counted on some of them, a sentence each."""
    from ruamel.yaml import YAML
    from tokenizers import Tokenizer

    step = max(1, len(found) // LOOKED_AT)
    some = found[::step]
    told = []
    bases = dict.fromkeys(rung["base"] for rung in YAML(typ="safe").load(params)["ladder"] if "base" in rung)
    for base in bases:
        folder = Path(base)
        if not (folder / "tokenizer.json").is_file() or not (folder / "config.json").is_file():
            continue  # of the hub's models nothing is known before they are fetched
        context = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("max_position_embeddings")
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        sizes = [len(line.ids) for line in tokenizer.encode_batch([f"{text}\n{answer}" for text, answer in some])]
        n = sum(size + PROMPT_TOKENS > context for size in sizes) if isinstance(context, int) else 0
        if n > DecideSettings().max_unscored_share * len(some):
            told.append(
                f"Careful: {n / len(some):.0%} of the rows are longer than {folder.name} can read ({context} tokens), "
                "and rows that are not scored judge nothing: --base names a model that reads more."
            )
    return told


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
                    problem(
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
                problem("git or DVC could not be set up", where=str(target), found=str(error))
            ) from None
        shutil.copy(HOUSE / "dvc.yaml", part / "dvc.yaml")
        (part / "dvc.yaml").rename(target / "dvc.yaml")
        (part / "params.yaml").write_text(params, encoding="utf-8")
        (part / "params.yaml").rename(target / "params.yaml")
