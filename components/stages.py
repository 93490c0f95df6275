"""The shell around the verbs: one function per DVC stage.

`python -m components.stages VERB --recipe N` is what dvc.yaml runs; the flow calls the same functions. A stage
reads sealed folders, writes one sealed folder, and refuses to write if params.yaml or the rows in data/raw
changed while it ran. Hashed outputs hold no time, cost or path.
"""

import argparse
import functools
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import versions
from components.config import FieldSettings, RungSettings, Settings, TaskSettings, base_of
from components.errors import DataError, RungwiseError, problem
from components.faults import LIMITS
from components.folders import (
    is_sealed,
    joined,
    open_sealed,
    read_json,
    sweep,
    write_folder,
    write_json,
    write_lines,
)
from components.layout import (
    STAGES,
    Paths,
    Snapshot,
    check_recipe,
    check_unchanged,
    settings_of,
    snapshot,
)
from components.methods import METHODS
from components.records import (
    SIDES,
    AnswerForm,
    AttemptSpec,
    Climb,
    Json,
    Rejection,
    climb_from_json,
    counted,
    derive_seed,
    to_json,
    to_lines,
)
from components.table import Table
from components.workspace import LineProgress, die_with_parent, locked, prepare_environment, say, workspace_root

if TYPE_CHECKING:
    from components.climbing.attempts import Attempt, How
    from components.climbing.decide import Outcome
    from components.dataset.split import Split
    from components.evaluation.metrics import Metric

MANY_LEAKS = 0.05
"""More copies than this share of the training rows are worth a word."""
FEW_ROWS = 10
"""Of fewer held-out rows of a label little can be said about it."""


def _seal(root: Path, verb: str, before: Snapshot, files: Mapping[str, str | Path | Table | Json]) -> None:
    """Writes a stage's output: relative path -> text, a file to copy, rows, or a value that becomes JSON."""

    def write(part: Path) -> None:
        for name, content in sorted(files.items()):
            if isinstance(content, Path):
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                (part / name).write_bytes(content.read_bytes())
            elif isinstance(content, Table):
                content.write(part / name)
            elif isinstance(content, str):
                write_lines(part / name, content)
            else:
                write_json(part / name, content)
        check_unchanged(root, before)

    write_folder(Paths(root).output(verb), write)


def _rows(folder: Path, task: str, side: str) -> Table:
    return Table.read(folder / task / f"{side}.jsonl")


def _rejected(rejections: Sequence[Rejection]) -> dict[str, int]:
    return counted([r.reason for r in rejections])


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason}: {n}" for reason, n in counts.items()) or "none"


def ingest(root: Path, before: Snapshot | None = None) -> None:
    """Reads the sources under data/raw into data/ingest: Examples and counted Rejections, per task."""
    from components.dataset.ingest import ingest as verb

    settings, before = settings_of(root), before or snapshot(root)
    out: dict[str, str | Path | Table | Json] = {}
    for name, task in settings.tasks.items():
        result = verb(settings.ingest, settings.split, task, Paths(root).raw)
        counts = _rejected(result.rejections)
        out[f"{name}/examples.jsonl"] = result.examples
        out[f"{name}/rejections.jsonl"] = to_lines(result.rejections)
        found = counted([d.kind for d in result.duplicates])
        out[f"{name}/duplicates.jsonl"] = to_lines(result.duplicates)
        out[f"{name}/summary.json"] = {
            "rows": len(result.examples),
            "sources": counted(result.examples.source),
            "rejected": counts,
            "duplicates": found,
        }
        say(f"ingest {name}: {len(result.examples)} rows; rejected: {_listed(counts)}; twice: {_listed(found)}")
    _seal(root, "ingest", before, out)


