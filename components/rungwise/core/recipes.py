"""Recipe numbers: raised by hand when a change of the code changes results for equal inputs.

A stage's number is also in dvc.yaml, so that DVC runs the stage again; the other numbers are part of the digest of an
attempt, so that it is trained or scored again.
"""

from collections.abc import Mapping
from typing import Final

STAGES: Final = ("ingest", "validate", "split", "augment", "climb")
"""The stages that DVC runs, in order."""
RECIPES: Final[Mapping[str, int]] = {"ingest": 9, "validate": 6, "split": 8, "augment": 4, "climb": 16}
"""Stage -> recipe number."""
TRAINING: Final = 8
"""Raise it when training gives other weights; a golden-loss test fails if losses change without it."""
ANSWERING: Final = 10
"""Raise it when equal models give other answers to equal rows."""
PROMPTING: Final = 3
"""Raise it when a rung of method `prompt` chooses another form or gives other answers."""
CLASSICAL: Final = 2
"""Raise it when a rung without a language model gives other answers."""
EMBEDDING: Final = 1
"""Raise it when a frozen encoder with a linear model gives other vectors or other answers."""
