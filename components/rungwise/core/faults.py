"""Faults that the tokens of training rows can have, and the default limit for each: the keys of `train.audit`."""

from collections.abc import Mapping
from typing import Final, Literal

Fault = Literal[
    "over_context", "prompt_over_context", "no_target", "empty_answer", "cut_answer", "no_end", "unknown_tokens",
    "lost_newlines", "lost_characters", "pad_in_text", "untrained_end", "no_assistant_part"
]  # fmt: skip
"""`training.audit` finds these faults and describes each of them."""

LIMITS: Final[Mapping[Fault, float]] = {
    "over_context": 0.1,
    "prompt_over_context": 1.0,
    "no_target": 0.0,
    "empty_answer": 0.0,
    "cut_answer": 0.0,
    "no_end": 0.0,
    "unknown_tokens": 0.02,
    "lost_newlines": 0.02,
    "lost_characters": 0.02,
    "pad_in_text": 0.0,
    "untrained_end": 0.0,
    "no_assistant_part": 0.0,
}
"""Fault -> the largest share of rows that may have it; a larger share stops the run.

Above the limit of `over_context` the rung is skipped instead. The last two are properties of the base: the share is 1
or 0."""