def validate(root: Path, before: Snapshot | None = None) -> None:
    """Holds the ingested rows against the suite derived from each task, into data/validate."""
    from components.dataset.validate import validate as verb

    settings, before = settings_of(root), before or snapshot(root)
    folder = open_sealed(Paths(root).output("ingest"), "ingest")
    out: dict[str, str | Path | Table | Json] = {}
    for name, task in settings.tasks.items():
        result = verb(settings.validate_, task, _rows(folder, name, "examples"))
        counts = _rejected(result.rejections)
        out[f"{name}/examples.jsonl"] = result.examples
        out[f"{name}/rejections.jsonl"] = to_lines(result.rejections)
        out[f"{name}/report.json"] = {
            "checks": [asdict(c) for c in result.checks],
            "suspects": [asdict(s) for s in result.suspects],
            "rows": len(result.examples),
            "labels": counted(result.examples.answer) if task.answer.format == "label" else {},
            "rejected": counts,
        }
        out[f"{name}/suite.json"] = result.outcome
        met = sum(c.success for c in result.checks)
        say(
            f"validate {name}: {met} of {len(result.checks)} expectations met, {len(result.examples)} rows; "
            f"rejected: {_listed(counts)}"
        )
        for check in result.checks:
            if check.severity == "warn" and not check.success:
                where = f" on {check.column}" if check.column else ""
                say(f"validate {name}: careful: {check.expectation}{where} is not met ({len(check.failed_ids)} rows)")
        if result.suspects:
            first = joined([f"{s.id}: {s.label}, perhaps {s.suggested}" for s in result.suspects], 3)
            say(
                f"validate {name}: careful: {len(result.suspects)} labels look wrong ({first}); they stay, look at them"
            )
    _seal(root, "validate", before, out)


def split(root: Path, before: Snapshot | None = None) -> None:
    """Splits the validated rows into train, dev and test, into data/split."""
    from components.dataset.split import split as verb

    settings, before = settings_of(root), before or snapshot(root)
    folder = open_sealed(Paths(root).output("validate"), "validate")
    out: dict[str, str | Path | Table | Json] = {}
    for name, task in settings.tasks.items():
        result = verb(settings.split, _rows(folder, name, "examples"))
        for side in SIDES:
            out[f"{name}/{side}.jsonl"] = getattr(result, side)
        out[f"{name}/rejections.jsonl"] = to_lines(result.rejections)
        careful = _what_the_split_cannot_show(settings, task, result)
        out[f"{name}/report.json"] = {
            "rows": {side: len(getattr(result, side)) for side in SIDES},
            "rejected": _rejected(result.rejections),
            "leaks": [asdict(leak) for leak in result.leaks],
            "dev_in_test": [asdict(leak) for leak in result.dev_in_test],
            "careful": careful,
        }
        sizes = f"{len(result.train)} train, {len(result.dev)} dev, {len(result.test)} test"
        say(f"split {name}: {sizes}; rejected: {_listed(_rejected(result.rejections))}")
        for text in careful:
            say(f"split {name}: careful: {text}")
    _seal(root, "split", before, out)


def _what_the_split_cannot_show(settings: Settings, task: TaskSettings, split: "Split") -> list[str]:
    """Returns what a reader of the scores should know beforehand, a sentence each."""
    from components.dataset.split import rare
    from components.evaluation.statistics import share_needed

    told = []
    if (n := len(split.test)) < settings.split.min_test:
        needed = share_needed(n, task.target, settings.evaluate.confidence)
        asks = f"asks for {needed:.3f} observed" if needed else "can't be shown, not even by a faultless model"
        least = settings.split.min_test
        told.append(f"{n} test rows are fewer than {least} (`split.min_test`): the bar {task.target:g} {asks}")
    if task.answer.format == "label":
        for side in ("dev", "test"):
            few = rare(split.train, getattr(split, side), FEW_ROWS)
            listed = joined([f"{label}: {n}" for label, n in few.items()])
            if few:
                told.append(
                    f"{len(few)} label(s) with fewer than {FEW_ROWS} {side} rows: one answer moves such a label's own "
                    f"score by more than {1 / FEW_ROWS:.0%}, and without a row it has none ({listed})"
                )
    n_before = len(split.train) + len(split.leaks)
    if len(split.leaks) > MANY_LEAKS * n_before:
        told.append(
            f"{len(split.leaks) / n_before:.0%} of the training rows were taken out as copies of held-out ones: if one "
            "word makes another question, set `split.copies: exact`"
        )
    if split.dev_in_test:
        ids = joined([f"{leak.id} = {leak.other}" for leak in split.dev_in_test])
        told.append(
            f"{len(split.dev_in_test)} dev rows say what a test row says ({ids}): both stay, since neither teaches"
        )
    return told


