"""Derives from the ledger which attempts today's test rows refused, and writes the file that the climb depends on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rungwise.core.folders import is_sealed
from rungwise.core.gate_reasons import ChallengerScore, ChallengerTooFewScored, ChallengerTooManyUnscored
from rungwise.release.ledger import looks
from rungwise.release.question import digest_of, gate_settings, rows_of_look
from rungwise.workspace.layout import Paths, settings_of
from rungwise.workspace.refusals import Refusal, write_refusals

OF_THE_RUNG: Final = (ChallengerScore, ChallengerTooFewScored, ChallengerTooManyUnscored)
"""Reasons of a refusal that another rung may escape."""


def update_refusals(root: Path) -> bool:
    """Writes data/promote/refusals.json; returns whether it changed, so that the climb has to run again.

    An attempt is refused if the last look at it, with today's settings of the gate and today's test rows, was a
    refusal for its own scores.

    Raises:
        WorkspaceError: the ledger or the split can't be read.
    """
    return write_refusals(Paths(root).refusals, _refusals(root))


def _refusals(root: Path) -> list[Refusal]:
    settings, refused = settings_of(root), []
    if not all(is_sealed(Paths(root).output(verb)) for verb in ("split", "augment")):
        return []
    for task in settings.tasks:
        gate = gate_settings(settings, task)
        last = {
            str(look["attempt"]): look
            for look in looks(Paths(root).ledger, task)
            if look.get("gate") == gate and look.get("attempt")
        }
        own = {attempt: look for attempt, look in last.items() if _is_refusal_of_the_rung(look)}
        if not own:
            continue
        test = digest_of(rows_of_look(root, settings, task)[1])
        measure, bar = settings.tasks[task].measure, settings.bars[task]
        refused += [Refusal(task, attempt, measure, bar) for attempt, look in own.items() if look.get("test") == test]
    return refused


def _is_refusal_of_the_rung(look: Mapping[str, Any]) -> bool:
    return look["action"] == "refuse" and any(isinstance(reason, OF_THE_RUNG) for reason in look["reasons"])
