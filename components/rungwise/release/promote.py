"""The gate between challenger and champion: only here are test rows looked at, and every look is on record.

`judge` is pure; `promote` acts. A challenger is promoted if its test interval's lower end stands at or above the
bar and it is clearly better than the champion on the same rows, or not clearly worse and of a smaller base, or
the champion itself no longer stands at the bar. A tie keeps the champion.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rungwise.config import PromoteSettings
from rungwise.core.errors import ModelError, Problem, RegistryError
from rungwise.core.folders import read_lines
from rungwise.core.records import Prediction, canonical_json
from rungwise.evidence.metrics import Metric, difference, estimate
from rungwise.release import parity
from rungwise.release.registry import CHALLENGER, CHAMPION, Registry, Version

Score = Callable[[Version, Path], tuple[Prediction, ...]]
"""Answers the test rows with the attempt that a version stores."""


@dataclass(frozen=True)
class Verdict:
    """What the gate says, and why."""

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

    `is_smaller`: the challenger's base is smaller than the champion's. `why_alone`: why there are no predictions of
    the champion, where there is one.
    """
    score = estimate(metric, challenger, confidence)
    n_unscored = sum(p.answer is None for p in challenger)
    if score is None or score.n < settings.min_scored:
        n = score.n if score else 0
        return Verdict("refuse", (f"Only {n} test rows could be scored; {settings.min_scored} are asked for.",))
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


def promote(
    registry: Registry,
    settings: PromoteSettings,
    task: str,
    target: float,
    metric: Metric,
    confidence: float,
    *,
    score: Score,
    data_version: str,
    split_version: str,
    test_digest: str,
    ledger: Path,
) -> Verdict:
    """Returns the verdict on the task's challenger, and moves the alias `champion` if it says so.

    The same question (challenger, champion, test rows, bar, gate) is not asked twice: the ledger's answer stands. A
    challenger of other data than the workspace's is refused without a look, since it may have learned today's test
    rows; for the same reason a champion of another split is not compared with.

    Raises:
        RegistryError: there is no challenger, or it fails its proof of reloading exactly.
    """
    challenger, champion = registry.version(task, CHALLENGER), registry.version(task, CHAMPION)
    if challenger is None:
        raise RegistryError(
            Problem(
                "there is nothing to promote",
                where=f"task {task}",
                found="no version with the alias challenger",
                wanted="a rung that passed on the development rows",
                do="`rungwise run` climbs and registers what passes; `rungwise status` says where it stands",
            )
        )
    if champion and champion.number == challenger.number:
        return Verdict("keep", (f"Version {champion.number} is the champion already.",))
    if challenger.tags.get("data_version") != data_version:
        found = f"data {challenger.tags.get('data_version')}, and the workspace holds {data_version}"
        return Verdict("refuse", (f"Version {challenger.number} was trained on {found}: `rungwise run` first.",))
    question = {
        "task": task,
        "challenger": challenger.number,
        "champion": champion.number if champion else None,
        "test": test_digest,
        "gate": [metric.name, target, confidence, settings.min_scored, settings.max_unscored_share],
        "attempt": challenger.tags["attempt"],
    }
    past = _answered(ledger, question)
    if past:
        return past
    with registry.attempt_folder(challenger) as folder:
        parity.prove(folder, registry.root)
        first = score(challenger, folder)
    second, why_alone = None, ""
    if champion and champion.tags.get("split_version") != split_version:
        why_alone = f"Champion {champion.number} was trained under another split: no fair comparison on these rows."
    elif champion:
        try:
            with registry.attempt_folder(champion) as folder:
                second = score(champion, folder)
        except (ModelError, RegistryError) as error:
            why_alone = f"Champion {champion.number} can't answer any more ({error.problem.what})."
    is_smaller = _is_smaller(challenger, champion)
    verdict = judge(settings, target, metric, confidence, first, second, is_smaller, why_alone)
    # first the record, then the act: a crash between the two can only lead to a second look
    _append(ledger, {**question, "action": verdict.action, "reasons": verdict.reasons, "when": _now()})
    if verdict.action == "promote":
        registry.set_alias(challenger, CHAMPION)
    return verdict


def _is_smaller(challenger: Version, champion: Version | None) -> bool:
    sizes = [int(v.tags.get("base_parameters", 0)) for v in (challenger, champion) if v]
    return len(sizes) == 2 and sizes[0] < sizes[1]


def _answered(ledger: Path, question: Mapping[str, Any]) -> Verdict | None:
    for look in looks(ledger, str(question["task"])):
        if all(look.get(k) == v for k, v in question.items()) and look["action"] != "promote":
            return Verdict(look["action"], (*look["reasons"], f"(looked at on {look['when']})"))
    return None


def looks(ledger: Path, task: str) -> list[dict[str, Any]]:
    """Returns the recorded looks at a task's test rows, oldest first."""
    if not ledger.is_file():
        return []
    return [dict(line) for line in read_lines(ledger) if line["task"] == task]


def _append(ledger: Path, look: Mapping[str, Any]) -> None:
    ledger.parent.mkdir(parents=True, exist_ok=True)
    with ledger.open("a", encoding="utf-8") as stream:
        stream.write(canonical_json(json.loads(json.dumps(look))) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