def augment(root: Path, before: Snapshot | None = None) -> None:
    """Adds synthetic rows to the training rows, into data/augment."""
    from components.dataset.augment import augment as verb

    settings, before = settings_of(root), before or snapshot(root)
    folder = open_sealed(Paths(root).output("split"), "split")
    out: dict[str, str | Path | Table | Json] = {}
    for name, task in settings.tasks.items():
        sides = {side: _rows(folder, name, side) for side in SIDES}
        seed = derive_seed(settings.seed, "augment", name)
        result = verb(settings.augment, task, sides["train"], (*sides["dev"], *sides["test"]), seed=seed)
        out[f"{name}/train.jsonl"] = result.train
        out[f"{name}/rejections.jsonl"] = to_lines(result.rejections)
        n_new = sum(map(bool, result.train.parents))
        say(f"augment {name}: {len(result.train)} training rows, {n_new} of them synthetic")
    _seal(root, "augment", before, out)
    version = versions.data_version(Paths(root).output("split"), Paths(root).output("augment"))
    say(f"augment: these rows are data version {version}")


def form_of(task: TaskSettings, labels: Sequence[str]) -> AnswerForm:
    """Returns how the task's answers look, with `labels` as the closed set where the settings name none."""
    answer = task.answer

    def form(field: FieldSettings) -> AnswerForm:
        return AnswerForm(field.format, field.labels, field.separator)

    if answer.format == "label":
        return replace(form(answer), labels=answer.labels or tuple(labels))
    return replace(form(answer), fields={name: form(field) for name, field in answer.fields.items()})


def spec_of(settings: Settings, task: TaskSettings, rung: RungSettings, labels: Sequence[str]) -> AttemptSpec:
    """Returns all that decides one attempt's numbers, from the sections that say so."""
    common = AttemptSpec(
        base=base_of(rung),
        method=rung.method,
        prompt=task.prompt,
        form=form_of(task, labels),
        template=rung.template,
        seed=derive_seed(settings.seed, "train"),
        precision=settings.train.precision,
    )
    common = replace(
        common,
        examples=rung.setting("examples") or 0,
        rank=rung.setting("rank") or 0,
        alpha=rung.setting("alpha") or 0.0,
        dropout=rung.setting("dropout") or 0.0,
        targets=rung.setting("targets") or (),
        tokens=rung.setting("tokens") or 0,
        layers=rung.setting("layers") or 0,
    )
    if not METHODS[rung.method].trains:
        return replace(common, steps=0, batch_size=0)
    looks = settings.train.look_every
    return replace(
        common,
        steps=rung.steps or settings.train.steps,
        batch_size=settings.train.batch_size,
        max_over_context=settings.train.audit.get("over_context", LIMITS["over_context"]),
        tokens_at_once=settings.train.tokens_at_once,
        checkpointing=settings.train.checkpointing,
        compiled=settings.train.compiled,
        learning_rate=rung.learning_rate or settings.train.learning_rate,
        warmup_share=settings.train.warmup_share,
        schedule=settings.train.schedule,
        clip_norm=settings.train.clip_norm,
        weight_decay=settings.train.weight_decay,
        look_every=looks,
        look_rows=settings.train.look_rows if looks else 0,
        patience=settings.train.patience if looks else 0,
        metric=task.measure if looks else "",
    )


