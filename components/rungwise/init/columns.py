"""The columns of a file of rows: which one the model reads, which one has the answers, and what the others are."""

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from rungwise.config import SourceSettings
from rungwise.core.errors import DataError, Problem, SettingsError
from rungwise.core.folders import joined
from rungwise.dataset.answer_cells import looks_one_hot
from rungwise.dataset.readers import Bad, Cell, Row, columns, columns_read, is_chat, rows, text_of
from rungwise.dataset.readers.chats import COLUMNS

SAMPLED_ROWS = 300
SHOWN_CHARACTERS = 40
"""Longest example of a cell in a message."""
_ANSWER_NAMES = (
    "completion", "answer", "answers", "label", "labels", "output", "target", "category", "class", "intent", "queue",
    "tag", "tags", "keywords", "response", "reply", "summary", "reference", "references", "solution",
)  # fmt: skip
"""Usual names of the column with the answers, the most certain first."""
_TEXT_NAMES = ("prompt", "text", "body", "question", "input", "sentence", "message", "utterance", "content")
"""Usual names of the column that a model reads."""


_NUMBER = re.compile(r"(?:.*[ _-])?(?:id|idx|index|row|nr|no|number)|unnamed: \d+", re.IGNORECASE)
"""Names of columns that number the rows."""


@dataclass(frozen=True)
class Columns:
    """The columns of a task."""

    text: str
    answer: str
    """The column with the answers; several names with commas if `one_hot` has them."""
    one_hot: tuple[str, ...] = ()
    """Columns named like the labels, if each says whether its label applies."""
    sentences: tuple[str, ...] = ()
    """What was guessed or is not read."""


def chosen_columns(source: SourceSettings, path: Path, text: str | None, answer: str | None) -> Columns:
    """Returns the columns that the user named; guesses those that were not named.

    A column of a chat format means the whole chat if the other columns of the format have values.

    Raises:
        DataError: a named column does not exist, or none can be guessed.
        SettingsError: text and answer are the same column.
    """
    sample = sampled(source, path)
    if not any(sample.values()):
        _refuse_unreadable(source, path, tuple(sample))
    sentences: list[str] = []
    if is_chat(sample) and not any(name in sample for name in COLUMNS):
        text, answer = _of_chat(sample, text, answer, sentences)
    known = {*sample, *(COLUMNS if is_chat(sample) else ())}
    one_hot = _several(answer, known)
    for option, name in (("--text", text), *(("--answer", name) for name in one_hot or [answer])):
        if name is not None and not _is_known(name, known):
            raise DataError(
                Problem(
                    "a column is missing",
                    where=str(path),
                    found=examples(sample),
                    wanted=name[:60],
                    do=f"give the column names of the file: --text COLUMN --answer COLUMN (here: {option}); "
                    "--no-header if its first line is a row",
                    setting="columns",
                )
            )
    if text is None or answer is None:
        if answer is None:
            one_hot = _one_hot(sample, text)
            answer = ",".join(one_hot) or None
        text, answer = _guessed(sample, path, text, answer, one_hot)
        where = f"columns {joined(one_hot, 20)}: 1 means that it applies" if one_hot else f"column {answer}"
        sentences.append(f"The model reads column {text}, and the answers are in {where}.")
        sentences.append(f"The columns: {examples(sample)}. Name others with --text and --answer.")
    if text == answer or text in one_hot:
        raise SettingsError(
            Problem(
                "text and answer are the same column",
                found=text,
                wanted="two columns: the text that the model reads, and the right answer",
            )
        )
    if "" in (text, answer, *one_hot):
        raise DataError(
            Problem(
                "a column has no name",
                where=f"{path}, the first line",
                found=examples(sample),
                wanted="the names of the columns",
                do="remove what comes before the header, or use --no-header if the first line is a row",
            )
        )
    if source.header and answer in sample and sum(text_of(cell) == answer for cell in sample[answer]) > 1:
        sentences.append(
            f"Warning: the name {answer!r} of a column is also an answer, so the first line may be a row. If so, use "
            "--no-header."
        )
    return Columns(text, answer, one_hot, tuple(sentences))


def _refuse_unreadable(source: SourceSettings, path: Path, names: tuple[str, ...]) -> None:
    """Raises DataError for a file of which no row can be read, with the first reason."""
    given = rows(source.model_copy(update={"columns": {}}), path, names) if names else ()
    bad = next((one for one in given if isinstance(one, Bad)), None)
    raise DataError(
        Problem(
            "no row of a file can be read",
            where=f"{path}, line {bad.line}" if bad else str(path),
            found=f"{bad.reason}: {bad.detail}" if bad else "no rows below the header",
            wanted="rows with the columns of the header",
            do="check the quotes and the delimiter; a quote inside a quoted cell is doubled" if bad else "add rows",
        )
    )


