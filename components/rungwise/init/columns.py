"""The columns of a file of rows: which one the model reads, which one has the answers, and what the others are."""

import re
import statistics
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from rungwise.config import SourceSettings
from rungwise.core.errors import DataError, Problem, SettingsError
from rungwise.core.folders import joined
from rungwise.dataset.answer_cells import looks_one_hot
from rungwise.dataset.readers import (
    Bad,
    Cell,
    Row,
    columns,
    columns_read,
    is_chat,
    is_conversation,
    object_in,
    rows,
    text_of,
)
from rungwise.dataset.readers.chats import COLUMNS

SAMPLED_ROWS = 300
SHOWN_CHARACTERS = 40
"""Longest example of a cell in a message."""
_ANSWER_NAMES = (
    "completion", "answer", "answers", "best_answer", "label", "labels", "gold_label", "output", "target", "category",
    "class", "intent", "queue", "tag", "tags", "keywords", "response", "reply", "summary", "highlights", "sql",
    "reference", "references", "solution",
)  # fmt: skip
"""Usual names of the column with the answers, the most certain first."""
_TEXT_NAMES = (
    "prompt", "text", "body", "question", "problem", "input", "sentence", "message", "utterance", "content", "query",
    "review", "comment", "tweet", "mail", "email", "document", "article", "dialogue", "passage", "abstract",
    "description", "title", "headline",
)  # fmt: skip
"""Usual names of the column that a model reads."""
_TEXTS_TOGETHER = (
    ("context", "question", "answera", "answerb", "answerc"), ("word", "sentence1", "sentence2"),
    ("goal", "sol1", "sol2"), ("premise", "choice1", "choice2", "question"), ("sentence", "option1", "option2"),
    ("tools", "query"),
    ("#1 string", "#2 string"), ("question_stem", "choices"), ("ctx", "endings"), ("passages", "query"),
    ("question_title", "question_content"), ("headline", "short_description"), ("story", "questions"),
    ("premise", "hypothesis"), ("sentence1", "sentence2"), ("sentence_1", "sentence_2"), ("sentence_a", "sentence_b"),
    ("question1", "question2"), ("text1", "text2"), ("text_a", "text_b"), ("query", "document"), ("query", "passage"),
    ("context", "question"), ("passage", "question"), ("article", "question"), ("document", "question"),
    ("question", "choices"), ("question", "options"), ("subject", "body"), ("subject", "message"), ("subject", "text"),
    ("title", "body"), ("title", "text"), ("title", "content"), ("title", "description"), ("title", "abstract"),
)  # fmt: skip
"""Usual names of columns that mean something only together, in the order in which a model reads them."""
_ORIGIN = re.compile(
    r"(?:.*[ _-])?(?:source|origin|split|dataset|subset|lang|language|licen[cs]e|model|url|version|difficulty|level)",
    re.IGNORECASE,
)
"""Names of columns that say where a row comes from, and are no answers."""
_FLAG = re.compile(r"(is|has|was|needs|should)[ _-]?.*", re.IGNORECASE)
"""Names of columns that say something about a row, and are no labels."""
_CONVERSATIONS = 0.9
"""A column has conversations if at least this share of its filled cells are some."""


_NUMBER = re.compile(r"(?:.*[ _-])?(?:id|idx|index|row|nr|no|number)|unnamed: \d+", re.IGNORECASE)
"""Names of columns that number the rows."""


@dataclass(frozen=True)
class Columns:
    """The columns of a task."""

    texts: tuple[str, ...]
    """The columns that the model reads, in their order."""
    answer: str
    """The column with the answers; several names with commas if `one_hot` has them."""
    one_hot: tuple[str, ...] = ()
    """Columns named like the labels, if each says whether its label applies."""
    optional: tuple[str, ...] = ()
    """Those of `texts` that are empty in some rows."""
    are_spans: bool = False
    """Whether the answers are spans of another column, as SQuAD has them: each is a right answer."""
    chat: str | None = None
    """The column with the conversations, if its name does not say so (see `SourceSettings.chat`)."""
    sentences: tuple[str, ...] = ()
    """What was guessed or is not read."""