@dataclass(frozen=True)
class TaskClimb:
    """One task's climb before it starts: its rows and what each rung would try."""

    root: Path
    settings: Settings
    name: str
    train: Table
    dev: Table

    @property
    def task(self) -> TaskSettings:
        """The task's settings."""
        return self.settings.tasks[self.name]

    def spec(self, rung: str) -> AttemptSpec:
        """Returns the attempt that a rung stands for."""
        chosen = next(r for r in self.settings.ladder if r.name == rung)
        return spec_of(self.settings, self.task, chosen, self.labels)

    @property
    def labels(self) -> list[str]:
        """The labels that stand in the training rows; none where answers are not labels."""
        return sorted(set(self.train.answer)) if self.task.answer.format == "label" else []

    @property
    def metric(self) -> "Metric":
        """What the task is measured by."""
        from components.evaluation.metrics import Metric

        return Metric(self.task.measure, form_of(self.task, self.labels))


KEPT = "kept"
"""The folder under data/climb/<task>/ that holds what makes the kept attempt answer again."""


DATA = "data.json"
"""The file beside a kept attempt that names the rows that it was taught by."""

NOT_KEPT = ("SEAL.json", "cost.json", "losses.json", "audit.json")
"""The files of an attempt that are not needed to answer again, or differ from run to run."""


def kept_files(attempt: Path) -> list[Path]:
    """Returns the files of an attempt that make it answer again: no cost, nothing that differs between runs."""
    return sorted(p for p in attempt.iterdir() if p.is_file() and p.name not in NOT_KEPT)


TrainRung = Callable[[TaskClimb, str], "Attempt"]
EvaluateRung = Callable[[TaskClimb, str, "Attempt"], "Outcome"]


def train_rung(climb: TaskClimb, rung: str, progress: Callable[[int, int, str], None] | None = None) -> "Attempt":
    """Returns a rung's attempt, trained now unless the store has it."""
    from components.climbing.attempts import train_attempt

    show, store = progress or LineProgress(f"train {climb.name}/{rung}"), Paths(climb.root).attempts
    return train_attempt(store, climb.spec(rung), climb.train, climb.root, show, dev=climb.dev, how=how_of(climb, rung))


def how_of(climb: TaskClimb, rung: str) -> "How":
    """Returns how a rung's attempt is run, as `train` says."""
    from components.climbing.attempts import How

    settings = climb.settings.train
    return How(
        checkpoint_steps=settings.checkpoint_steps,
        launch=settings.launch,
        limits={str(fault): share for fault, share in settings.audit.items()},
        shown=climb.root / ".rungwise" / "audit" / f"{climb.name}-{rung}.txt",
        say=lambda text: say(f"train {climb.name}/{rung}: {text}"),
    )


def evaluate_rung(
    climb: TaskClimb, rung: str, attempt: "Attempt", progress: Callable[[int, int, str], None] | None = None
) -> "Outcome":
    """Returns what a rung's attempt shows on the development rows."""
    from components.climbing.attempts import evaluate_attempt
    from components.climbing.decide import Outcome
    from components.evaluation.evaluate import evaluate

    show, spec = progress or LineProgress(f"evaluate {climb.name}/{rung}"), climb.spec(rung)
    store = Paths(climb.root).attempts
    predictions = evaluate_attempt(store, attempt, spec, climb.dev, climb.root, show)
    settings = climb.settings.evaluate
    evidence = evaluate(settings, climb.metric, rung, spec, attempt.digest, attempt.result, predictions)
    return Outcome(evidence, predictions)


def task_climb(root: Path, settings: Settings, name: str) -> TaskClimb:
    """Returns a task's climb as its rows stand after `augment`.

    Raises:
        WorkspaceError: the rows were not split and augmented yet.
    """
    trained = open_sealed(Paths(root).output("augment"), "augment")
    measured = open_sealed(Paths(root).output("split"), "split")
    return TaskClimb(root, settings, name, _rows(trained, name, "train"), _rows(measured, name, "dev"))


