"""Warnings about the rows before anything is trained: what they are too few to show, and which will be rejected."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rungwise.config import (
    AnswerSettings,
    DecideSettings,
    EvaluateSettings,
    IngestSettings,
    SplitSettings,
    ValidateSettings,
    base_named,
)
from rungwise.core.errors import ModelError
from rungwise.core.prompts import list_text, object_text
from rungwise.core.texts import n_words, normalised, number_of
from rungwise.dataset.answer_cells import items_in
from rungwise.dataset.labels import alike, frequent_items, unseen_labels, unseen_values
from rungwise.dataset.labels import listed as listed_labels
from rungwise.dataset.readers import Cell, object_in, text_of, value_in
from rungwise.dataset.readers.cells import as_cell
from rungwise.evidence.ceiling import unseen_of
from rungwise.evidence.intervals import share_needed, wilson
from rungwise.evidence.levels import proof_interval, screen_interval
from rungwise.init.answers import NO_VALUE, common_phrases
from rungwise.init.guess import Guess
from rungwise.init.lost import listed
from rungwise.init.rows_file import MIN_EVALUATION_ROWS, RowsFile
from rungwise.model.bases import local_folder

SAMPLED_ROWS = 500
"""About as many rows are tokenized to estimate how long the rows are."""
PROMPT_TOKENS = 12
"""About as many tokens are added to a row by the guessed prompt."""
RARE_LABEL_ROWS = 10
"""A label with fewer rows than this is reported as rare."""
_SIDE_NAMES = {"dev": "validation", "test": "test"}


def row_warnings(
    files: Sequence[RowsFile],
    rows: Sequence[tuple[str, str]],
    guess: Guess,
    counts: Mapping[str, int],
    limits: Mapping[str, float],
) -> list[str]:
    """Returns warnings about the rows, one sentence each.

    Args:
        files: the files of rows.
        rows: text and answer of each training row.
        guess: the format of the answers.
        counts: `dev` and `test` -> number of rows.
        limits: settings that were written because the run would refuse these rows otherwise, by dotted name.
    """
    messages = [*_few_rows(counts, guess.bar, limits), *_incomplete_rows(files, limits)]
    answers = [answer for _, answer in rows]
    if guess.format == "label":
        rare = [label for label, n in Counter(answers).items() if n < RARE_LABEL_ROWS]
        if rare:
            have = number_of(len(rare), "label", "has", "have")
            messages.append(f"{have} fewer than {RARE_LABEL_ROWS} rows, too few to score a label alone.")
        if sum(bool(_FRACTION.fullmatch(label)) for label in set(answers)) > len(set(answers)) / 2:
            messages.append(
                "the answers are numbers, and each is taken for a label: one that is nearly right counts as wrong."
            )
        if groups := alike(answers):
            messages.append(f"{listed_labels(groups)}. If they are the same, set `answer.merge_labels: true`.")
    if guess.format == "text" and not all(value_in(answer) is not None for answer in answers):
        for phrase in common_phrases(answers):
            messages.append(
                f"nearly all answers begin or end with {phrase[:60]!r}. A score of the text counts it; `answer.strip` "
                "leaves it out."
            )
    n_nothing = sum(text.strip().casefold() in NO_VALUE for text, _ in rows)
    if n_nothing:
        messages.append(
            f"{number_of(n_nothing, 'text', 'says', 'say')} only that there is none, such as `NaN` or `N/A`: "
            "remove such rows."
        )
    n_texts = len({normalised(text) for text, _ in rows})
    if n_texts < len(rows) / 2:
        messages.append(
            f"{number_of(len(rows), 'row')} with only {number_of(n_texts, 'different text')}: exact duplicates "
            "are dropped."
        )
    usual = ValidateSettings()
    n_long = sum(is_too_long(text, answer) for text, answer in rows)
    if n_long:
        messages.append(
            f"rows with a cell of more than {number_of(usual.max_characters, 'character')} or "
            f"{number_of(usual.max_words, 'word')} will be rejected: {n_long} of {len(rows)}."
        )
    if raised := limits.get("validate.max_rejected_share"):
        messages.append(
            f"more than {usual.max_rejected_share:.0%} of the rows will be rejected as too long or because their label "
            f"has one row only, so `validate.max_rejected_share` is set to {raised:g}."
        )
    return [f"Warning: {message}" for message in messages]


def is_too_long(text: str, answer: str) -> bool:
    """Whether `validate` rejects a row because it is too long."""
    usual = ValidateSettings()
    return max(len(text), len(answer)) > usual.max_characters or n_words(text) > usual.max_words


def unseen_warnings(
    guess: Guess,
    answer: AnswerSettings,
    rows: Sequence[tuple[str, Cell]],
    sides: Mapping[str, Sequence[tuple[str, Cell]]],
) -> list[str]:
    """Returns which labels and items of the user's own validation and test rows no training row has.

    Args:
        guess: the format of the answers.
        answer: the settings that were written for them.
        rows: text and answer of each training row.
        sides: `dev` and `test` -> rows.
    """
    if guess.format == "text" or not sides:
        return []
    messages = []
    known = [_written(guess, one) for _, one in rows]
    for side, own in sides.items():
        unseen, name = unseen_of(answer, known, [_written(guess, one) for _, one in own]), _SIDE_NAMES[side]
        if unseen.values and guess.format == "label":
            messages.append(f"{unseen_labels(unseen.values, unseen.rows, name)}.")
            groups = [
                group
                for group in alike([*known, *unseen.values])
                if {*group} & {*known} and {*group} & {*unseen.values}
            ]
            messages += [f"{listed_labels(groups)}. `answer.merge_labels: true` makes them one."] if groups else []
        elif unseen.values:
            messages.append(f"{unseen_values(unseen.values, unseen.affected, unseen.rows, unseen.ceiling, name)}.")
        if frequent := frequent_items(unseen.open_items, unseen.rows, name):
            messages.append(f"{frequent}.")
    return [f"Warning: {message}" for message in messages]


def repeated_warnings(
    n_removed: int,
    rows: Sequence[tuple[str, Cell]],
    sides: Mapping[str, Sequence[tuple[str, Cell]]],
    limits: Mapping[str, float],
) -> list[str]:
    """Returns how many of the user's own validation and test rows have the text of a training row.

    Args:
        n_removed: the training rows that a run removes because of them.
        rows: text and answer of all training rows.
        sides: `dev` and `test` -> rows.
        limits: settings that were written because the run would refuse these rows otherwise, by dotted name.
    """
    messages = []
    texts = {normalised(text) for text, _ in rows} if sides else set()
    for side, own in sides.items():
        if n := sum(normalised(text) in texts for text, _ in own):
            messages.append(f"{n} of {len(own)} {_SIDE_NAMES[side]} rows have the text of a training row.")
    if not messages:
        return []
    messages[-1] += f" A run removes {number_of(n_removed, 'training row')} with the text of a validation or test row."
    if raised := limits.get("split.max_leaked_share"):
        usual = SplitSettings.model_fields["max_leaked_share"].default
        messages.append(
            f"more than {usual:.0%} of the training rows are removed, so `split.max_leaked_share` is set to {raised:g}."
        )
    return [f"Warning: {message}" for message in messages]


def _written(guess: Guess, answer: Cell) -> str:
    """Returns an answer as a model writes it."""
    if guess.format == "list":
        return list_text(items_in(answer, guess.separator), guess.separator)
    if guess.format != "json":
        return text_of(answer).strip()
    cells = object_in(text_of(answer)) or {}
    return object_text({key: _value(one, as_cell(cells.get(key))) for key, one in guess.fields.items()})


def _value(guess: Guess, cell: Cell) -> str | list[str]:
    """Returns the value of an object's field as a model writes it."""
    return items_in(cell, guess.separator) if guess.format == "list" else text_of(cell).strip()


