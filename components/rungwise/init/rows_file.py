"""A user's rows: their files and columns, and which of them can't be used and why."""

import glob
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase

from rungwise.config import AnswerSettings, SourceSettings, ValidateSettings
from rungwise.core.errors import DataError, Problem, SettingsError
from rungwise.core.folders import joined
from rungwise.core.texts import normalised, number_of
from rungwise.dataset.answer_cells import NoAnswer, names_in, option_in
from rungwise.dataset.readers import Cell, Note, Row, files_in, list_in, rows, text_of
from rungwise.init.column_checks import with_unreadable
from rungwise.init.columns import Columns, chosen_columns
from rungwise.init.file_form import Options, check_like, source_of, with_options
from rungwise.init.lost import Lost, listed, remedy, with_one

MIN_ROWS = ValidateSettings().min_rows
"""Fewest rows with text and answer: with fewer, no guess is possible and the run would fail."""
LEAST_OWN_ROWS = 4
"""Fewest rows of the user's own validation or test file: fewer can't show even a bar of 0.5."""
MIN_EVALUATION_ROWS = 200
"""With fewer validation or test rows, `init` warns about what they can show."""
EVALUATION_SHARE = 0.15
"""Share of the rows that become validation rows, and share that become test rows."""
_SIDES = {"train", "training", "dev", "val", "valid", "validation", "test", "testing", "eval"}


@dataclass(frozen=True)
class RowsFile:
    """A file, a folder or a pattern of files with rows, and how they are read."""

    source: SourceSettings
    title: str
    """The name of the file, folder or pattern."""
    files: Mapping[str, Path]
    """Path below data/raw -> the file that is copied there."""
    rows: Sequence[tuple[str, Cell]]
    """(text, answer) of the rows that have both; an answer is a tuple of texts where the file has a list."""
    lost: Mapping[str, Lost]
    """Reason -> the rows that can't be used."""
    columns: Columns
    slots: tuple[str, ...]
    """The names of the text columns in the prompt, in their order."""
    notes: tuple[str, ...]
    """What was decided about the whole file, one sentence each."""
    others: tuple[str, ...] = ()
    """Columns with further right answers, as the first file names them."""

    @property
    def answer(self) -> str:
        """The answer column."""
        return self.columns.answer

    @property
    def options(self) -> tuple[str, ...]:
        """The slots with the options of a question."""
        return self.slots[len(self.slots) - len(self.columns.options) :]

    @property
    def description(self) -> str:
        """The title, with the number of files of a folder or pattern."""
        n = len(self.files)
        is_one = not any("/" in stored for stored in self.files)
        return self.title if is_one else f"{number_of(n, 'file')} of {self.title}"

    @property
    def n(self) -> int:
        """Number of all rows."""
        return len(self.rows) + sum(one.n for one in self.lost.values())


def read_rows_file(
    name: str, given: Path, options: Options, records: str | None, others: Sequence[RowsFile]
) -> RowsFile:
    """Returns a user's rows and the settings of the source that reads them.

    Args:
        name: the source's name.
        given: a file, a folder, or a pattern such as `rows/*.csv`.
        options: how the rows are read.
        records: where the rows are in a JSON file (see `SourceSettings.records`); None: found out.
        others: the rows that are copied into data/raw before these.

    Raises:
        RungwiseError: a file does not exist, a name or column can't be used, or there are too few rows.
    """
    paths = _files(given)
    _check_names(paths, options)
    stored = _stored(name, given, paths, others)
    source, notes = source_of(name, given, stored, options, records)
    for other in others:
        if set(other.files.values()) & set(stored.values()) and other.source.records == source.records:
            raise SettingsError(
                Problem(
                    "the same rows can't be on two sides of the split",
                    where=str(given),
                    found=f"the file is used for {other.source.name} and for {name}",
                    wanted="one file per side, or only --rows: the split is then made from it",
                )
            )
    first = next(iter(stored.values()))
    if others and options.has_header is None:
        check_like(others[0].source, next(iter(others[0].files.values())), source, first)
    try:
        columns = chosen_columns(source, first, options)
    except DataError as error:
        raise with_options(with_unreadable(error, source, first, {*options.names})) from None
    first_columns = others[0].columns if others else columns
    slots = others[0].slots if others else _slots(columns)
    named = {
        **dict(zip(slots, columns.texts, strict=True)),
        **dict(zip(_answers(first_columns), _answers(columns), strict=True)),
    }
    by_key = {_key(name): name for name in first_columns.others}
    further = {by_key.get(_key(title), title): title for title in columns.others}
    titles = {name: title for name, title in (named | further).items() if name != title}
    source = source.model_copy(update={"columns": titles, "chat": columns.chat})
    choosing = _choosing(first_columns, slots)
    complete: list[tuple[str, Cell]] = []
    lost: dict[str, Lost] = {}
    for file in stored.values():
        for row in rows(source, file, (*slots, *_answers(first_columns), *further)):
            if isinstance(row, Note):
                if file != first:  # that of the first file is among the notes already
                    notes.append(f"{file.name}: {row.text}.")
                continue
            try:
                if isinstance(row, Row):
                    complete.append(_pair(row, slots, first_columns, tuple(further), choosing))
                    continue
                reason, detail = row.reason, row.detail
            except NoAnswer as error:
                reason, detail = error.reason, error.detail
            lost = with_one(lost, row.line, reason, detail)
    notes += _named_sides(paths)
    if titles and others:
        notes.append(f"{given.name}: {joined([f'column {title!r} is {name}' for name, title in titles.items()])}.")
    result = RowsFile(source, given.name, stored, complete, lost, first_columns, slots, tuple(notes), tuple(further))
    if len(complete) < (LEAST_OWN_ROWS if name.endswith("-rows") else MIN_ROWS):
        _refuse(result, given)
    return result