def climb(
    root: Path,
    before: Snapshot | None = None,
    *,
    train: TrainRung = train_rung,
    evaluate: EvaluateRung = evaluate_rung,
) -> tuple[Climb, ...]:
    """Climbs the ladder for each task, into data/climb: evidence, decisions, predictions, the kept adapter.

    `train` and `evaluate` are how one rung is tried; the flow passes its tasks.
    """
    from components.climbing.climb import climb as verb
    from components.climbing.decide import compare, decide

    settings, before = settings_of(root), before or snapshot(root)
    check_bases(root, settings)
    if any(rung.base for rung in settings.ladder):
        from components.planning.machines import machines
        from components.planning.measure import this_memory
        from components.planning.plan import check_ladder

        for sentence in check_ladder(root, settings, this_memory(), machines(root)):
            say(f"climb: careful: {sentence}")
    version = versions.data_version(*(open_sealed(Paths(root).output(verb), verb) for verb in ("split", "augment")))
    out: dict[str, str | Path | Table | Json] = {}
    climbs: list[Climb] = []
    for name, task in settings.tasks.items():
        one = task_climb(root, settings, name)
        if len(one.dev) < settings.decide.min_scored:
            raise DataError(
                problem(
                    "there are too few development rows to judge anything",
                    where=f"step climb: {name}",
                    found=f"{len(one.dev)} rows",
                    wanted=f"{settings.decide.min_scored} (`decide.min_scored`)",
                    do="collect more rows, or raise `split.dev`: nothing was trained",
                )
            )
        attempts: dict[str, Attempt] = {}

        def attempt(rung: str, one: TaskClimb = one, attempts: dict[str, "Attempt"] = attempts) -> "Outcome":
            attempts[rung] = train(one, rung)
            outcome = evaluate(one, rung, attempts[rung])
            say(f"climb {one.name} on data {version}: {rung} " + score_text(to_json(outcome.evidence)))
            return outcome

        result, outcomes = verb(
            name,
            task.measure,
            task.target,
            [r.name for r in settings.ladder],
            attempt,
            functools.partial(decide, settings.decide, task.target, one.metric),
        )
        text = compare(one.metric, outcomes, result.decision)
        result = replace(result, comparison=text)
        climbs.append(result)
        out[f"{name}/climb.json"] = to_json(result)
        for outcome in outcomes:
            out[f"{name}/predictions/{outcome.evidence.rung}.jsonl"] = to_lines(outcome.predictions)
        if result.decision.rung:
            out |= {f"{name}/{KEPT}/{f.name}": f for f in kept_files(attempts[result.decision.rung].folder)}
            out[f"{name}/{KEPT}/{DATA}"] = _taught_by(settings, one.train, version)
        say(f"climb {name} on data {version}: {result.decision.reasons[-1]} {text}")
    _seal(root, "climb", before, out)
    return tuple(climbs)


def _taught_by(settings: Settings, train: Table, version: str) -> dict[str, Json]:
    """Returns the data version and the sources of the rows that taught, each with its rows and its licence."""
    licences = {source.name: source.licence for source in settings.ingest.sources}
    counts = counted(train.source)
    return {
        "data_version": version,
        "sources": {name: {"rows": n, "licence": licences.get(name)} for name, n in counts.items()},
    }


def score_text(evidence: Mapping[str, Any]) -> str:
    """Returns a rung's score in a few words: `0.962 (0.941 to 0.976, n=480)`, or why there is none."""
    score = evidence["score"]
    if not score:
        return str(evidence["note"])
    return f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f}, n={score['n']})"


