"""What can be wrong with the tokens of a training row, and how much of it is borne: the words of `train.audit`."""

from collections.abc import Mapping
from typing import Final, Literal

Fault = Literal[
    "over_context", "prompt_over_context", "no_target", "empty_answer", "cut_answer", "no_end", "unknown_tokens",
    "lost_newlines", "lost_characters", "pad_in_text", "untrained_end", "no_assistant_part"
]  # fmt: skip
"""See `training.audit`, which finds them."""

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
"""Fault -> the share of rows from which it stops the run; `over_context`: from which the rung is passed over. The last
two are the base's: 1 or 0."""
