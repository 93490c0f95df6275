"""Evidence of an attempt from its predictions on the validation rows."""

from collections.abc import Mapping, Sequence

from rungwise.config import EvaluateSettings
from rungwise.core.records import AttemptSpec, Evidence, Interval, Json, Prediction, counted
from rungwise.evidence.metrics import Metric, estimate, other_metrics


def evaluate(
    settings: EvaluateSettings,
    metric: Metric,
    rung: str,
    spec: AttemptSpec,
    attempt: str,
    result: Mapping[str, Json],
    predictions: Sequence[Prediction],
) -> Evidence:
    """Returns the evidence of one attempt; `result` is the attempt's result.json (see `attempts.run`)."""
    unscored = counted([p.unscored for p in predictions if p.answer is None])
    score = estimate(metric, predictions, settings.confidence)
    note = ""
    if score is None:
        reasons = ", ".join(f"{reason}: {n}" for reason, n in unscored.items())
        note = str(result["note"]) or f"none of {len(predictions)} rows could be scored ({reasons})"
    return Evidence(
        rung=rung,
        method=spec.method,
        base=str(spec.base or ""),
        base_digest=result["base_digest"],
        attempt=attempt,
        score=score,
        n=len(predictions),
        unscored=unscored,
        train_rows=result["train_rows"],
        train_rejected=result["train_rejected"],
        base_parameters=result["base_parameters"],
        trained_parameters=result["trained_parameters"],
        train_tokens=result["train_tokens"],
        note=note,
        also=other_metrics(spec.form, predictions, settings.confidence),
        cut=sum(p.is_cut for p in predictions),
    )


def score_text(evidence: Evidence) -> str:
    """Returns a rung's score as text, such as `0.962 (0.941 to 0.976, n=480)`, or the reason why it has none."""
    return interval_text(evidence.score) if evidence.score else evidence.note


def interval_text(score: Interval) -> str:
    """Returns a score with its interval as text."""
    return f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f}, n={score.n})"