def run_stage(root: Path, verb: str, before: Snapshot | None = None) -> None:
    """Runs one stage as it stands in this file; the caller holds the workspace's lock.

    `before`: what the stage must find unchanged at its end; None: what it finds at its start.
    """
    stages: Mapping[str, Callable[[Path, Snapshot | None], object]] = {
        "ingest": ingest,
        "validate": validate,
        "split": split,
        "augment": augment,
        "climb": climb,
    }
    stages[verb](root, before)


def clear_leftovers(root: Path) -> None:
    """Removes what killed runs left half-written; the caller holds the workspace's lock."""
    for verb in STAGES:
        sweep(Paths(root).output(verb).parent, verb)
    store = Paths(root).attempts
    if store.is_relative_to(root):  # other workspaces may be writing into a shared store
        sweep(store)
        for left in [*store.glob("resume-*"), *store.glob("bundle-*")]:
            if is_sealed(store / f"train-{left.name.partition('-')[2]}"):
                shutil.rmtree(left, ignore_errors=True)


def check_rows(root: Path) -> None:
    """Checks that data/raw holds a file at all, before DVC says so in its own words.

    Raises:
        DataError: it holds none.
    """
    raw = Paths(root).raw
    if not raw.is_dir() or not any(raw.iterdir()):
        raise DataError(
            problem(
                "there are no rows yet",
                where=str(raw),
                found="no file",
                wanted="the files that `ingest.sources` in params.yaml names",
                do="put them there; in the project's own repository `make demo` does",
            )
        )


def check_bases(root: Path, settings: Settings) -> None:
    """Checks that every local base of the ladder is there, before anything is spent on a rung below it.

    Raises:
        ModelError: one is not, or lacks a part.
    """
    from components.model.bases import base_folder

    for rung in settings.ladder:
        base = base_of(rung)
        if base and not base.revision:
            base_folder(base, root)


def is_current(root: Path, verb: str) -> bool:
    """Whether a stage need not run: DVC says so, and no local base was changed since it was climbed with."""
    return versions.is_current(root, verb) and (verb != "climb" or not changed_bases(root))


def changed_bases(root: Path) -> list[str]:
    """Returns the local bases of the last climb whose files are no longer those that it used.

    A base lies outside the DVC graph, so DVC does not see this.
    """
    from components.errors import ModelError
    from components.model.bases import base_digest, base_folder
    from components.records import Base

    changed = set()
    for path in sorted(Paths(root).output("climb").glob("*/climb.json")):
        for evidence in climb_from_json(read_json(path)).evidence:
            if not evidence.base or "@" in evidence.base:
                continue
            try:
                now = base_digest(base_folder(Base(evidence.base), root))
            except ModelError:
                now = ""
            if now != evidence.base_digest:
                changed.add(evidence.base)
    return sorted(changed)


def record(root: Path, verb: str, before: Snapshot) -> None:
    """Records a stage that ran here in dvc.lock.

    Raises:
        ChangedUnderRun: an input was edited meanwhile; dvc.lock is then as it was before.
        WorkspaceError: DVC failed; dvc.lock is as it was before.
    """
    lock = root / "dvc.lock"
    old = lock.read_bytes() if lock.is_file() else None
    check_unchanged(root, before)
    try:
        versions.record(root, verb)
        check_unchanged(root, before)
    except BaseException:
        if old is None:
            lock.unlink(missing_ok=True)
        else:
            lock.write_bytes(old)
        raise


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one stage for DVC; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m components.stages")
    parser.add_argument("verb", choices=STAGES)
    parser.add_argument("--recipe", type=int, required=True)
    arguments = parser.parse_args(argv)
    prepare_environment()
    die_with_parent()
    root = workspace_root()
    try:
        check_recipe(root, arguments.verb, arguments.recipe)
        with locked(root, f"stage {arguments.verb}"):
            clear_leftovers(root)
            run_stage(root, arguments.verb)
    except RungwiseError as error:
        say(f"rungwise: {error}")
        return 2
    except KeyboardInterrupt:
        say("rungwise: stopped; finished attempts are kept, the same command goes on from there")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
