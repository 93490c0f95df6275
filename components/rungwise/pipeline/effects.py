"""What happens around the DVC graph: collect before it; register, promote, answer, say how things stand after it.

Effects reach out of the workspace's data (to MLflow, to a person) and are idempotent; none is a DVC stage.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rungwise.climbing.ladder import KEPT
from rungwise.climbing.rungs import form_of, how_of, task_climb
from rungwise.config import Settings
from rungwise.core.errors import Problem, RungwiseError, SettingsError, WorkspaceError
from rungwise.core.folders import is_sealed, joined, open_sealed, read_json, read_lines
from rungwise.core.methods import METHODS
from rungwise.core.progress import LineProgress, say
from rungwise.core.records import Climb, Json, Prediction, climb_from_json, digest, prediction_from_json, to_json
from rungwise.core.table import Table
from rungwise.workspace.dvc import changed, data_version
from rungwise.workspace.layout import Paths, settings_of


@dataclass(frozen=True)
class Registered:
    """What registering one task's climb did."""

    task: str
    version: int | None
    """The challenger's version; None where no rung passed."""
    sentence: str


def collect(root: Path) -> list[Json]:
    """Copies the sources of params.yaml's `collect` into data/raw; returns what each held; raises DataError.

    Says which files are there of sources that are not named any more.
    """
    from rungwise.dataset.collect import collect as verb

    found = verb(settings_of(root).collect, root, Paths(root).raw, LineProgress("collect"))
    for path in found.orphans:
        say(
            f"collect: careful: data/raw/{path} is of a source that `collect` does not name any more, and `ingest` may "
            "still read it: delete the file, or name the source again"
        )
    return [to_json(one) for one in found.sources]


def task_settings(settings: Settings, task: str) -> None:
    """Checks that a task is one of the workspace's.

    Raises:
        SettingsError: it is not.
    """
    if task not in settings.tasks:
        raise SettingsError(
            Problem(
                "there is no such task",
                where="params.yaml: tasks",
                found=task[:60],
                wanted="one of " + joined(settings.tasks),
            )
        )


def accept(root: Path) -> list[str]:
    """Accepts the version of the rows that were climbed on; returns what to know about it, a sentence each.

    Raises:
        DataError: they drifted too far, and `validate.drift.severity` is `stop`.
    """
    from rungwise.history.accept import accept as verb

    found = verb(root)
    if not found.is_new:
        return []
    over = [f"careful: {task}: {s.sentence}" for task, moved in found.shifts.items() for s in moved if s.is_over]
    return [f"data version {found.version} is accepted; `rungwise data log` lists all", *over]


def check_drift(root: Path) -> None:
    """Checks the drift of the rows before anything is trained; raises DataError where `validate.drift` says so."""
    from rungwise.history.accept import check_drift as verb

    verb(root)


def pack(root: Path, task: str, rung: str, folder: Path) -> str:
    """Writes a rung's attempt as a bundle that another machine can run; returns the attempt's name.

    Raises:
        RungwiseError: there is no such task or rung, it trains nothing, its rows are not split yet, or `folder` holds
            something else.
    """
    from rungwise.attempts import bundle as bundles
    from rungwise.attempts.run import bundle_of

    settings = settings_of(root)
    task_settings(settings, task)
    able = [r.name for r in settings.ladder if METHODS[r.method].trains]
    if rung not in able:
        raise SettingsError(
            Problem(
                "there is no such rung to train",
                where="params.yaml: ladder",
                found=rung[:60],
                wanted="one of " + joined(able),
            )
        )
    one = task_climb(root, settings, task)
    bundle = bundle_of(one.spec(rung), one.train, root, dev=one.dev, options=how_of(one, rung))
    bundles.pack(folder, bundle, with_base=True)
    return bundle.name


def unpack(root: Path, folder: Path) -> tuple[str, tuple[str, ...]]:
    """Takes the result of a bundle into the store; returns the attempt's name, and the tasks and rungs whose it is.

    There are none where params.yaml, the prepared rows or the base are others than those that it was packed with.

    Raises:
        WorkspaceError: it was not run, was changed since, or belongs to another attempt.
    """
    from rungwise.attempts import bundle as bundles

    name = bundles.unpack(folder, Paths(root).attempts).name.removeprefix("train-")
    return name, tuple(place for place, one in _attempts_to_come(root).items() if one == name)


