"""The ledger: a line for every look at a task's test rows, and the scores of each row that it measured.

Each line has a seal, the digest of the rest, so that a line which was edited is refused; and `check_whole` compares the
ledger with the registry, so that a look which was removed is missed. The scores of a row are kept in files next to the
ledger, because a later challenger is compared with the best version ever promoted, whose base may be gone by then.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rungwise.core.decisions import Reason, reason_from_json
from rungwise.core.errors import Problem, WorkspaceError
from rungwise.core.folders import replace_text
from rungwise.core.gate_reasons import AskedBefore
from rungwise.core.logs import append_log, read_log
from rungwise.core.records import digest, from_json
from rungwise.release.gate import Anchor, Measured, Verdict
from rungwise.release.registry import Version
from rungwise.release.spending import Cohort, next_cohort

SCORES = "scores"
"""The folder next to the ledger with a file for each look: row -> the challenger's score."""
SEAL = "seal"
"""The field of a line with the digest of the others."""


def looks(ledger: Path, task: str) -> list[dict[str, Any]]:
    """Returns the recorded test-set looks of a task, oldest first; `reasons` of each is a tuple of Reason.

    Raises:
        WorkspaceError: a line is not one of the ledger, or was edited.
    """
    lines = [line for line in read_log(ledger, ("task", "action", "reasons", "when")) if line["task"] == task]
    for line in lines:
        _check_seal(ledger, line)
    return [{**_unsealed(line), "reasons": _reasons(ledger, line)} for line in lines]


def _unsealed(line: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name != SEAL}


def check_whole(ledger: Path, task: str, versions: Sequence[Version]) -> None:
    """Checks that the ledger has a look for every version of a task that was scored on test rows.

    Raises:
        WorkspaceError: a look is missing.
    """
    past = looks(ledger, task)
    known = {look.get("challenger") for look in past}
    attempts = [str(look.get("attempt", "")) for look in past]
    for version in versions:
        if "test_score" not in version.tags or version.number in known or any(map(version.is_of, attempts)):
            continue
        raise WorkspaceError(
            Problem(
                "a look at the test rows is missing in the ledger",
                where=str(ledger),
                found=f"no look for version {version.number} of {version.model}, which was scored on test rows",
                wanted="every look at these test rows, because all of them share one significance level",
                do="restore the file from git or a copy (another clone may have it). If it is lost, these test rows "
                "prove nothing more: collect others, and set `register.models` to a new name",
            )
        )


def record(ledger: Path, line: Mapping[str, Any], scores: Mapping[str, float] | None) -> None:
    """Adds a look; `scores`: id of a test row -> the challenger's score, None where the rows were not scored again."""
    if scores is not None:
        name = f"{digest(dict(scores))[:16]}.json"
        folder = ledger.parent / SCORES
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / name, scores)
        line = {**line, SCORES: name}
    written = json.loads(json.dumps(line))
    append_log(ledger, {**written, SEAL: digest(written)})


def cohort(ledger: Path, task: str, rows: Sequence[str], alpha: float, size: int) -> Cohort:
    """Returns the test rows of a task's next look, and its level; see `release.spending`.

    Args:
        ledger: the ledger.
        task: the task's name.
        rows: the ids of today's test rows.
        alpha: the level of all looks at a cohort together.
        size: the number of rows at which a cohort is full.

    Raises:
        WorkspaceError: a line of the ledger, or a file of scores, can't be read.
    """
    past = [look for look in looks(ledger, task) if look.get("measured") and "decided" not in look]
    paths = [ledger.parent / SCORES / Path(str(look.get(SCORES))).name for look in past]
    return next_cohort(past, [set(_scores(path)) if path.is_file() else None for path in paths], rows, alpha, size)


