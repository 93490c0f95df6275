"""Whether one model is better than another on the same rows: a sign-flip test of the groups' summed differences.

If two models are equally good, each group's difference is as likely to be the one way round as the other. So the sum of
all differences is compared with the sums under every choice of the groups' signs (Fisher's randomisation test for
pairs). The p-value is the mid-p value, which counts a tie by half: with few discordant rows the full p-value of a
discrete test is far too large (Fagerland, Lydersen and Laake, 2013, doi:10.1186/1471-2288-13-91). For right and wrong
answers of single rows it is the mid-p McNemar test.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, Final

STEPS: Final = 500
"""Sums of groups that are not whole numbers are rounded to this share of the largest one."""
MOST_WORK: Final = 1e9
"""Most additions of the exact distribution. With more groups, thousands of them, the sum is as good as normal."""


def better_p(differences: Sequence[float], groups: Sequence[str]) -> float:
    """Returns the one-sided mid-p value, 0 to 1, that the mean of paired differences is above zero.

    Args:
        differences: first minus second score of each row, -1 to 1.
        groups: each row's lineage group; rows of one group change their signs together.

    Returns:
        The probability, if both were equally good, of a larger sum than this one, and half of that of an equal sum.
        1 where no group has a difference.
    """
    import numpy as np

    sums: dict[str, float] = defaultdict(float)
    for difference, group in zip(differences, groups, strict=True):
        sums[group] += difference
    sums_G = np.array([value for value in sums.values() if abs(value) > 1e-9])
    if not len(sums_G):
        return 1.0
    whole_G = _whole(sums_G)
    weights_G = np.sort(np.abs(whole_G))
    if len(weights_G) * float(weights_G.sum()) / 2 > MOST_WORK:
        return 1 - NormalDist().cdf(float(sums_G.sum()) / math.sqrt(float((sums_G**2).sum())))
    # chances[i]: the chance that the groups whose sign is + weigh i together
    chances = np.ones(1)
    for weight in weights_G:
        longer = np.zeros(len(chances) + int(weight))
        longer[: len(chances)] = chances / 2
        longer[int(weight) :] += chances / 2
        chances = longer
    positive = int(whole_G[whole_G > 0].sum())
    return float(chances[positive + 1 :].sum() + chances[positive] / 2)


def _whole(sums_G: Any) -> Any:
    """Returns the sums as whole numbers, exactly where they are such, otherwise in steps of the largest."""
    import numpy as np

    if not np.allclose(sums_G, np.round(sums_G), atol=1e-9):
        sums_G = sums_G / np.abs(sums_G).max() * STEPS
    return np.round(sums_G).astype(np.int64)
