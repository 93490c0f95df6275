"""Training rows as tokens, and their order in batches and microbatches.

Rows are padded on the left. The positions that carry loss are then the last ones of every row, and logits are computed
only there.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rungwise.core.prompts import prompt_text
from rungwise.core.records import Example, counted
from rungwise.model import limits
from rungwise.model.language_model import LanguageModel, encode_answers, encode_prompts, fits
from rungwise.training.audit import Encoded


@dataclass(frozen=True)
class TokenRow:
    """One training row as tokens; the last token of the answer is the end token."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]

    @property
    def length(self) -> int:
        """Tokens of prompt and answer."""
        return len(self.prompt) + len(self.answer)


def encode(lm: LanguageModel, template: str, examples: Sequence[Example]) -> tuple[Encoded, ...]:
    """Returns the rows as text and as tokens, in order, including rows that exceed the context."""
    texts = [prompt_text(template, e.fields) for e in examples]
    prompts, answers = encode_prompts(lm, texts), encode_answers(lm, [e.answer for e in examples])
    return tuple(
        Encoded(text, e.answer, prompt, answer)
        for text, e, prompt, answer in zip(texts, examples, prompts, answers, strict=True)
    )


def token_rows(lm: LanguageModel, encoded: Sequence[Encoded]) -> tuple[tuple[TokenRow, ...], dict[str, int]]:
    """Returns the rows that fit the model's context, in order, and the number of the others by reason."""
    rows, rejected = [], []
    for row in encoded:
        if fits(lm, row.prompt, len(row.targets)):
            rows.append(TokenRow(tuple(row.prompt), tuple(row.targets)))
        else:
            rejected.append("over_context")
    return tuple(rows), counted(rejected)


def micro_batches(
    rows: Sequence[TokenRow], max_tokens_per_microbatch: int, targets_at_once: int | None = None, n_shared: int = 0
) -> Iterator[list[TokenRow]]:
    """Yields `rows`, sorted by length, in microbatches of at most `max_tokens_per_microbatch` tokens, padding included.

    A longer row is a microbatch of its own. `targets_at_once`: the most targets of a microbatch, padding included.
    `n_shared`: length of the prefix that all rows share, which each microbatch computes once (see `microbatch_tokens`).
    """
    part: list[TokenRow] = []
    longest = 0
    for row in rows:
        n, targets = len(part) + 1, max(longest, len(row.answer))
        if part and (
            microbatch_tokens(n, row.length, n_shared) > max_tokens_per_microbatch
            or (targets_at_once and targets * n > targets_at_once)
        ):
            yield part
            part, targets = [], len(row.answer)
        part.append(row)
        longest = targets
    if part:
        yield part


def microbatch_tokens(n_rows: int, longest: int, n_shared: int = 0) -> int:
    """Returns what a microbatch of rows, padded to the longest, counts towards `max_tokens_per_microbatch`.

    The shared prefix is computed once, but each row keeps its keys and values: about an eighth of the memory of as many
    tokens of its own. A single row shares nothing.
    """
    if n_rows == 1:
        return longest
    return n_rows * limits.tokens_per_row(longest, n_shared) + n_shared


def batches(rows: Sequence[TokenRow], *, batch_size: int, steps: int, seed: int) -> Iterator[list[TokenRow]]:
    """Yields `steps` batches of `batch_size` rows (fewer only if there are fewer rows in all).

    Each epoch has every row once, in a random order from `seed`. Rows of similar length share a batch, which saves
    padding. The rows left over at the end of an epoch come first in the next one.
    """
    draw = random.Random(seed)
    size = min(batch_size, len(rows))
    left_over: list[int] = []
    made = 0
    while made < steps:
        epoch = list(range(len(rows)))
        draw.shuffle(epoch)
        pool = left_over + epoch
        ready: list[list[int]] = []
        # Blocks of sixteen batches are sorted by length: large enough for batches of similar lengths, small enough
        # to keep the order random.
        for at in range(0, len(pool) - len(pool) % size, size * 16):
            block = sorted(pool[at : min(at + size * 16, len(pool) - len(pool) % size)], key=lambda i: rows[i].length)
            ready += [block[i : i + size] for i in range(0, len(block), size)]
        left_over = pool[len(pool) - len(pool) % size :]
        draw.shuffle(ready)
        for batch in ready[: steps - made]:
            yield [rows[i] for i in batch]
        made += len(ready)