def _attempts_to_come(root: Path) -> dict[str, str]:
    """Returns task/rung -> the name of the attempt that a climb would make of it, where rows and base are there."""
    from rungwise.attempts.run import bundle_of

    settings, found = settings_of(root), {}
    for task in settings.tasks:
        for rung in (r for r in settings.ladder if METHODS[r.method].trains):
            try:
                one = task_climb(root, settings, task)
                bundle = bundle_of(one.spec(rung.name), one.train, root, dev=one.dev, options=how_of(one, rung.name))
            except RungwiseError:  # rows that are not prepared, a base that is not there: no climb could be run
                continue
            found[f"{task}/{rung.name}"] = bundle.name
    return found


def climb_of(root: Path, task: str) -> Climb:
    """Returns the task's last climb; raises WorkspaceError where there is none."""
    folder = Paths(root).output("climb")
    if not folder.exists() or not (open_sealed(folder, "climb") / task / "climb.json").is_file():
        raise WorkspaceError(
            Problem("a task was not climbed yet", where=str(folder), found=task, do="`rungwise run` climbs it")
        )
    return climb_from_json(read_json(folder / task / "climb.json"))


def version_of_data(root: Path) -> str:
    """Returns the short name of the rows that the last climb was made on."""
    return data_version(Paths(root).output("split"), Paths(root).output("augment"))


def version_of_split(settings: Settings) -> str:
    """Returns the short name of the rules that put rows on their sides.

    Under the same rules a row never moves from training to test.
    """
    roles = sorted((s.name, s.role) for s in settings.ingest.sources if s.role)
    return digest([settings.split.model_dump(mode="json"), roles])[:12]


def register(root: Path, task: str) -> Registered:
    """Logs a run per attempt of the task's climb, and registers the kept attempt as challenger if it passed."""
    from rungwise.release.registry import Registry

    settings, climb = settings_of(root), climb_of(root, task)
    registry, data = Registry(root), version_of_data(root)
    runs = {}
    for evidence in climb.evidence:
        folder = Paths(root).attempts / f"train-{evidence.attempt}"
        attempt = folder if is_sealed(folder) else None
        runs[evidence.rung] = registry.log_attempt(settings.register_.experiment, climb, evidence, attempt, data)
    rung = climb.decision.rung
    if rung is None or not climb.decision.passes:
        return Registered(task, None, f"{task}: no rung passes, so nothing is registered for promotion.")
    kept = Paths(root).output("climb") / task / KEPT
    version = registry.register(climb, kept, runs[rung], data, version_of_split(settings))
    return Registered(task, version.number, f"{task}: {rung} stands in the registry as version {version.number}.")


def promote(root: Path, task: str) -> tuple[str, tuple[str, ...]]:
    """Asks the gate about the task's challenger; returns the action (promote, keep, refuse) and its reasons."""
    from rungwise.evidence.metrics import Metric
    from rungwise.release.promote import promote as verb
    from rungwise.release.registry import Registry, Version
    from rungwise.serving.answerer import Answerer

    settings = settings_of(root)
    task_settings(settings, task)
    climb_of(root, task)  # a task that was not climbed has no rows to judge by
    folder = open_sealed(Paths(root).output("split"), "split")
    rows = Table.read(folder / task / "test.jsonl")

    def score(version: Version, attempt: Path) -> tuple[Prediction, ...]:
        return Answerer(attempt, root).judge(rows)

    verdict = verb(
        Registry(root),
        settings.promote,
        task,
        settings.tasks[task].target,
        Metric(settings.tasks[task].measure, form_of(settings.tasks[task], ())),
        settings.evaluate.confidence,
        score=score,
        data_version=version_of_data(root),
        split_version=version_of_split(settings),
        test_digest=digest([to_json(e) for e in rows]),
        ledger=Paths(root).ledger,
    )
    return verdict.action, verdict.reasons


