"""The columns of a file of rows: which one the model reads, which one has the answers, and what the others are."""

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rungwise.config import SourceSettings
from rungwise.core.errors import DataError, Problem, SettingsError
from rungwise.core.folders import joined
from rungwise.dataset.answer_cells import looks_one_hot
from rungwise.dataset.readers import (
    Cell,
    columns,
    columns_of_turns,
    columns_read,
    ends_with_a_reply,
    is_chat,
    is_conversation,
    object_in,
    text_of,
)
from rungwise.dataset.readers.chats import COLUMNS, columns_asked, columns_before
from rungwise.dataset.readers.objects import first_key
from rungwise.init.choices import Choice, choice_of, option_columns
from rungwise.init.column_checks import (
    check_named,
    check_title,
    is_known,
    refuse_parts,
    refuse_spans,
    refuse_unreadable,
    spelled,
    unwanted_answers,
)
from rungwise.init.exports import export_of
from rungwise.init.file_form import Options
from rungwise.init.references import are_lists, are_references, numbered
from rungwise.init.sample import SHOWN_CHARACTERS, examples, sampled

_ANSWER_NAMES = (
    "completion", "answer", "answers", "best_answer", "label", "labels", "gold_label", "output", "target", "category",
    "class", "intent", "queue", "tag", "tags", "keywords", "response", "reply", "summary", "highlights", "sql",
    "reference", "references", "solution", "answerkey", "answer_key", "correct", "correct_option", "correct_answer",
    "answer_idx", "answer_index", "gold", "cop",
)  # fmt: skip
"""Usual names of the column with the answers, the most certain first."""
_TEXT_NAMES = (
    "prompt", "text", "body", "question", "problem", "input", "sentence", "message", "utterance", "content", "query",
    "review", "comment", "tweet", "mail", "email", "document", "article", "dialogue", "passage", "abstract",
    "description", "title", "headline", "ctx", "question_stem", "stem", "goal", "premise", "startphrase",
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
_LABEL_NAMES = ("label", "labels", "gold_label", "target", "class", "intent", "topic", "queue")
"""Usual names of a column with the label of a conversation, also if the conversation ends with a reply."""
_ORIGIN = re.compile(
    r"(?:.*[ _-])?(?:source|origin|split|dataset|subset|lang|language|licen[cs]e|model|url|version|difficulty|level)",
    re.IGNORECASE,
)
"""Names of columns that describe where a row comes from, not its answer."""
_FLAG = re.compile(r"(is|has|was|needs|should)[ _-]?.*", re.IGNORECASE)
"""Names of columns that describe a row and are not labels."""
_CONVERSATIONS = 0.9
"""A column has conversations if at least this share of its filled cells are conversations."""


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
    others: tuple[str, ...] = ()
    """Columns with further right answers."""
    are_lists: bool = False
    """Whether the cells of `answer` and `others` are lists that are written as text."""
    optional: tuple[str, ...] = ()
    """Those of `texts` that are empty in some rows."""
    are_spans: bool = False
    """Whether the answers are spans of another column, as SQuAD has them: each is a right answer."""
    chat: str | None = None
    """The column with the conversations, if its name does not say so (see `SourceSettings.chat`)."""
    choice: Choice | None = None
    """The options of questions, which are the last of `texts`."""
    sentences: tuple[str, ...] = ()
    """What was guessed or is not read."""

    @property
    def options(self) -> tuple[str, ...]:
        """The columns, or paths in a column, with the options of questions."""
        return self.choice.options if self.choice else ()


def chosen_columns(source: SourceSettings, path: Path, options: Options) -> Columns:
    """Returns the columns that the user named; guesses those that were not named.

    A column of a chat format means the whole chat if the other columns of the format have values. A name that differs
    from the file's only in case or in spaces around it means the file's.

    Raises:
        DataError: a named column does not exist, or none can be guessed.
        SettingsError: text and answer are the same column.
    """
    sample = sampled(source, path)
    if not any(sample.values()):
        refuse_unreadable(source, path, tuple(sample))
    export = export_of(sample)
    text, answer = (name and spelled(name, {*sample}) for name in (options.text, options.answer or export.answer))
    sentences = export.sentences(answer)
    whole, answer = _labelled_conversation(sample, text, answer, sentences)
    text = text or whole
    chat = whole or _conversations(sample, text, answer)
    has_chat = not whole and is_chat(sample, chat)
    if has_chat and (not all(name in sample for name in COLUMNS) or columns_before(sample)):
        text, answer = _of_chat(sample, chat, text, answer, sentences)
    known = {*sample, *(COLUMNS if has_chat else ())}
    named, one_hot, answer = _spelled_names(sample, path, columns(source, path), known, text, answer)
    others = tuple(spelled(name, known) for name in options.others if is_known(name, known))
    if one_hot and are_references(sample, one_hot):
        answer, others, one_hot = one_hot[0], one_hot[1:], ()
    is_guessed = not named or answer is None
    if is_guessed:
        check_title(sample, path, columns(source, path))
        if answer is None:
            one_hot = _one_hot(export.free(sample), named)
            answer = ",".join(one_hot) or None
        named, answer = _guessed(export.free(sample), path, named, answer, one_hot)
    assert answer is not None  # given or guessed
    choice = None if one_hot or others else _choice(sample, named, answer, is_named=bool(text))
    if choice:
        sentences.append(choice.sentence(answer))
        named = (*(name for name in named if name not in (*choice.columns, *choice.options)), *choice.options)
    further = () if has_chat or one_hot or choice else numbered(sample, named, answer)
    others = tuple(dict.fromkeys([*others, *(further[1:] if options.finds_others or options.answer is None else ())]))
    spans = _spans(sample.get(answer, ()))
    if spans:
        sentences.append(f"The answers are in column {answer}, key `text`: `answer_start` is not read.")
        answer += spans
    if is_guessed:
        sentences += _said(sample, named, answer, one_hot, others)
    read = {*named, answer, *one_hot, *others, *(columns_before(sample) if whole else ())}
    if not (has_chat and COLUMNS[0] in named):
        sentences += _left_out(sample, read, is_guessed=is_guessed)
    if further and not others:
        sentences.append(f"--answer {','.join(further)} takes each as a right answer.")
    _refuse_same({answer, *one_hot, *others} & {*named})
    sentences += unwanted_answers(sample, named, answer)
    refuse_parts(sample, path, answer)
    if optional := _sometimes_empty(sample, named, choice):
        sentences.append(f"Column {joined(optional)} is empty in some rows, which is allowed (`optional`).")
    lists = bool(others) and are_lists([sample.get(name, ()) for name in (answer, *others)])
    return Columns(named, answer, one_hot, others, lists, optional, bool(spans), chat, choice, tuple(sentences))


def _said(
    sample: Mapping[str, Sequence[Cell]],
    texts: Sequence[str],
    answer: str,
    one_hot: Sequence[str],
    others: Sequence[str],
) -> list[str]:
    """Returns what was guessed."""
    where = f"columns {joined(one_hot, 20)}: 1 means that it applies" if one_hot else f"column {answer}"
    read = f"column {texts[0]}" if len(texts) == 1 else f"columns {joined(texts)}"
    sentence = f"The model reads {read}, and the answers are in {where}."
    if others:
        place = "columns" if len(others) > 1 else "column"
        sentence += (
            f" Further right answers are in {place} {joined(others, 20)}, of which any counts (`answer.others`)."
        )
    return [sentence, f"The columns: {examples(sample)}. Name others with --text and --answer."]


def _refuse_same(same: set[str]) -> None:
    """Raises SettingsError if columns are both read and answered."""
    if same:
        raise SettingsError(
            Problem(
                "text and answer are the same column",
                found=joined(sorted(same)),
                wanted="two columns: the text that the model reads, and the right answer",
            )
        )


def _spelled_names(
    sample: Mapping[str, Sequence[Cell]],
    path: Path,
    header: Sequence[str],
    known: set[str],
    text: str | None,
    answer: str | None,
) -> tuple[tuple[str, ...], tuple[str, ...], str | None]:
    """Returns the text columns, the one-hot columns and the answer that the user named, as the file spells them.

    Raises:
        DataError: a column does not exist, or occurs twice.
    """
    texts, one_hot = _several(text, known), _several(answer, known)
    named = texts or ((text,) if text else ())
    check_named(sample, path, header, named, one_hot or [answer], known)
    named = tuple(spelled(name, known) for name in named)
    one_hot = tuple(spelled(name, known) for name in one_hot)
    return named, one_hot, answer if answer is None or one_hot else spelled(answer, known)


def _choice(
    sample: Mapping[str, Sequence[Cell]], texts: Sequence[str], answer: str, *, is_named: bool
) -> Choice | None:
    """Returns the options of questions that the answers name; None if the user named other columns to be read.

    An answer that is the text of an option can be learned without options, if the user named only the question.
    """
    if any(name not in sample and first_key(name) in option_columns(sample) for name in texts):
        return None  # the columns of another file
    choice = choice_of(sample, answer)
    if choice is None or all(name in choice.columns for name in texts):
        return None
    can_be_open = choice.chosen_by == "text" or choice.is_guess
    is_open = is_named and can_be_open and not {*choice.columns} & {*texts}
    return None if is_open else choice


def _sometimes_empty(
    sample: Mapping[str, Sequence[Cell]], texts: Sequence[str], choice: Choice | None
) -> tuple[str, ...]:
    """Returns the text columns that some rows leave empty, without the one that most rows fill, and such options."""
    asked = [name for name in texts if choice is None or name not in choice.options]
    n_empty = {name: sum(not text_of(cell).strip() for cell in sample.get(name, ())) for name in asked}
    most = min(asked, key=lambda name: n_empty[name])
    return (*(name for name in asked if n_empty[name] and name != most), *(choice.optional if choice else ()))


def _conversations(sample: Mapping[str, Sequence[Cell]], text: str | None, answer: str | None) -> str | None:
    """Returns the column that holds conversations, if its name does not say so; None if others were named."""
    if is_chat(sample) or text not in (None, COLUMNS[0], *sample) or answer not in (None, COLUMNS[1]):
        return None
    for name in sample if text in (None, COLUMNS[0]) else [str(text)]:
        if _are_conversations(sample[name], 2):
            return name
    return None


def _labelled_conversation(
    sample: Mapping[str, Sequence[Cell]], text: str | None, answer: str | None, sentences: list[str]
) -> tuple[str | None, str | None]:
    """Returns the column with conversations that have a label of their own, None if there is none; and the answer.

    The label is in the column that the user named; otherwise in one with the usual name, or in the only one with few
    different values if the conversations don't end with a reply that could be the answer. Adds what was decided to
    `sentences`.
    """
    usual = {*columns_of_turns(sample)}
    wanted = [name.strip() for name in text.split(",")] if text and text not in sample else [text] if text else sample
    holding = (name for name in wanted if name in sample and name not in COLUMNS)
    holding = (name for name in holding if _are_conversations(sample[name], 1 if name in usual else 2))
    column = next(holding, None)
    if column is None or answer in (COLUMNS[1], column) or answer in columns_read(sample):
        return None, answer
    instead = ""
    if answer is None:
        labels = [name for name in sample if name != column and _is_repeated(sample[name])]
        labels = [name for name in labels if not _is_mark(sample[name])]
        replies = any(ends_with_a_reply(cell) for cell in sample[column])
        usual_names = _LABEL_NAMES if replies else (*_LABEL_NAMES, *_ANSWER_NAMES)
        named = [name for usual_name in usual_names for name in labels if name.strip().lower() == usual_name]
        free = [name for name in labels if not _NUMBER.fullmatch(name) and not _ORIGIN.fullmatch(name)]
        named += free if len(free) == 1 and not replies else []
        if not named:
            return None, None
        answer = named[0]
        instead = f" To learn the last reply instead: --answer {COLUMNS[1]}." if replies else ""
    sentences.append(
        f"The conversation in column {column} is the prompt, and the answers are in column {answer}.{instead}"
    )
    return column, answer


def _are_conversations(cells: Sequence[Cell], least: int) -> bool:
    filled = [cell for cell in cells if cell]
    return bool(filled) and sum(is_conversation(cell, least) for cell in filled) >= _CONVERSATIONS * len(filled)


def _is_mark(cells: Sequence[Cell]) -> bool:
    """Whether a column says of each row only whether it is wanted."""
    return {text_of(cell).strip().casefold() for cell in cells} <= {"true", "false", ""}


def _spans(cells: Sequence[Cell]) -> str:
    """Returns the path of the texts in cells that are spans of another column, as SQuAD has them; empty for others."""
    first = next((cell for cell in cells if cell), "")
    path = "[*].text" if isinstance(first, tuple) else ".text"
    text = first[0] if isinstance(first, tuple) else first
    return path if {"text", "answer_start"} <= set(object_in(text) or ()) else ""


def _value_of(sample: Mapping[str, Sequence[Cell]], name: str) -> str:
    """Returns the path of the values if a column has objects with one key, the same in all; or its name."""
    objects = [object_in(cell) if isinstance(cell, str) else None for cell in sample.get(name, ()) if cell]
    keys = {key for one in objects for key in one or ()}
    return f"{name}.{keys.pop()}" if len(keys) == 1 and all(objects) else name


def _left_out(sample: Mapping[str, Sequence[Cell]], read: set[str], *, is_guessed: bool) -> list[str]:
    """Returns a sentence with the columns that are not read, if the user does not see them all anyway."""
    names = [name for name in _not_read(sample, read) if not is_guessed or name in columns_before(sample)]
    return [f"Not read: {joined(names, 20)}. The model reads several columns with --text A,B."] if names else []


def _not_read(sample: Mapping[str, Sequence[Cell]], read: set[str]) -> list[str]:
    """Returns the filled columns that are not read, without those that number the rows."""
    first = set(map(first_key, read))
    return [
        name
        for name, cells in sample.items()
        if name not in {*read, *first} and any(cells) and not _NUMBER.fullmatch(name)
    ]


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


def _of_chat(
    sample: Mapping[str, Sequence[Cell]],
    chat: str | None,
    text: str | None,
    answer: str | None,
    sentences: list[str],
) -> tuple[str | None, str | None]:
    """Returns `prompt` and `completion` for columns of a chat; adds what is read and what is not to `sentences`."""
    read = columns_read(sample, chat)
    others = read - {text, answer}
    if text in read and answer in sample and answer not in read and len(asked := columns_asked(sample, str(text))) > 1:
        sentences.append(f"An instruction format: {joined(sorted(asked))} become `prompt`.")
        if left_out := sorted(set(sample) - asked - {str(answer)}):
            sentences.append(f"Not read: {joined(left_out, 20)}.")
        return COLUMNS[0], answer
    if text in read and not (others or text in (chat, "messages", "conversations") or "chosen" in read):
        return text, answer or COLUMNS[1]
    if (text is not None and text not in (*read, COLUMNS[0])) or (
        answer is not None and answer not in (*read, COLUMNS[1])
    ):
        return text, answer
    sentences.append(f"A chat format: {joined(sorted(read))} become `prompt` and `completion`.")
    if left_out := sorted(set(sample) - read):
        sentences.append(f"Not read: {joined(left_out, 20)}.")
    return COLUMNS


def _guessed(
    sample: Mapping[str, Sequence[Cell]],
    path: Path,
    texts: tuple[str, ...],
    answer: str | None,
    one_hot: tuple[str, ...],
) -> tuple[tuple[str, ...], str]:
    """Returns the columns, guessed by their usual names and by their cells; an object with one key is its value.

    Raises:
        DataError: nothing speaks for one of them.
    """
    named_before = {*texts, answer}
    filled = [name for name, cells in sample.items() if sum(bool(cell) for cell in cells) > len(cells) / 2]
    choices = option_columns(sample)
    if answer is None:
        free = [name for name in filled if name not in texts]
        named = [name for usual in _ANSWER_NAMES for name in free if name.lower() == usual]
        repeated = [
            name
            for name in free
            if name not in choices
            and _is_repeated(sample[name])
            and not _NUMBER.fullmatch(name)
            and not _ORIGIN.fullmatch(name)
        ]
        named += numbered(sample, texts, None)
        answer = next(iter(named), repeated[0] if len(repeated) == 1 else None)
    if not texts:
        free = [name for name in filled if name not in (answer, *one_hot, *numbered(sample, (), answer))]
        texts = _together(sample, free)
        free = [name for name in free if name not in option_columns(sample, answer)] or free
        named = [name for usual in _TEXT_NAMES for name in free if name.lower() == usual]
        by_length = sorted(free, key=lambda name: -statistics.mean(len(text_of(cell)) for cell in sample[name]))
        texts = texts or tuple((named or by_length)[:1])
    if not texts or answer is None:
        for name in sample:
            refuse_spans(sample, path, name)
        missing = "--answer" if texts else "--text"
        raise DataError(
            Problem(
                f"{missing} is missing and can't be guessed",
                where=str(path),
                found=examples(sample),
                wanted="a column with the texts and one with the right answers",
                do="name them: --text COLUMN --answer COLUMN"
                + ("; or use --no-header if the first row is not a header" if _are_sentences(sample) else ""),
            )
        )
    guessed = {*texts, answer} - named_before
    texts = tuple(_value_of(sample, name) if name in guessed else name for name in texts)
    return texts, _value_of(sample, answer) if answer in guessed else answer


def _are_sentences(names: Iterable[str]) -> bool:
    """Whether a name is so long that it may be a cell of the first row."""
    return any(len(name.split()) > 5 for name in names)


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