def chosen_columns(source: SourceSettings, path: Path, text: str | None, answer: str | None) -> Columns:
    """Returns the columns that the user named; guesses those that were not named.

    A column of a chat format means the whole chat if the other columns of the format have values. A name that differs
    from the file's only in case or in spaces around it means the file's.

    Raises:
        DataError: a named column does not exist, or none can be guessed.
        SettingsError: text and answer are the same column.
    """
    sample = sampled(source, path)
    if not any(sample.values()):
        _refuse_unreadable(source, path, tuple(sample))
    sentences: list[str] = []
    chat = _conversations(sample, text, answer)
    has_chat = is_chat(sample, chat)
    if has_chat and not all(name in sample for name in COLUMNS):
        text, answer = _of_chat(sample, chat, text, answer, sentences)
    known = {*sample, *(COLUMNS if has_chat else ())}
    texts, one_hot = _several(text, known), _several(answer, known)
    named = texts or ((text,) if text else ())
    _check_named(sample, path, columns(source, path), named, one_hot or [answer], known)
    named = tuple(_spelled(name, known) for name in named)
    one_hot = tuple(_spelled(name, known) for name in one_hot)
    answer = answer if answer is None or one_hot else _spelled(answer, known)
    is_guessed = not named or answer is None
    if is_guessed:
        _check_title(sample, path, columns(source, path))
        if answer is None:
            one_hot = _one_hot(sample, named)
            answer = ",".join(one_hot) or None
        named, answer = _guessed(sample, path, named, answer, one_hot)
    assert answer is not None  # given or guessed
    spans = _spans(sample.get(answer, ()))
    if spans:
        sentences.append(f"The answers are in column {answer}, key `{spans}`: `answer_start` is not read.")
        answer = f"{answer}.{spans}"
    if is_guessed:
        where = f"columns {joined(one_hot, 20)}: 1 means that it applies" if one_hot else f"column {answer}"
        read = f"column {named[0]}" if len(named) == 1 else f"columns {joined(named)}"
        sentences.append(f"The model reads {read}, and the answers are in {where}.")
        sentences.append(f"The columns: {examples(sample)}. Name others with --text and --answer.")
    elif left_out := _not_read(sample, {*named, answer, *one_hot}, has_chat=has_chat):
        sentences.append(f"Not read: {joined(left_out, 20)}. The model reads several columns with --text A,B.")
    if same := {answer, *one_hot} & set(named):
        raise SettingsError(
            Problem(
                "text and answer are the same column",
                found=joined(sorted(same)),
                wanted="two columns: the text that the model reads, and the right answer",
            )
        )
    sentences += _wanted_only(sample, named, answer)
    _refuse_tags(sample, path, named, answer)
    optional = _sometimes_empty(sample, named)
    if optional:
        sentences.append(f"Column {joined(optional)} is empty in some rows, which is allowed (`optional`).")
    return Columns(named, answer, one_hot, optional, bool(spans), chat, tuple(sentences))


def _wanted_only(sample: Mapping[str, Sequence[Cell]], texts: Sequence[str], answer: str) -> list[str]:
    """Returns a warning if a column says that some answers are not wanted, as in rows for KTO."""
    flags = {text_of(cell).strip().casefold() for cell in sample.get("label", ())}
    if answer != COLUMNS[1] or "label" in texts or not flags or not flags <= {"true", "false"}:
        return []
    return [
        "Warning: column label says true or false of each completion. All of them are learned: remove the rows with "
        "false if those are not wanted."
    ]


def _refuse_tags(sample: Mapping[str, Sequence[Cell]], path: Path, texts: Sequence[str], answer: str) -> None:
    """Raises DataError if the answers are lists of tags, one for each word of the text."""
    for name in sample:
        pairs = list(zip(sample[name], sample.get(answer, ()), strict=False))
        lists = [(a, b) for a, b in pairs if isinstance(a, tuple) and isinstance(b, tuple)]
        is_tagged = lists and len(lists) == len(pairs) and all(len(a) == len(b) for a, b in lists)
        if name == answer or not is_tagged or len({len(a) for a, _ in lists}) == 1:
            continue
        tags, words = {tag for _, b in lists for tag in b}, {word for a, _ in lists for word in a}
        if len(tags) < len(words) / 2:
            raise DataError(
                Problem(
                    "the answers are tags, one for each word",
                    where=str(path),
                    found=f"lists as long as those of column {name}, of {len(tags)} different tags",
                    wanted="answers for a whole text: a label, a list of items, a text or an object",
                    do='write what they mark into a column of its own, such as {"person": ["Ada"], "place": ["Rome"]}',
                )
            )


def _sometimes_empty(sample: Mapping[str, Sequence[Cell]], texts: Sequence[str]) -> tuple[str, ...]:
    """Returns the text columns that some rows leave empty, without the one that most rows fill."""
    n_empty = {name: sum(not text_of(cell).strip() for cell in sample.get(name, ())) for name in texts}
    most = min(texts, key=lambda name: n_empty[name])
    return tuple(name for name in texts if n_empty[name] and name != most)