def answer(root: Path, task: str, fields: Mapping[str, str], text: str | None) -> dict[str, Any]:
    """Returns the champion's answer to one row: `{"answer", "probability", "version"}`.

    `text` fills the prompt's only slot; `fields` fills slots by name.

    Raises:
        RungwiseError: there is no champion, the slots are not those of the prompt, or the row can't be scored.
    """
    from rungwise.release.registry import CHAMPION, Registry
    from rungwise.serving.answerer import Answerer

    settings = settings_of(root)
    task_settings(settings, task)
    registry = Registry(root)
    version = registry.version(task, CHAMPION)
    if version is None:
        raise RungwiseError(
            Problem(
                "there is no champion to answer",
                where=f"task {task}",
                wanted="a promoted version",
                do=f"`rungwise explain {task}` says whether a rung passed; `rungwise run` promotes one that does",
            )
        )
    with registry.attempt_folder(version) as folder:
        answerer = Answerer(folder, root)
        row = dict(fields)
        if text is not None:
            if len(answerer.slots) != 1:
                raise SettingsError(
                    Problem(
                        "one text is given for several fields",
                        where=f"task {task}",
                        wanted="--field NAME=TEXT for each of " + joined(answerer.slots),
                    )
                )
            row[answerer.slots[0]] = text
        if set(row) != set(answerer.slots):
            raise SettingsError(
                Problem(
                    "the fields are not those of the prompt",
                    where=f"task {task}, version {version.number}",
                    found=joined(sorted(row)),
                    wanted=joined(answerer.slots),
                    do="--field NAME=TEXT for each of them",
                )
            )
        prediction = answerer([row])[0]
    if prediction.answer is None:
        raise RungwiseError(
            Problem(
                "the text can't be scored",
                where=f"task {task}, version {version.number}",
                found=prediction.unscored,
                wanted="a text that fits the model's context with the prompt around it",
                do="shorten it",
            )
        )
    return {"answer": prediction.answer, "probability": prediction.probability, "version": version.number}


def explain(root: Path, task: str | None = None) -> dict[str, Any]:
    """Returns task -> its whole climb: what is measured, what its rows can show, each rung's evidence and decision.

    Raises:
        RungwiseError: there is no such task, or it was not climbed yet.
    """
    from rungwise.evidence.intervals import share_needed
    from rungwise.evidence.metrics import MEANINGS, TITLES

    settings = settings_of(root)
    if task is not None:
        task_settings(settings, task)
    found: dict[str, Any] = {}
    for name in [task] if task else settings.tasks:
        climb = climb_of(root, name)
        rungs = []
        for evidence, step in zip(climb.evidence, climb.steps, strict=True):
            folder = Paths(root).attempts / f"train-{evidence.attempt}" / "cost.json"
            cost = read_json(folder) if folder.is_file() else {}
            rungs.append({**to_json(evidence), "seconds": cost.get("seconds"), "decision": to_json(step)})
        n = max((e.n for e in climb.evidence), default=0)
        n_groups = _groups(Paths(root).output("climb") / name / "predictions")
        needed = [share_needed(k, climb.target, settings.evaluate.confidence) if k else None for k in (n, n_groups)]
        found[name] = {
            "metric": TITLES[climb.metric],
            "meaning": MEANINGS[climb.metric],
            "target": climb.target,
            "dev_rows": n,
            "dev_groups": n_groups,
            "share_needed": needed[0],
            "share_needed_of_groups": needed[1],
            "rungs": rungs,
            "decision": to_json(climb.decision),
            "comparison": climb.comparison,
        }
    return found


def _groups(folder: Path) -> int:
    """Returns how many lineage groups the development rows of a climb belong to."""
    paths = sorted(folder.glob("*.jsonl"))
    return len({prediction_from_json(line).group for line in read_lines(paths[0])}) if paths else 0


def status(root: Path) -> dict[str, Any]:
    """Returns how each task stands: its bar, ladder, evidence, decision, challenger and champion.

    `changed` names the stages that DVC would run again, so that an old verdict is not taken for today's.
    """
    from rungwise.release.promote import looks
    from rungwise.release.registry import CHALLENGER, CHAMPION, Registry

    settings = settings_of(root)
    is_climbed = is_sealed(Paths(root).output("climb"))
    has_data = all(is_sealed(Paths(root).output(verb)) for verb in ("split", "augment"))
    tasks: dict[str, Any] = {}
    registry = Registry(root)
    for name, task in settings.tasks.items():
        path = Paths(root).output("climb") / name / "climb.json"
        climb = climb_from_json(read_json(path)) if is_climbed and path.is_file() else None
        champion, challenger = (registry.version(name, alias) for alias in (CHAMPION, CHALLENGER))
        tasks[name] = {
            "metric": task.measure,
            "target": task.target,
            "ladder": [r.name for r in settings.ladder],
            "evidence": [to_json(e) for e in climb.evidence] if climb else [],
            "decision": to_json(climb.decision) if climb else None,
            "comparison": climb.comparison if climb else "",
            "challenger": {"version": challenger.number, **challenger.tags} if challenger else None,
            "champion": {"version": champion.number, **champion.tags} if champion else None,
            "test_looks": looks(Paths(root).ledger, name),
        }
    return {
        "tasks": tasks,
        "data_version": version_of_data(root) if is_climbed and has_data else None,
        "changed": changed(root) if is_climbed and (root / ".dvc").is_dir() else [],
    }
