"""What to know of the rows before anything is trained: what they can't show, and which will be left out."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rungwise.config import DecideSettings, IngestSettings, ValidateSettings
from rungwise.core.folders import joined
from rungwise.dataset.similar import normalised
from rungwise.evidence.intervals import share_needed
from rungwise.init.given import MIN_TEST, Given
from rungwise.init.guess import Guess

LOOKED_AT = 500
"""Of so many rows the length in tokens is counted."""
PROMPT_TOKENS = 12
"""About what the guessed prompt adds to a row."""
_NOTHING = {"nan", "none", "null", "n/a", "na"}
"""What programs write into a cell that has no value."""


def warnings(given: Sequence[Given], guessed: Guess, counts: Mapping[str, int]) -> list[str]:
    """Returns what so many rows can't show and what of them will be rejected; `counts`: side -> rows."""
    found, bar = given[0].rows, guessed.bar
    told: list[str] = []
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


def too_long(found: Sequence[tuple[str, str]], bases: Iterable[str]) -> list[str]:
    """Returns which bases are too short for many rows, counted on some of them, a sentence each."""
    from tokenizers import Tokenizer

    step = max(1, len(found) // LOOKED_AT)
    some = found[::step]
    told = []
    for base in dict.fromkeys(bases):
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
