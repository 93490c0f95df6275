"""Limits on how much passes through a model at once: in scoring, in the loss and in training.

The code that runs a model and the planner read the same values here. This module imports nothing, so that the planner
needs no torch. Read a limit as `limits.NAME`, so that a test can replace it for every reader.
"""

SCORING_TOKENS = 32_768
"""Tokens of prompts and answers that the cache holds while a model scores labels or writes answers.

When labels are scored, the prompts take a quarter. The rest is for copies of a prompt's cache, one for each label that
is read to its end.
"""
SCORING_LOGITS = 2**25
"""Logits of one forward pass of scoring: 128 MiB in fp32."""
SCORING_ROWS = 64
"""Rows of one forward pass of scoring or writing."""

ENCODING_TEXTS, ENCODING_TOKENS = 64, 4_096
"""Most texts of one forward pass of a frozen encoder, at least one, and most of its tokens with padding.

They decide which texts pass together, and so the last digits of vectors: changing them requires a new recipe.
"""

LOSS_LOGITS = {"cpu": 2**21, "cuda": 2**26}
"""Device -> logits that the loss of a frozen output layer holds at once; on a CPU as many as fit into its caches."""
LOSS_MIN_POSITIONS = 64
"""The loss takes at least this many positions at once, whatever the vocabulary.

With fewer, the product with the output layer is no longer an efficient matrix product.
"""

TRAINING_LOGITS = {"cpu": 2**25, "cuda": 2**29}
"""Device -> logits of one forward pass of training, where all of them are held: 128 MiB in fp32 on a CPU.

The loss takes this memory several times.
"""


def tokens_per_row(longest: int, shared_tokens: int) -> int:
    """Returns what one row counts towards `max_tokens_per_microbatch`.

    Shared tokens pass through the model once for all rows. Each row still keeps their keys and values, which are about
    an eighth of what is kept for a row's own tokens.

    Args:
        longest: tokens of the longest row of the microbatch.
        shared_tokens: length of the shared prefix.
    """
    return longest - shared_tokens + shared_tokens // 8