def _few_rows(counts: Mapping[str, int], bar: float, limits: Mapping[str, float]) -> list[str]:
    """Returns a message for each side of the split that is too small to show the bar clearly."""
    messages = []
    min_scored = DecideSettings().min_scored
    levels = {"dev": screen_interval(), "test": proof_interval(EvaluateSettings().confidence)}
    for side, n in counts.items():
        name, confidence, verb = _SIDE_NAMES[side], levels[side], "pass" if side == "dev" else "show"
        if n < min_scored:
            name_of = {"dev": "decide", "test": "promote"}[side]
            lowered = limits.get(f"{name_of}.min_scored")
            effect = f"; `{name_of}.min_scored` is lowered to {lowered:g}" if lowered else ""
            shown = math.floor(100 * wilson(1.0, n, confidence)[0]) / 100
            limit = f"Even with every answer right they show no bar above {shown:.2f}, and the bar is {bar:g}."
            score = share_needed(n, bar, confidence)
            limit = f"A score of {score:.2f} is needed to {verb} the bar of {bar:g}." if score else limit
            messages.append(
                f"{number_of(n, f'{name} row', 'is', 'are')} too few to show much: {min_scored} are "
                f"usual{effect}. {limit}"
            )
        elif n < MIN_EVALUATION_ROWS:
            score = share_needed(n, bar, confidence)
            needed = f"a score of {score:.2f} is needed" if score else "not even a score of 1 is enough"
            messages.append(
                f"with {number_of(n, f'{name} row')}, {needed} to {verb} the bar of {bar:g}. {MIN_EVALUATION_ROWS} "
                "or more rows show smaller differences."
            )
    return messages


