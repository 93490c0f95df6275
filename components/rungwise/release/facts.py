"""What MLflow shows of an attempt, a climb and a verdict: parameters, metrics, curves, times, Markdown.

No MLflow in here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from rungwise.attempts.store import COST, LOSSES, RESULT, SPEC
from rungwise.core.climb_reasons import WithoutModel
from rungwise.core.decisions import Climb, Text
from rungwise.core.folders import read_json
from rungwise.core.gate_reasons import AskedBefore, ChallengerScore
from rungwise.core.methods import METHODS
from rungwise.core.records import Evidence
from rungwise.core.texts import number_of
from rungwise.core.words import sentences_of
from rungwise.evidence.evaluate import interval_text, score_text
from rungwise.release.gate import Verdict

_TRAINING: Final = (
    "steps", "batch_size", "learning_rate", "schedule", "warmup_share", "clip_norm", "weight_decay", "eval_every",
    "patience", "checkpointing",
)  # fmt: skip
"""Settings of an attempt that trains a language model."""
_READING: Final = ("precision", "template")
"""Settings of an attempt with a language model."""
MOST_POINTS: Final = 400
"""Most points of a curve: MLflow takes 1,000 values in one request, and one request is logged whole or not at all."""


@dataclass(frozen=True)
class Times:
    """When an attempt's work began and ended, in milliseconds since 1970; None where nothing recorded it."""

    start: int | None = None
    end: int | None = None


def times_of(attempt: Path | None) -> Times:
    """Returns when the attempt was made; attempts of older versions recorded only how long it took."""
    if attempt is None or not (attempt / COST).is_file():
        return Times()
    cost = read_json(attempt / COST)
    ended = cost.get("ended")
    end = datetime.fromisoformat(ended).timestamp() if ended else (attempt / COST).stat().st_mtime
    return Times(round(1000 * (end - cost["seconds"])), round(1000 * end))


def params_of(climb: Climb, evidence: Evidence, attempt: Path | None) -> dict[str, Any]:
    """Returns the settings that the attempt's method has, with the rate that was used, and what was measured with."""
    spec = read_json(attempt / SPEC) if attempt else {}
    result = read_json(attempt / RESULT) if attempt else {}
    method = METHODS[evidence.method]
    names = [*method.settings, *(_TRAINING if method.trains else ())]
    names += _READING if method.engine == "language_model" else ()
    own = {name: spec[name] for name in names if name in spec}
    if method.trains and result.get("learning_rate"):
        own["learning_rate"] = result["learning_rate"]
    if chosen := result.get("prompting"):
        form = chosen["form"]
        own |= {"template": form["template"], "examples": chosen["examples_shown"], "calibration": form["calibration"]}
    about = {
        "method": evidence.method,
        "rung": evidence.rung,
        "metric": climb.metric,
        "train_rows": evidence.train_rows,
    }
    return own | about | ({"base": evidence.base} if evidence.base else {}) | ({"seed": spec["seed"]} if spec else {})


def metrics_of(evidence: Evidence, attempt: Path | None) -> dict[str, float]:
    """Returns the attempt's score with its interval, the other metrics, and its size and cost."""
    metrics: dict[str, float] = {
        "trained_parameters": evidence.trained_parameters,
        "train_tokens": evidence.train_tokens,
        "dev_rows": evidence.n,
        "dev_unscored": sum(evidence.unscored.values()),
    }
    if evidence.score:
        score = evidence.score
        metrics |= {"dev_score": score.value, "dev_score_low": score.low, "dev_score_high": score.high}
    metrics |= {f"dev_{name.replace(' ', '_')}": also.value for name, also in evidence.also.items()}
    if attempt and (attempt / COST).is_file():
        metrics["train_seconds"] = read_json(attempt / COST)["seconds"]
    return metrics


