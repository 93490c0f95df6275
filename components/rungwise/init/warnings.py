"""Warnings about the rows before anything is trained: what they are too few to show, and which will be rejected."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rungwise.config import DecideSettings, IngestSettings, ValidateSettings, base_named
from rungwise.core.errors import ModelError
from rungwise.core.folders import joined
from rungwise.core.texts import n_words, normalised
from rungwise.evidence.intervals import share_needed
from rungwise.init.guess import Guess
from rungwise.init.rows_file import MIN_EVALUATION_ROWS, RowsFile
from rungwise.model.bases import local_folder

SAMPLED_ROWS = 500
"""About as many rows are tokenized to estimate how long the rows are."""
PROMPT_TOKENS = 12
"""About as many tokens are added to a row by the guessed prompt."""
RARE_LABEL_ROWS = 10
"""A label with fewer rows than this is reported as rare."""
_NO_VALUE = {"nan", "none", "null", "n/a", "na"}
"""What programs write into a cell without a value."""
_SIDE_NAMES = {"dev": "validation", "test": "test"}


def row_warnings(files: Sequence[RowsFile], guess: Guess, counts: Mapping[str, int]) -> list[str]:
    """Returns warnings about the rows, one sentence each; `counts`: `dev` and `test` -> number of rows."""
    rows = files[0].rows
    messages = [*_few_rows(counts, guess.bar), *_incomplete_rows(files)]
    if guess.format == "label":
        rare = [label for label, n in Counter(answer for _, answer in rows).items() if n < RARE_LABEL_ROWS]
        if rare:
            messages.append(
                f"{len(rare)} labels have fewer than {RARE_LABEL_ROWS} rows, too few to score a label alone."
            )
    no_value = [answer for _, answer in rows if answer.lower() in _NO_VALUE]
    if no_value:
        listed = joined(map(repr, sorted(set(no_value))))
        messages.append(f"{len(no_value)} answers are {listed}. If that means `no answer`, leave those cells empty.")
    n_texts = len({normalised(text) for text, _ in rows})
    if n_texts < len(rows) / 2:
        messages.append(f"the {len(rows)} rows have only {n_texts} different texts. Exact duplicates are dropped.")
    longest = ValidateSettings().max_characters
    n_long = sum(max(len(text), len(answer)) > longest for text, answer in rows)
    if n_long:
        messages.append(f"{n_long} rows have a cell of more than {longest:,} characters and will be rejected.")
    return [f"Warning: {message}" for message in messages]


def _few_rows(counts: Mapping[str, int], bar: float) -> list[str]:
    """Returns a message for each side of the split that is too small to show the bar clearly."""
    messages = []
    min_scored = DecideSettings().min_scored
    for side, n in counts.items():
        name = _SIDE_NAMES[side]
        if n < min_scored:
            messages.append(f"{n} {name} rows are too few to decide anything: `min_scored` requires {min_scored}.")
        elif n < MIN_EVALUATION_ROWS:
            score = share_needed(n, bar, 0.95)
            needed = f"a score of {score:.2f} is needed" if score else "not even a score of 1 is enough"
            messages.append(
                f"with {n} {name} rows, {needed} to show the bar of {bar:g}. {MIN_EVALUATION_ROWS} or more rows show "
                "smaller differences."
            )
    return messages


def _incomplete_rows(files: Sequence[RowsFile]) -> list[str]:
    """Returns a message if rows lack text or answer, or can't be read."""
    n = sum(one.n for one in files)
    n_lost = n - sum(len(one.rows) for one in files)
    if not n_lost:
        return []
    limit = IngestSettings.model_fields["max_rejected_share"].default
    effect = "They are counted and left out."
    if n_lost > limit * n:
        effect = f"The run fails above {limit:.0%}: fix the rows, or raise `ingest.max_rejected_share`."
    return [f"{n_lost} of {n} rows have no text, have no answer or can't be read. {effect}"]


ENGLISH = (
    "I ordered a tent two weeks ago and it has not arrived yet. Could you please check where the parcel is? "
    "The last message says that it left your warehouse on Monday. If it is lost, I would like to have my money back."
)
"""Ordinary English, to compare other languages with."""
MAX_TOKENS_PER_WORD = 2.5
"""A base reads a language poorly if a word takes more than this many times the tokens of an English word."""


def language_warnings(texts: Sequence[str], folders: Iterable[Path]) -> list[str]:
    """Returns which bases cut the words of these texts into many more tokens than English words, one sentence each.

    Such a base saw little of the language, is slow on it and fits less text into its context. `folders`: those of the
    bases whose tokenizer is on this machine.
    """
    from tokenizers import Tokenizer

    sample = texts[:: max(1, len(texts) // SAMPLED_ROWS)]
    words, characters = sum(map(n_words, sample)), sum(map(len, sample))
    messages = []
    for folder in folders:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        encoded = tokenizer.encode_batch(list(sample), add_special_tokens=False)
        n = sum(len(one.ids) for one in encoded)
        english = len(tokenizer.encode(ENGLISH, add_special_tokens=False).ids)
        if words and n / words > MAX_TOKENS_PER_WORD * english / n_words(ENGLISH):
            messages.append(
                f"Warning: {folder.name} reads the language of these rows poorly: {n / characters:.2f} tokens per "
                f"character, {english / len(ENGLISH):.2f} for English. The models of the presets qwen3 and gemma3 read "
                "many languages: --ladder qwen3."
            )
    return messages


def tokenizer_folders(bases: Iterable[str]) -> list[Path]:
    """Returns the folders of those bases that have a `tokenizer.json` on this machine, each once; fetches nothing."""
    folders = []
    for base in dict.fromkeys(bases):
        try:
            folder = local_folder(base_named(base), Path.cwd())
        except ModelError:
            continue
        if (folder / "tokenizer.json").is_file():
            folders.append(folder)
    return folders


def length_warnings(rows: Sequence[tuple[str, str]], folders: Iterable[Path]) -> list[str]:
    """Returns which bases have a context too short for many of the rows, one sentence each.

    The lengths are counted on a sample of the rows. `folders`: see `tokenizer_folders`.
    """
    from tokenizers import Tokenizer

    sample = rows[:: max(1, len(rows) // SAMPLED_ROWS)]
    messages = []
    for folder in folders:
        context = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("max_position_embeddings")
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        sizes = [len(line.ids) for line in tokenizer.encode_batch([f"{text}\n{answer}" for text, answer in sample])]
        n_long = sum(size + PROMPT_TOKENS > context for size in sizes) if isinstance(context, int) else 0
        if n_long > DecideSettings().max_unscored_share * len(sample):
            messages.append(
                f"Warning: {n_long / len(sample):.0%} of the rows are longer than the context of {folder.name} "
                f"({context} tokens). They can't be scored. Choose a model with a longer context: --base MODEL."
            )
    return messages
