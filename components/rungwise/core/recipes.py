"""The numbers that are raised by hand where code gives other results for equal inputs.

A stage's number stands in dvc.yaml too, so that DVC runs it again; the others are part of the name of an attempt, so
that it is trained or answered again.
"""

from collections.abc import Mapping
from typing import Final

STAGES: Final = ("ingest", "validate", "split", "augment", "climb")
"""The verbs that DVC runs, in their order."""
RECIPES: Final[Mapping[str, int]] = {"ingest": 4, "validate": 3, "split": 5, "augment": 3, "climb": 7}
"""Stage -> number."""
TRAINING: Final = 5
"""Changes whenever the numbers of a training change; a golden-loss test fails if they change without it."""
ANSWERING: Final = 6
"""Changes whenever equal models and rows would be answered otherwise."""
CLASSICAL: Final = 1
"""The same for a rung without a language model."""