def _conversations(sample: Mapping[str, Sequence[Cell]], text: str | None, answer: str | None) -> str | None:
    """Returns the column that holds conversations, if its name does not say so; None if others were named."""
    if is_chat(sample) or text not in (None, COLUMNS[0], *sample) or answer not in (None, COLUMNS[1]):
        return None
    for name in sample if text in (None, COLUMNS[0]) else [str(text)]:
        filled = [cell for cell in sample[name] if cell]
        if filled and sum(map(is_conversation, filled)) >= _CONVERSATIONS * len(filled):
            return name
    return None


def _spelled(name: str, known: set[str]) -> str:
    """Returns a column's name as the file spells it."""
    alike = [one for one in known if one.strip().casefold() == name.strip().casefold()]
    return name if name in known or len(alike) != 1 else alike[0]


def _spans(cells: Sequence[Cell]) -> str:
    """Returns the key of the texts in cells that are spans of another column, as SQuAD has them; empty for others."""
    first = next((text_of(cell) for cell in cells if cell), "")
    return "text" if {"text", "answer_start"} <= set(object_in(first) or ()) else ""


def _not_read(sample: Mapping[str, Sequence[Cell]], read: set[str], *, has_chat: bool) -> list[str]:
    """Returns the filled columns that are not read, without those that number the rows."""
    first = {name.partition(".")[0].removesuffix("[]").removesuffix("[*]") for name in read}
    return [
        name
        for name, cells in sample.items()
        if not has_chat and name not in {*read, *first} and any(cells) and not _NUMBER.fullmatch(name)
    ]


def _check_named(
    sample: Mapping[str, Sequence[Cell]],
    path: Path,
    header: Sequence[str],
    texts: Collection[str | None],
    answers: Collection[str | None],
    known: set[str],
) -> None:
    """Raises DataError if a named column does not exist, or occurs twice in the header."""
    repeated = [name for name, n in Counter(header).items() if n > 1 and name]
    for option, names in (("--text", texts), ("--answer", answers)):
        for name in names:
            if name is None:
                continue
            if name in repeated:
                raise DataError(
                    Problem(
                        "a column occurs twice in the header",
                        where=f"{path}, line 1",
                        found=joined(repeated),
                        wanted=f"one column {name}",
                        do="rename one of them in the header",
                    )
                )
            if not _is_known(name, known):
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


def _check_title(sample: Mapping[str, Sequence[Cell]], path: Path, header: Sequence[str]) -> None:
    """Raises DataError if the first line names only one of several columns, as a title above the header does."""
    if len(sample) < 2 and "" in header:
        raise DataError(
            Problem(
                "a column has no name",
                where=f"{path}, the first line",
                found=examples(sample),
                wanted="the names of the columns",
                do="remove what comes before the header, or use --no-header if the first line is a row",
            )
        )


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


def _one_hot(sample: Mapping[str, Sequence[Cell]], texts: Sequence[str]) -> tuple[str, ...]:
    """Returns the columns that look like one label each; none if another column may have the answers."""
    if any(name.lower() in _ANSWER_NAMES for name in sample):
        return ()
    free = [name for name in sample if name not in texts and not _NUMBER.fullmatch(name) and not _FLAG.fullmatch(name)]
    names = tuple(name for name in free if looks_one_hot(sample[name]))
    repeated = [name for name in free if name not in names and _is_repeated(sample[name])]
    return names if len(names) > 1 and not repeated else ()


def sampled(source: SourceSettings, path: Path) -> dict[str, list[Cell]]:
    """Returns column -> its cells in the first rows that can be read."""
    plain = source.model_copy(update={"columns": {}})
    names = tuple(name for name, n in Counter(columns(source, path)).items() if n == 1 and name)
    if names and not any(_readable(plain, path, names)):  # a column that is not text does not hide the others
        names = tuple(name for name in names if any(_readable(plain, path, (name,)))) or names
    sample: dict[str, list[Cell]] = {name: [] for name in names}
    for row in islice(_readable(plain, path, names) if names else (), SAMPLED_ROWS):
        for name in names:
            sample[name].append(row.values[name])
    return sample


def _readable(source: SourceSettings, path: Path, names: tuple[str, ...]) -> Iterator[Row]:
    return (row for row in rows(source, path, names) if isinstance(row, Row))