def _incomplete_rows(files: Sequence[RowsFile], limits: Mapping[str, float]) -> list[str]:
    """Returns a message for each file whose rows lack text or answer, or can't be read."""
    messages = [
        f"{sum(one.n for one in file.lost.values())} of {file.n} rows in {file.title} can't be used: "
        f"{listed(file.lost)}."
        for file in files
        if file.lost
    ]
    if raised := limits.get("ingest.max_rejected_share"):
        usual = IngestSettings.model_fields["max_rejected_share"].default
        messages.append(
            f"more than {usual:.0%} of the rows can't be used, so `ingest.max_rejected_share` is set to {raised:g}. "
            "They are counted and left out."
        )
    return messages


ENGLISH = (
    "I ordered a tent two weeks ago and it has not arrived yet. Could you please check where the parcel is? "
    "The last message says that it left your warehouse on Monday. If it is lost, I would like to have my money back."
)
"""Ordinary English, to compare other languages with."""
_FRACTION = re.compile(r"-?\d+\.\d*[1-9]\d*")
"""A number with a fraction."""
_NO_WORD = re.compile(r"[^\w\s]|[\d_]")
"""Punctuation and digits, of which JSON and numbers have many: they take many tokens in every base."""
MAX_TOKENS_PER_WORD = 2.5
"""A base reads a language poorly if a word takes more than this many times the tokens of an English word."""


def language_warnings(texts: Sequence[str], folders: Mapping[str, Path]) -> list[str]:
    """Returns which bases cut the words of these texts into many more tokens than English words, one sentence each.

    Such a base saw little of the language, is slow on it and fits less text into its context. `folders`: see
    `tokenizer_folders`.
    """
    sample = [_NO_WORD.sub(" ", text) for text in texts[:: max(1, len(texts) // SAMPLED_ROWS)]]
    words, characters = sum(map(n_words, sample)), sum(map(len, sample))
    messages = []
    for name, folder in folders.items():
        tokenizer = _tokenizer(folder)
        encoded = tokenizer.encode_batch(list(sample), add_special_tokens=False)
        n = sum(len(one.ids) for one in encoded)
        english = len(tokenizer.encode(ENGLISH, add_special_tokens=False).ids)
        if words and n / words > MAX_TOKENS_PER_WORD * english / n_words(ENGLISH):
            messages.append(
                f"Warning: {name} reads the language of these rows poorly: {n / characters:.2f} tokens per "
                f"character, {english / len(ENGLISH):.2f} for English. The models of the presets qwen3 and gemma3 read "
                "many languages: --ladder qwen3."
            )
    return messages


def _tokenizer(folder: Path) -> Any:
    """Returns the tokenizer without the padding and the truncation that some encoders' files ask for."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def tokenizer_folders(bases: Iterable[str]) -> dict[str, Path]:
    """Returns name -> folder of those bases that have a `tokenizer.json` on this machine; fetches nothing."""
    folders = {}
    for base in bases:
        try:
            folder = local_folder(base_named(base), Path.cwd())
        except ModelError:
            continue
        if (folder / "tokenizer.json").is_file():
            folders[Path(base).name] = folder
    return folders


def length_warnings(rows: Sequence[tuple[str, str]], folders: Mapping[str, Path]) -> list[str]:
    """Returns which bases have a context too short for many of the rows, one sentence each.

    The lengths are counted on a sample of the rows. `folders`: see `tokenizer_folders`.
    """
    sample = rows[:: max(1, len(rows) // SAMPLED_ROWS)]
    messages = []
    for name, folder in folders.items():
        context = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("max_position_embeddings")
        tokenizer = _tokenizer(folder)
        sizes = [len(line.ids) for line in tokenizer.encode_batch([f"{text}\n{answer}" for text, answer in sample])]
        n_long = sum(size + PROMPT_TOKENS > context for size in sizes) if isinstance(context, int) else 0
        if n_long > DecideSettings().max_unscored_share * len(sample):
            messages.append(
                f"Warning: {n_long / len(sample):.0%} of the rows are longer than the context of {name} "
                f"({context} tokens). They can't be scored, and a rung with this many is not trained. "
                "Choose a model with a longer context: --base MODEL."
            )
    return messages
