"""Rows as tokens, and the order in which they are shown.

Answers are right-aligned (padding on the left), so that the positions that carry loss are the last ones of
every row and logits need to be computed only there.
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
    """One training row as tokens; the answer's last token is the end token."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]

    @property
    def length(self) -> int:
        """Tokens in all."""
        return len(self.prompt) + len(self.answer)


def encode(lm: LanguageModel, template: str, examples: Sequence[Example]) -> tuple[Encoded, ...]:
    """Returns the rows as text and as tokens, in their order, whether they fit or not."""
    texts = [prompt_text(template, e.fields) for e in examples]
    prompts, answers = encode_prompts(lm, texts), encode_answers(lm, [e.answer for e in examples])
    return tuple(
        Encoded(text, e.answer, prompt, answer)
        for text, e, prompt, answer in zip(texts, examples, prompts, answers, strict=True)
    )


def token_rows(lm: LanguageModel, encoded: Sequence[Encoded]) -> tuple[tuple[TokenRow, ...], dict[str, int]]:
    """Returns the rows that fit the model's context, in their order, and how many did not, by reason."""
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

    `targets_at_once`: the most targets of a part, those included that padding adds. `n_shared`: first tokens of all
    rows, which pass once a part (see `part_tokens`). A row that is longer than that is a part of its own.
    """
    part: list[TokenRow] = []
    longest = 0
    for row in rows:
        n, targets = len(part) + 1, max(longest, len(row.answer))
        if part and (
            part_tokens(n, row.length, n_shared) > max_tokens_per_microbatch
            or (targets_at_once and targets * n > targets_at_once)
        ):
            yield part
            part, targets = [], len(row.answer)
        part.append(row)
        longest = targets
    if part:
        yield part


def part_tokens(n_rows: int, longest: int, n_shared: int = 0) -> int:
    """Returns what rows that pass together, padded to the longest, take of `max_tokens_per_microbatch`.

    Shared tokens pass once, but each row keeps their keys and values, an eighth of what is kept of its own tokens. One
    row alone shares nothing.
    """
    if n_rows == 1:
        return longest
    return n_rows * limits.tokens_per_row(longest, n_shared) + n_shared


def batches(rows: Sequence[TokenRow], *, batch_size: int, steps: int, seed: int) -> Iterator[list[TokenRow]]:
    """Yields `steps` batches of `batch_size` rows (fewer only where there are fewer rows).

    Each pass shows every row once in an order drawn from `seed`; rows of like length share a batch, which
    saves padding. What is left over at the end of a pass opens the next one.
    """
    draw = random.Random(seed)
    size = min(batch_size, len(rows))
    waiting: list[int] = []
    made = 0
    while made < steps:
        epoch = list(range(len(rows)))
        draw.shuffle(epoch)
        pool = waiting + epoch
        ready: list[list[int]] = []
        # Sixteen batches' worth of rows at a time are sorted: long enough to even out lengths, short enough to
        # keep the order random.
        for at in range(0, len(pool) - len(pool) % size, size * 16):
            block = sorted(pool[at : min(at + size * 16, len(pool) - len(pool) % size)], key=lambda i: rows[i].length)
            ready += [block[i : i + size] for i in range(0, len(block), size)]
        waiting = pool[len(pool) - len(pool) % size :]
        draw.shuffle(ready)
        for batch in ready[: steps - made]:
            yield [rows[i] for i in batch]
        made += len(ready)
