"""The levels of the two gates: validation rows are a screen for rungs, and test rows are the proof."""

import math
from typing import Final

SCREEN: Final = 0.80
"""The one-sided confidence with which a rung's score must be at or above the bar on validation rows."""
FIRST_LOOK: Final = 6 / math.pi**2
"""The first look's share of the level that all looks at a cohort of test rows have together (`release.spending`)."""


def screen_interval() -> float:
    """Returns the confidence of the two-sided interval whose lower end is compared with the bar on validation rows."""
    return 2 * SCREEN - 1


def proof_interval(confidence: float) -> float:
    """Returns the confidence of the two-sided interval of the first look at a cohort of test rows.

    `confidence`: `evaluate.confidence`; 1 minus it is the level of all looks at a cohort together.
    """
    return 1 - 2 * (1 - confidence) * FIRST_LOOK
