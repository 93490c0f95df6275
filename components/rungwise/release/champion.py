"""Loads the champion from the registry and returns its answer to one row."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rungwise.core.errors import Problem, RungwiseError, SettingsError
from rungwise.core.folders import is_sealed, joined
from rungwise.core.words import sentence_of, sentences_of
from rungwise.workspace.layout import Paths, settings_of


@dataclass(frozen=True)
class Answer:
    """A champion's answer to one row."""

    answer: str
    """A label, items with separators, a text or a JSON object."""
    probability: float
    """0 to 1. For a label: its share of all labels' likelihoods. For a written answer: its tokens' geometric mean."""
    version: int
    """The champion's version in the registry."""
    automatic: bool | None = None
    """Whether the answer can be used without a look by people; None where params.yaml sets no goal (`abstain.right`),
    or where the champion's threshold is for another one."""
    threshold: float | None = None
    """The probability from which answers are used; None: there is none, and if `automatic` is False, none of them are.
    """


def answer(root: Path, task: str, fields: Mapping[str, str], text: str | None = None) -> Answer:
    """Returns the champion's answer to one row.

    `text` fills the prompt's only slot that is not optional; `fields` fills slots by name.

    Raises:
        RungwiseError: there is no champion, the fields are not the prompt's slots, or the row can't be scored.
    """
    from rungwise.release.abstain import FOR, goal_text, threshold_in
    from rungwise.release.registry import CHAMPION, Registry
    from rungwise.serving.answerer import Answerer

    settings = settings_of(root)
    optional = settings.task(task).optional
    registry = Registry(root)
    version = registry.aliases(task).get(CHAMPION)
    if version is None:
        raise _no_champion(root, task)
    with registry.attempt_folder(version) as folder:
        answerer = Answerer(folder, root)
        where = f"task {task}, version {version.number}"
        prediction = answerer([_row(answerer.slots, optional, fields, text, where)])[0]
    if prediction.answer is None:
        raise RungwiseError(
            Problem(
                "the text can't be scored",
                where=f"task {task}, version {version.number}",
                found=prediction.unscored,
                wanted="a text that fits the model's context together with the prompt",
                do="shorten it",
            )
        )
    automatic, at = None, None
    if (goal := goal_text(settings, task)) and version.tags.get(FOR) == goal:
        at = threshold_in(version)
        automatic = at is not None and prediction.probability >= at
    return Answer(prediction.answer, prediction.probability, version.number, automatic, at)


def _no_champion(root: Path, task: str) -> RungwiseError:
    """Returns the error that says why a task has no champion, and what to do."""
    from rungwise.climbing.ladder import last_climb
    from rungwise.release.promote import verdict_on

    why, do = "the task was not climbed yet", "`rungwise run` climbs, and promotes a rung that passes"
    if is_sealed(Paths(root).output("climb")):
        climb = last_climb(root, task)
        verdict, rung = verdict_on(root, climb), climb.decision.rung
        if verdict and verdict.action == "refuse":
            reasons, advice = verdict.parted()
            why = f"{rung} was refused on the test rows: {sentences_of(reasons)}"
            do = sentence_of(advice) if advice else f"`rungwise explain {task}`"
        elif not climb.decision.passes:
            why, do = f"no rung passes the bar of {climb.target:g}", f"`rungwise explain {task}` says what would help"
        else:
            why, do = f"{rung} passes on the validation rows, and is not promoted", "`rungwise run` asks the gate"
    return RungwiseError(
        Problem("there is no champion", where=f"task {task}", found=why, wanted="a promoted version", do=do)
    )


def _row(
    slots: tuple[str, ...], optional: tuple[str, ...], fields: Mapping[str, str], text: str | None, where: str
) -> dict[str, str]:
    """Returns a text for each slot; optional ones may be missing. `text` fills the only slot that is not optional."""
    required = [name for name in slots if name not in optional]
    row = {**dict.fromkeys(set(optional) & set(slots), ""), **fields}
    if text is not None:
        if len(required) != 1:
            raise SettingsError(
                Problem(
                    "one text is given for several fields",
                    where=where,
                    wanted="--field NAME=TEXT for each of " + joined(slots),
                )
            )
        row[required[0]] = text
    if set(row) != set(slots):
        raise SettingsError(
            Problem(
                "the fields are not the prompt's slots",
                where=where,
                found=joined(sorted(row if text is not None else fields)),
                wanted=joined([f"{name} (optional)" if name in optional else name for name in slots]),
                do="--field NAME=TEXT for each of them",
            )
        )
    if empty := [name for name in required if not row[name].strip()]:
        raise SettingsError(
            Problem("a field is empty", where=where, found=joined(empty), wanted="a text, as every training row has")
        )
    return row