def _named_sides(paths: Sequence[Path]) -> list[str]:
    """Returns a warning if files that are read together are named after the sides of a split."""
    names = {word for path in paths for word in re.split("[^a-z]+", path.stem.lower())} & _SIDES
    if "train" not in names or len(names) == 1:
        return []
    return [
        f"Warning: the files are named {joined(sorted(names))}, and all of them are split anew. To keep their split, "
        "give them one by one: --rows TRAIN --dev DEV --test TEST."
    ]


def _answers(columns: Columns) -> tuple[str, ...]:
    return columns.one_hot or (columns.answer,)


def _key(column: str) -> str:
    """Returns what two spellings of a column have in common."""
    return column.strip().casefold()


def _choosing(columns: Columns, slots: Sequence[str]) -> AnswerSettings | None:
    """Returns how an answer names one of the options, which are the last of `slots`; None without options."""
    if columns.choice is None:
        return None
    options = tuple(slots[len(slots) - len(columns.options) :])
    return AnswerSettings(column=columns.answer, options=options, chosen_by=columns.choice.chosen_by)


def _pair(
    row: Row, slots: Sequence[str], columns: Columns, others: Sequence[str], choosing: AnswerSettings | None
) -> tuple[str, Cell]:
    """Returns a row's text, that of several columns as lines, and its answer, or those of all columns with answers.

    Raises:
        NoAnswer: one of them is missing.
    """
    texts = [text_of(row.values[slot]) for slot in slots]
    needed = zip(slots, columns.texts, texts, strict=True)
    if empty := [slot for slot, name, text in needed if not text.strip() and name not in columns.optional]:
        raise NoAnswer("no_text", f"column {empty[0]} is empty")
    text = "\n".join(filter(str.strip, texts))
    if columns.one_hot:
        return text, tuple(names_in(columns.one_hot, row.values))
    if choosing:
        return text, option_in(choosing, row.values)
    if others:
        return text, _right_answers([row.values[name] for name in (columns.answer, *others)], columns)
    cell = row.values[columns.answer]
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        raise NoAnswer("no_answer", f"column {columns.answer} is empty")
    return text, cell.strip() if isinstance(cell, str) else cell


def _right_answers(cells: Sequence[Cell], columns: Columns) -> tuple[str, ...]:
    """Returns the texts of several cells; raises NoAnswer if there are none."""
    read = [list_in(cell) if columns.are_lists and isinstance(cell, str) else cell for cell in cells]
    texts = [text for cell in read for text in (cell if isinstance(cell, tuple) else (cell or "",)) if text.strip()]
    if not texts:
        raise NoAnswer("no_answer", f"columns {joined((columns.answer, *columns.others))} are empty")
    return tuple(texts)


def _refuse(file: RowsFile, given: Path) -> None:
    """Raises DataError for too few rows, with the reasons."""
    counted = f"{number_of(len(file.rows), 'row')} with text and answer, of {file.n}"
    do = "collect more rows"
    if file.lost:
        counted += f": {listed(file.lost)}"
        do = remedy(file.lost) if file.n >= MIN_ROWS else do
    if file.source.name.endswith("-rows") and file.n < LEAST_OWN_ROWS:
        do = f"leave out --{file.source.role}: a part of the rows is then set apart; or collect more rows"
    least = LEAST_OWN_ROWS if file.source.name.endswith("-rows") else MIN_ROWS
    wanted = f"{least}; for a reliable result about {round(MIN_EVALUATION_ROWS / EVALUATION_SHARE)}"
    raise DataError(Problem("there are too few rows", where=str(given), found=counted, wanted=wanted, do=do))