def curves_of(evidence: Evidence, attempt: Path | None) -> dict[str, list[tuple[int, float]]]:
    """Returns curves as points (step, value), thinned out where there are many.

    `train_loss`; `held_back_score`: the scores in training, on rows held back from the training rows; `dev_score`: one
    point, the score of the finished attempt on the validation rows. Without recorded steps there is no curve.
    """
    if attempt is None or not (attempt / LOSSES).is_file():
        return {}
    recorded = read_json(attempt / LOSSES)
    losses = [(step, value) for step, value in enumerate(recorded["losses"], 1)]
    last = max([len(losses), *(int(step) for step, _ in recorded["scores"])])
    scores = [(int(step), value) for step, value in recorded["scores"]]
    dev = [(last, evidence.score.value)] if evidence.score else []
    curves = {"train_loss": _thinned(losses), "held_back_score": _thinned(scores), "dev_score": dev}
    return {name: points for name, points in curves.items() if points}


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    every = -(-len(points) // MOST_POINTS) or 1
    return [point for number, point in enumerate(points) if number % every == 0 or number == len(points) - 1]


def standing(climb: Climb, rung: str, verdict: Verdict | None) -> str:
    """Returns in a few words how a rung stands after its climb and the gate's verdict; empty for most rungs."""
    if rung in climb.refused:
        return "refused on the test rows"
    if rung != climb.decision.rung:
        return ""
    if not climb.decision.passes:
        return "best so far, below the bar"
    words = {"promote": "promoted", "keep": "passes; the champion stays", "refuse": "refused on the test rows"}
    return words[verdict.action] if verdict else "passes"


def compared(climb: Climb, verdict: Verdict | None) -> WithoutModel | Text | None:
    """Returns whether a language model is needed at all; a rung that the test rows refused is never enough."""
    comparison = climb.comparison
    if verdict and verdict.action == "refuse" and isinstance(comparison, WithoutModel):
        return replace(comparison, is_enough=False)
    return comparison


def verdict_text(verdict: Verdict) -> str:
    """Returns a verdict as a tag: `promoted`, `not promoted` or `refused`, and why. It is the same when asked again."""
    word = {"promote": "promoted", "keep": "not promoted", "refuse": "refused"}[verdict.action]
    reasons = [reason for reason in verdict.parted()[0] if not isinstance(reason, AskedBefore)]
    return f"{word}: {sentences_of(reasons)}"


def climb_note(climb: Climb, data_version: str, verdict: Verdict | None = None) -> str:
    """Returns the climb as Markdown: the decision, the gate's verdict if it was asked, and the ladder as a table."""
    decided = sentences_of(climb.decision.reasons[-1:])
    if verdict and verdict.action == "refuse":
        decided = f"{climb.decision.rung} passes on the validation rows but was refused on the test rows."
    lines = [
        f"**{climb.task}** on data `{data_version}`: {decided}",
        *(["", f"Verdict on the test rows: {verdict_text(verdict)}"] if verdict else []),
        *(["", sentences_of([advice])] if verdict and (advice := verdict.parted()[1]) else []),
        "",
        f"| rung | method | {climb.metric} on validation rows | rows trained on | |",
        "|---|---|---|---|---|",
    ]
    for one in climb.evidence:
        word = standing(climb, one.rung, verdict)
        lines.append(f"| {one.rung} | {one.method} | {score_text(one)} | {one.train_rows:,} | {word} |")
    if climb.floor:
        lines.append(f"| floor | {climb.floor.name} | {interval_text(climb.floor.score)} | | |")
    comparison = compared(climb, verdict)
    more = sentences_of([comparison] if comparison else [])
    return "\n".join([*lines, "", f"The bar is {climb.target:g}. {more}".strip()])


def version_note(climb: Climb, evidence: Evidence, data_version: str, verdict: Verdict | None = None) -> str:
    """Returns what a registered version is, as Markdown; `verdict`: the gate's, once it was asked."""
    base = f" on {evidence.base}" if evidence.base else ", without a language model"
    lines = [
        f"**{evidence.rung}** ({evidence.method}{base}) for *{climb.task}*, trained on "
        f"{number_of(evidence.train_rows, 'row')} of data `{data_version}`.",
        "",
        f"- bar: {climb.target:g} ({climb.metric})",
        f"- validation rows: {score_text(evidence)}",
    ]
    for reason in verdict.reasons if verdict else ():
        lines += [f"- test rows: {interval_text(reason.score)}"] if isinstance(reason, ChallengerScore) else []
    return "\n".join([*lines, f"- verdict: {verdict_text(verdict)}"] if verdict else lines)
