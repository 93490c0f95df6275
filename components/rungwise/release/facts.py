"""What MLflow shows of an attempt and of a climb: parameters, metrics, curves, times, Markdown. No MLflow in here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from rungwise.attempts.store import COST, LOSSES, RESULT, SPEC
from rungwise.core.decisions import Climb
from rungwise.core.folders import read_json
from rungwise.core.methods import METHODS
from rungwise.core.records import Evidence, Interval
from rungwise.core.words import sentences_of
from rungwise.evidence.evaluate import interval_text, score_text

_TRAINING: Final = (
    "steps", "batch_size", "learning_rate", "schedule", "warmup_share", "clip_norm", "weight_decay", "eval_every",
    "patience", "checkpointing",
)  # fmt: skip
"""Settings of an attempt that trains a language model."""
_READING: Final = ("precision", "template")
"""Settings of an attempt with a language model."""
MOST_POINTS: Final = 400
"""Points of a curve: MLflow takes 1,000 values in one request, and one request is logged whole or not at all."""


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


def curves_of(attempt: Path | None) -> dict[str, list[tuple[int, float]]]:
    """Returns `train_loss` and `dev_score_in_training` as points (step, value), thinned out where there are many."""
    if attempt is None or not (attempt / LOSSES).is_file():
        return {}
    recorded = read_json(attempt / LOSSES)
    losses = [(step, value) for step, value in enumerate(recorded["losses"], 1)]
    scores = [(int(step), value) for step, value in recorded["scores"]]
    curves = {"train_loss": _thinned(losses), "dev_score_in_training": _thinned(scores)}
    return {name: points for name, points in curves.items() if points}


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    every = -(-len(points) // MOST_POINTS) or 1
    return [point for number, point in enumerate(points) if number % every == 0 or number == len(points) - 1]


def climb_note(climb: Climb, data_version: str) -> str:
    """Returns the climb as Markdown: the verdict, and the ladder as a table."""
    lines = [
        f"**{climb.task}** on data `{data_version}`: {sentences_of(climb.decision.reasons[-1:])}",
        "",
        f"| rung | method | {climb.metric} on validation rows | rows trained on | |",
        "|---|---|---|---|---|",
    ]
    for one in climb.evidence:
        is_chosen = one.rung == climb.decision.rung
        word = ("passes" if climb.decision.passes else "best so far, below the bar") if is_chosen else ""
        lines.append(f"| {one.rung} | {one.method} | {score_text(one)} | {one.train_rows:,} | {word} |")
    if climb.floor:
        lines.append(f"| floor | {climb.floor.name} | {interval_text(climb.floor.score)} | | |")
    compared = sentences_of([climb.comparison] if climb.comparison else [])
    return "\n".join(
        [*lines, "", f"The bar is {climb.target:g}, for the lower end of the interval. {compared}".strip()]
    )


def version_note(climb: Climb, evidence: Evidence, data_version: str, test: Interval | None = None) -> str:
    """Returns what a registered version is, as Markdown; `test`: its score on the test rows, once they were asked."""
    base = f" on {evidence.base}" if evidence.base else ", without a language model"
    lines = [
        f"**{evidence.rung}** ({evidence.method}{base}) for *{climb.task}*, trained on {evidence.train_rows:,} rows of "
        f"data `{data_version}`.",
        "",
        f"- bar: {climb.target:g} ({climb.metric}, lower end of the interval)",
        f"- validation rows: {score_text(evidence)}",
    ]
    return "\n".join([*lines, f"- test rows: {interval_text(test)}"] if test else lines)