def _files(given: Path) -> list[Path]:
    """Returns the files that a path or pattern names, sorted.

    Raises:
        DataError: there is none, or one is empty.
    """
    text = str(given)
    if re.match(r"[a-z][a-z0-9+]+:/", text):  # a path has one slash of the two
        raise DataError(
            Problem(
                "the rows are not on this machine",
                where="an address, " + re.sub(":/+", "://", text, count=1),
                wanted="a file, a folder or a pattern",
                do="download it first; in a workspace, `collect` in params.yaml copies rows from an address",
            )
        )
    if given.exists() and not (given.is_file() or given.is_dir()):
        raise DataError(
            Problem(
                "the file of rows is not a file",
                where=text,
                found="a pipe, a socket or a device",
                wanted="a file, a folder or a pattern",
                do="write its rows into a file first",
            )
        )
    if given.is_dir():
        paths = sorted(files_in(given))
    elif given.is_file() or not glob.has_magic(str(given)):
        paths = [given] if given.is_file() else []
    else:
        paths = sorted(path for path in map(Path, glob.glob(str(given), recursive=True)) if path.is_file())
    if not paths:
        raise DataError(
            Problem(
                "the file of rows does not exist",
                where=str(given),
                wanted="a file, a folder or a pattern: CSV, TSV, JSON, JSON lines, Parquet, or lines of `LABEL text`",
            )
        )
    for path in paths:
        if path.stat().st_size == 0:
            raise DataError(Problem("a file of rows is empty", where=str(path), found="0 bytes", wanted="rows"))
    return paths


def _stored(name: str, given: Path, paths: Sequence[Path], others: Sequence[RowsFile]) -> dict[str, Path]:
    """Returns path below data/raw -> file."""
    if paths == [given]:
        taken = {stored: file for other in others for stored, file in other.files.items()}
        is_taken = given.name in taken and taken[given.name].resolve() != given.resolve()
        return {f"{name}-{given.name}" if is_taken else given.name: given.resolve()}
    top = given if given.is_dir() else _fixed_part(given)
    folder = (
        f"{name}-{top.resolve().name}" if any(other.title == given.name for other in others) else top.resolve().name
    )
    return {f"{folder}/{path.relative_to(top).as_posix()}": path.resolve() for path in paths}


def _fixed_part(pattern: Path) -> Path:
    """Returns the folder above the first part of a pattern that is not a plain name."""
    parts = pattern.parts
    magic = next(place for place, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:magic])


def _check_names(paths: Sequence[Path], options: Options) -> None:
    words = [("file", paths[0].name), ("text column", options.text), ("answer column", options.answer)]
    for what, word in words:
        if word is not None and (not word.isprintable() or not word.strip()):
            raise SettingsError(
                Problem(
                    f"the name of a {what} has characters that can't be printed", found=ascii(word)[:60], do="rename it"
                )
            )


def _slots(columns: Columns) -> tuple[str, ...]:
    """Returns the slots that stand for the text columns in the prompt."""
    slots: list[str] = []
    for place, name in enumerate(columns.texts, start=1):
        plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").lower() if len(columns.texts) > 1 else "text"
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            slots.append(name)
        elif name in columns.options:
            letter = ascii_uppercase[columns.options.index(name)]
            slots.append(f"option_{letter.lower()}" if letter in (columns.answer, *columns.texts) else letter)
        else:
            is_question = place == 1 and columns.choice is not None and columns.choice.is_guess
            other = "question" if is_question else f"text_{place}"
            slots.append(plain if re.fullmatch("[a-z].*", plain) and plain not in slots else other)
    if columns.answer in slots:
        do = "rename the answer column"
        texts = joined(columns.texts)
        raise SettingsError(Problem(f"the answer column can't be called `{columns.answer}` here", found=texts, do=do))
    return tuple(slots)


def without_repeated(
    rows: Sequence[tuple[str, Cell]], sides: Mapping[str, Sequence[tuple[str, Cell]]]
) -> Sequence[tuple[str, Cell]]:
    """Returns the training rows without those whose text is in the user's own validation or test rows.

    Raises:
        DataError: too few are left.
    """
    held_out = {normalised(text) for own in sides.values() for text, _ in own}
    kept = [row for row in rows if normalised(row[0]) not in held_out] if held_out else rows
    if len(kept) < MIN_ROWS <= len(rows):
        raise DataError(
            Problem(
                "nearly all training rows are validation or test rows, too",
                found=f"{number_of(len(kept), 'other row')} of {len(rows)}",
                wanted=f"{MIN_ROWS} training rows that are not scored: a run removes the duplicates",
                do="leave out --dev and --test: a part of the rows is then set apart; or give other rows",
            )
        )
    return kept