def examples(sample: Mapping[str, Sequence[Cell]]) -> str:
    """Returns the columns with an example each, as one line; of an object, each of its keys."""
    shown = []
    for name, cells in sample.items():
        first = next((text_of(cell) for cell in cells if cell), "")
        keys = object_in(first) if first else None
        for path, text in {f"{name}.{key}": str(value) for key, value in keys.items()}.items() if keys else ():
            shown.append(f"{path} ({_shortened(text)})")
        if not keys:
            shown.append(f"{name} ({_shortened(first)})" if first else f"{name} (empty)")
    return joined(shown, 20) or "no columns"


def _shortened(text: str) -> str:
    return f"{text[:SHOWN_CHARACTERS]!r}{'...' if len(text) > SHOWN_CHARACTERS else ''}"


def _of_chat(
    sample: Mapping[str, Sequence[Cell]],
    chat: str | None,
    text: str | None,
    answer: str | None,
    sentences: list[str],
) -> tuple[str | None, str | None]:
    """Returns `prompt` and `completion` for columns of a chat; adds what is read and what is not to `sentences`."""
    read = columns_read(sample, chat)
    filled = {name for name in read if any(sample[name])}
    others = filled - {text, answer}
    if text in read and not (others or text in (chat, "messages", "conversations") or "chosen" in read):
        return text, answer or COLUMNS[1]
    if (text is not None and text not in (*read, COLUMNS[0])) or (
        answer is not None and answer not in (*read, COLUMNS[1])
    ):
        return text, answer
    sentences.append(f"A chat format: {joined(sorted(filled))} become `prompt` and `completion`.")
    if left_out := sorted(set(sample) - read):
        sentences.append(f"Not read: {joined(left_out, 20)}.")
    return COLUMNS


def _is_known(name: str, known: set[str]) -> bool:
    name = _spelled(name, known)
    return name in known or name.partition(".")[0].removesuffix("[]").removesuffix("[*]") in known


def _guessed(
    sample: Mapping[str, Sequence[Cell]],
    path: Path,
    texts: tuple[str, ...],
    answer: str | None,
    one_hot: tuple[str, ...],
) -> tuple[tuple[str, ...], str]:
    """Returns the columns, guessed by their usual names and by their cells.

    Raises:
        DataError: nothing speaks for one of them.
    """
    filled = [name for name, cells in sample.items() if sum(bool(cell) for cell in cells) > len(cells) / 2]
    if answer is None:
        free = [name for name in filled if name not in texts]
        named = [name for usual in _ANSWER_NAMES for name in free if name.lower() == usual]
        repeated = [
            name
            for name in free
            if _is_repeated(sample[name]) and not _NUMBER.fullmatch(name) and not _ORIGIN.fullmatch(name)
        ]
        answer = next(iter(named), repeated[0] if len(repeated) == 1 else None)
    if not texts:
        free = [name for name in filled if name not in (answer, *one_hot)]
        texts = _together(sample, free)
        named = [name for usual in _TEXT_NAMES for name in free if name.lower() == usual]
        by_length = sorted(free, key=lambda name: -statistics.mean(len(text_of(cell)) for cell in sample[name]))
        texts = texts or tuple((named or by_length)[:1])
    if not texts or answer is None:
        missing = "--answer" if texts else "--text"
        raise DataError(
            Problem(
                f"{missing} is missing and can't be guessed",
                where=str(path),
                found=examples(sample),
                wanted="a column with the texts and one with the right answers",
                do="name them: --text COLUMN --answer COLUMN",
            )
        )
    return texts, answer


def _together(sample: Mapping[str, Sequence[Cell]], free: Sequence[str]) -> tuple[str, ...]:
    """Returns the columns that mean something only together, by their usual names; none if there are none."""
    by_name = {name.strip().lower(): name for name in free if not _is_a_class(sample[name])}
    chosen = next((names for names in _TEXTS_TOGETHER if all(name in by_name for name in names)), ())
    more = [name for name in ("choices", "options") if "question" in chosen and name in by_name and name not in chosen]
    return tuple(by_name[name] for name in (*chosen, *more))


def _is_a_class(cells: Sequence[Cell]) -> bool:
    """Whether a column has few different short values; a text that several rows share is long."""
    return _is_repeated(cells) and statistics.mean(len(text_of(cell)) for cell in cells) < SHOWN_CHARACTERS / 2


def _is_repeated(cells: Sequence[Cell]) -> bool:
    """Whether a column has few different values, as labels have."""
    return 2 <= len({cell for cell in cells if cell}) <= len(cells) / 5
