"""The promotion gate: pure, from predictions on the test rows to a verdict with its reasons.

A challenger is promoted if the lower end of its interval is at or above the bar and one of these holds: it is clearly
better than the champion on the same rows; it is not clearly worse and has a smaller base; the champion itself is below
the bar; there is no champion. A tie keeps the champion.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rungwise.config import PromoteSettings
from rungwise.core.records import Prediction
from rungwise.evidence.metrics import Metric, difference, estimate


@dataclass(frozen=True)
class Verdict:
    """The gate's answer and its reasons."""

    action: str
    """`promote`, `keep` (the champion stays) or `refuse` (below the bar)."""
    reasons: tuple[str, ...]


def judge(
    settings: PromoteSettings,
    target: float,
    metric: Metric,
    confidence: float,
    challenger: Sequence[Prediction],
    champion: Sequence[Prediction] | None,
    is_smaller: bool,
    why_alone: str = "",
) -> Verdict:
    """Returns the verdict on test predictions.

    Args:
        settings: what the gate requires in addition to the bar.
        target: the bar, 0 to 1.
        metric: scores one prediction.
        confidence: of the two-sided intervals, 0 to 1.
        challenger: predictions on the test rows.
        champion: the champion's predictions on the same rows; None where there are none.
        is_smaller: whether the challenger's base is smaller than the champion's.
        why_alone: why there are no predictions of an existing champion.
    """
    score = estimate(metric, challenger, confidence)
    n_unscored = sum(p.answer is None for p in challenger)
    if score is None or score.n < settings.min_scored:
        n = score.n if score else 0
        return Verdict("refuse", (f"Only {n} test rows could be scored; {settings.min_scored} are required.",))
    if n_unscored > settings.max_unscored_share * len(challenger):
        return Verdict("refuse", (f"{n_unscored} of {len(challenger)} test rows could not be scored.",))
    ends = f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f}) on {score.n} test rows"
    title = metric.title[:1].upper() + metric.title[1:]
    if score.low < target:
        return Verdict("refuse", (f"{title} {ends}: the lower end is below the bar of {target:g}.",))
    reasons = [f"{title} {ends}: the lower end is at or above the bar of {target:g}."]
    gain = difference(metric, challenger, champion, confidence) if champion is not None else None
    if champion is None or gain is None:
        return Verdict("promote", (*reasons, why_alone or "There is no champion to compare with."))
    text = f"Challenger minus champion, paired on {gain.n} rows: {gain.value:+.3f} "
    text += f"({gain.low:+.3f} to {gain.high:+.3f})"
    standing = estimate(metric, champion, confidence)
    if gain.low > 0:
        return Verdict("promote", (*reasons, text + ": clearly better."))
    if gain.high < 0:
        return Verdict("keep", (*reasons, text + ": clearly worse."))
    if standing is None or standing.low < target:
        return Verdict("promote", (*reasons, text + ": no clear difference, but the champion is below the bar."))
    if is_smaller:
        return Verdict("promote", (*reasons, text + ": no clear difference, and its base is smaller."))
    return Verdict("keep", (*reasons, text + ": no clear difference, so the champion stays."))
