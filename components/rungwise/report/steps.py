"""What each step of a run did, as Markdown: rows in, rows out and why; also where a stage did not run again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rungwise.climbing.ladder import last_climb
from rungwise.core.decisions import Climb
from rungwise.core.folders import open_sealed, read_json, read_lines
from rungwise.core.gate_reasons import ChallengerScore, NothingRegistered
from rungwise.core.records import SIDES
from rungwise.core.texts import markdown, number_of
from rungwise.core.words import sentence_of, sentences_of
from rungwise.dataset.collect import Collected
from rungwise.evidence.evaluate import score_text
from rungwise.release.gate import Verdict
from rungwise.release.register import Registration
from rungwise.workspace.layout import Paths, settings_of

HEADER = ("task", "rows in", "rows out", "why")


@dataclass(frozen=True)
class StageRows:
    """What a stage did with a task's rows; what came in, less what was removed, plus what was added, is what left."""

    stage: str
    came: int
    removed: Mapping[str, int]
    """Reason -> number of rows."""
    added: int
    left: int

    @property
    def why(self) -> str:
        """What was removed and added, as text."""
        parts = [f"{reason}: {n:,}" for reason, n in self.removed.items()]
        return (
            ", ".join([*parts, *([f"{number_of(self.added, 'synthetic row')} added"] if self.added else [])])
            or "all kept"
        )


def stage_rows(
    ingest: Mapping[str, Any], validate: Mapping[str, Any], split: Mapping[str, Any], n_trained: int
) -> tuple[StageRows, ...]:
    """Returns what each stage did, from the stages' reports; `n_trained`: rows after augment."""
    reports = (("ingest", ingest, ingest["rows"]), ("validate", validate, validate["rows"]),
               ("split", split, sum(split["rows"].values())))  # fmt: skip
    rows = [StageRows(name, n + sum(one["rejected"].values()), one["rejected"], 0, n) for name, one, n in reports]
    train = split["rows"]["train"]
    return (*rows, StageRows("augment", train, {}, n_trained - train, n_trained))


def stage_markdown(root: Path, verb: str) -> str:
    """Returns a table of the rows of each task in a stage's last output; the stage may have run earlier.

    Raises:
        WorkspaceError: the stage has not run.
    """
    tasks = settings_of(root).tasks
    if verb == "climb":
        return _table(HEADER, [row for task in tasks for row in _climb_rows(last_climb(root, task))])
    return _table(HEADER, [_stage_row(root, verb, task) for task in tasks])


def _stage_row(root: Path, verb: str, task: str) -> tuple[str, ...]:
    paths = Paths(root)
    folder = open_sealed(paths.output(verb), verb) / task
    if verb == "augment":
        came = _sides(root, task)["train"]
        left = sum(1 for _ in read_lines(folder / "train.jsonl"))
        one = StageRows(verb, came, {}, left - came, left)
    else:
        report = read_json(folder / ("summary.json" if verb == "ingest" else "report.json"))
        left = sum(report["rows"].values()) if verb == "split" else report["rows"]
        one = StageRows(verb, left + sum(report["rejected"].values()), report["rejected"], 0, left)
    return (task, f"{one.came:,}", f"{one.left:,}", one.why)


def _sides(root: Path, task: str) -> dict[str, int]:
    rows: dict[str, int] = read_json(open_sealed(Paths(root).output("split"), "split") / task / "report.json")["rows"]
    return rows


def _climb_rows(climb: Climb) -> list[tuple[str, ...]]:
    """Returns a row for each rung (rows trained on, validation rows scored, score), and one for the decision."""
    rows = [
        (f"{climb.task}/{one.rung}", f"{one.train_rows:,}", f"{one.score.n if one.score else 0:,}", score_text(one))
        for one in climb.evidence
    ]
    return [*rows, (climb.task, "", "", sentences_of(climb.decision.reasons[-1:]))]


def step_markdown(root: Path, name: str, task: str, result: object) -> str:
    """Returns what a step that is not a stage did, from what it returned. `task` is empty for a step about all tasks.

    `name`: collect, drift, incumbent, accept, register or promote; `climb` of one task alone.
    """
    if isinstance(result, Climb):
        return _table(HEADER, _climb_rows(result))
    if isinstance(result, Registration):
        why = sentence_of(NothingRegistered())
        if result.version is not None:
            why = f"{result.rung} is version {result.version} in the registry, with the alias challenger"
        trained = next((e.train_rows for e in last_climb(root, task).evidence if e.rung == result.rung), 0)
        return _table(HEADER, [(task, f"{trained:,}", f"{trained if result.version else 0:,}", why)])
    if isinstance(result, Verdict):
        scored = next((r.score.n for r in result.reasons if isinstance(r, ChallengerScore)), 0)
        why = f"{result.action}: {sentences_of(result.reasons)}"
        return _table(HEADER, [(task, f"{_sides(root, task)['test']:,}", f"{scored:,}", why)])
    if name == "collect":
        return _collected(result if isinstance(result, tuple) else ())
    lines = [str(line) for line in result] if isinstance(result, list) else []
    whys = {
        "drift": "no drift exceeds a limit that stops a run (`validate.drift.severity`)",
        "accept": "these rows were accepted before",
        "incumbent": "the incumbent was asked nothing new",
    }
    sides = {one: _sides(root, one) for one in settings_of(root).tasks}
    counts = {one: n["dev"] if name == "incumbent" else sum(n[side] for side in SIDES) for one, n in sides.items()}
    why = " ".join(lines) or whys.get(name, "done")
    return _table(HEADER, [(one, f"{n:,}", f"{n:,}", why) for one, n in counts.items()])


def _collected(sources: Sequence[Any]) -> str:
    rows = [
        (
            one.name,
            str(len(one.files)),
            f"{sum(file['bytes'] for file in one.files.values()):,}",
            f"{number_of(len(one.changed), 'file')} changed" if one.changed else "nothing changed",
        )
        for one in sources
        if isinstance(one, Collected)
    ]
    return _table(("source", "files", "bytes", "why"), rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns rows as a table in Markdown, which shows each cell as it is."""
    lines = [header, ["---"] * len(header), *([markdown(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