def anchor(ledger: Path, task: str, metric: str) -> Anchor | None:
    """Returns the best version ever promoted by the scores on test rows that are still there; None without any.

    Raises:
        WorkspaceError: a line of the ledger, or a file of scores, can't be read.
    """
    best: tuple[float, int, Path] | None = None
    for look in looks(ledger, task):
        match look:
            case {"action": "promote", "gate": [measure, *_], "measured": {"score": {"value": float(value)}},
                  "challenger": int(version), "scores": str(name)} if measure == metric:  # fmt: skip
                path = ledger.parent / SCORES / Path(name).name
                if path.is_file() and (best is None or value > best[0]):
                    best = value, version, path
    return Anchor(best[1], _scores(best[2])) if best else None


def forget_scores(ledger: Path, row: str) -> None:
    """Removes the scores of a test row."""
    for path in (ledger.parent / SCORES).glob("*.json"):
        scores = _scores(path)
        if scores.pop(row, None) is not None:
            _write(path, scores)


def answered(ledger: Path, question: Mapping[str, Any]) -> Verdict | None:
    """Returns the recorded verdict on an equal question; None if it was not asked."""
    for look in looks(ledger, str(question["task"])):
        if all(look.get(k) == v for k, v in question.items()):
            return Verdict(look["action"], (*look["reasons"], AskedBefore(look["when"])))
    return None


def measured_before(ledger: Path, question: Mapping[str, Any]) -> tuple[Measured, str] | None:
    """Returns what an earlier look measured for the same question under another bar or other limits, and when."""
    others = [(k, v) for k, v in question.items() if k != "gate"]
    for look in looks(ledger, str(question["task"])):
        if all(look.get(k) == v for k, v in others) and is_remeasured(look, question["gate"]):
            return from_json(Measured, look["measured"]), look["when"]
    return None


def is_remeasured(look: Mapping[str, Any], gate: Sequence[Any]) -> bool:
    """Whether a look recorded all that the gate decides from, with the metric and the confidence of the gate."""
    past = look.get("gate") or ()
    return "better" in (look.get("measured") or {}) and [*past[:1], *past[2:3]] == [gate[0], gate[2]]


def _write(path: Path, scores: Mapping[str, float]) -> None:
    replace_text(path, json.dumps(dict(scores), sort_keys=True, separators=(",", ":")))


def _scores(path: Path) -> dict[str, float]:
    """Returns the scores of a file.

    Raises:
        WorkspaceError: it holds no scores.
    """
    try:
        scores = json.loads(path.read_bytes())
        return {str(row): min(1.0, max(0.0, float(score))) for row, score in scores.items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise WorkspaceError(
            Problem(
                "the scores of a test-set look can't be read",
                where=str(path),
                found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
                wanted="a JSON object: id of a row -> its score",
                do="restore the file from git or a copy; if there is none, delete it: the next best version that was "
                "promoted takes its place in comparisons",
            )
        ) from None


def _check_seal(ledger: Path, line: Mapping[str, Any]) -> None:
    """Checks that a line is as it was written; lines of older versions have no seal.

    Raises:
        WorkspaceError: it was edited.
    """
    seal = line.get(SEAL)
    if seal is not None and seal != digest(_unsealed(line)):
        raise WorkspaceError(
            Problem(
                "a line of the ledger was edited",
                where=f"{ledger}, task {line['task']}, look of {str(line['when'])[:40]}",
                found="a line that is not the one that was written",
                wanted="looks as `rungwise run` records them: promotions rest on them",
                do="restore the file from git or a copy",
            )
        )


def _reasons(ledger: Path, line: Mapping[str, Any]) -> tuple[Reason, ...]:
    """Returns the reasons of a look.

    Raises:
        WorkspaceError: they are not those of a gate.
    """
    try:
        reasons = tuple(reason_from_json(row) for row in line["reasons"])
        for reason, row in zip(reasons, line["reasons"], strict=True):
            if isinstance(row, dict):
                from_json(type(reason), row)  # checks the types
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WorkspaceError(
            Problem(
                "the reasons of a test-set look can't be read",
                where=f"{ledger}, task {line['task']}, look of {str(line['when'])[:40]}",
                found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
                wanted="reasons as `rungwise run` records them",
                do="restore the file from git or a copy, or correct the line",
            )
        ) from None
    return reasons