def _several(answer: str | None, known: set[str]) -> tuple[str, ...]:
    """Returns the names in a list of columns with commas between them; none if it is the name of one column."""
    names = tuple(name.strip() for name in (answer or "").split(",")) if answer not in known else ()
    return names if len(names) > 1 else ()


def _one_hot(sample: Mapping[str, Sequence[Cell]], text: str | None) -> tuple[str, ...]:
    """Returns the columns that look like one label each; none if another column may have the answers."""
    if any(name.lower() in _ANSWER_NAMES for name in sample):
        return ()
    free = [name for name in sample if name != text and not _NUMBER.fullmatch(name)]
    names = tuple(name for name in free if looks_one_hot(sample[name]))
    repeated = [name for name in free if name not in names and _is_repeated(sample[name])]
    return names if len(names) > 1 and not repeated else ()


def sampled(source: SourceSettings, path: Path) -> dict[str, list[Cell]]:
    """Returns column -> its cells in the first rows that can be read."""
    names = tuple(dict.fromkeys(columns(source, path)))
    sample: dict[str, list[Cell]] = {name: [] for name in names}
    readable = (row for row in rows(source.model_copy(update={"columns": {}}), path, names) if isinstance(row, Row))
    for row in islice(readable if names else (), SAMPLED_ROWS):
        for name in names:
            sample[name].append(row.values[name])
    return sample


def examples(sample: Mapping[str, Sequence[Cell]]) -> str:
    """Returns the columns with an example each, as one line."""
    shown = []
    for name, cells in sample.items():
        first = next((text_of(cell) for cell in cells if cell), "")
        more = "..." if len(first) > SHOWN_CHARACTERS else ""
        shown.append(f"{name} ({first[:SHOWN_CHARACTERS]!r}{more})" if first else f"{name} (empty)")
    return joined(shown, 20) or "no columns"


def _of_chat(
    sample: Mapping[str, Sequence[Cell]], text: str | None, answer: str | None, sentences: list[str]
) -> tuple[str, str]:
    """Returns `prompt` and `completion` for columns of a chat; adds what is read and what is not to `sentences`."""
    read = columns_read(sample)
    filled = {name for name in read if any(sample[name])}
    others = filled - {text, answer}
    if text in read and not (others or text in ("messages", "conversations")):
        return text, answer or COLUMNS[1]
    if (text is not None and text not in (*read, COLUMNS[0])) or (
        answer is not None and answer not in (*read, COLUMNS[1])
    ):
        return str(text), str(answer)
    sentences.append(f"A chat format: {joined(sorted(filled))} become `prompt` and `completion`.")
    if left_out := sorted(set(sample) - read):
        sentences.append(f"Not read: {joined(left_out, 20)}.")
    return COLUMNS


def _is_known(name: str, known: set[str]) -> bool:
    return name in known or name.partition(".")[0].removesuffix("[]").removesuffix("[*]") in known


def _guessed(
    sample: Mapping[str, Sequence[Cell]], path: Path, text: str | None, answer: str | None, one_hot: tuple[str, ...]
) -> tuple[str, str]:
    """Returns the columns, guessed by their usual names and by their cells.

    Raises:
        DataError: nothing speaks for one of them.
    """
    filled = [name for name, cells in sample.items() if sum(bool(cell) for cell in cells) > len(cells) / 2]
    if answer is None:
        free = [name for name in filled if name != text]
        named = [name for usual in _ANSWER_NAMES for name in free if name.lower() == usual]
        repeated = [name for name in free if _is_repeated(sample[name])]
        answer = next(iter(named), repeated[0] if len(repeated) == 1 else None)
    if text is None:
        free = [name for name in filled if name not in (answer, *one_hot)]
        named = [name for usual in _TEXT_NAMES for name in free if name.lower() == usual]
        by_length = sorted(free, key=lambda name: -statistics.mean(len(text_of(cell)) for cell in sample[name]))
        text = next(iter(named or by_length), None)
    if text is None or answer is None:
        missing = "--text" if text is None else "--answer"
        raise DataError(
            Problem(
                f"{missing} is missing and can't be guessed",
                where=str(path),
                found=examples(sample),
                wanted="a column with the texts and one with the right answers",
                do="name them: --text COLUMN --answer COLUMN",
            )
        )
    return text, answer


def _is_repeated(cells: Sequence[Cell]) -> bool:
    """Whether a column has few different values, as labels have."""
    return 2 <= len({cell for cell in cells if cell}) <= len(cells) / 5
