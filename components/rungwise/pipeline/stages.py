"""The DVC stages: one function each, which adds the files around a function of `dataset` or `climbing`.

dvc.yaml runs `python -m rungwise.pipeline.stages VERB --recipe N`; the Prefect flow calls the same functions. A stage
reads sealed folders and writes one sealed folder. It does not write if params.yaml or data/raw changed while it ran.
Hashed outputs contain no times, costs or paths.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rungwise.climbing.ladder import changed_bases, check_bases, climb_ladder
from rungwise.climbing.rungs import EvaluateRung, TrainRung, evaluate_rung, task_climb, train_rung
from rungwise.core.decisions import Climb
from rungwise.core.errors import DataError, Problem, RungwiseError
from rungwise.core.folders import (
    is_sealed,
    joined,
    open_sealed,
    replace_bytes,
    sweep,
    write_folder,
    write_json,
    write_lines,
)
from rungwise.core.progress import say
from rungwise.core.recipes import STAGES
from rungwise.core.records import SIDES, Json, Rejection, counted, derive_seed, to_lines
from rungwise.core.table import Table
from rungwise.core.texts import number_of
from rungwise.pipeline.figures import LADDER, METRICS, ladder_of, metrics_of
from rungwise.workspace import dvc
from rungwise.workspace.caretaker import leave_caretaker
from rungwise.workspace.layout import (
    Paths,
    Snapshot,
    check_recipe,
    check_unchanged,
    data_version,
    settings_of,
    snapshot,
)
from rungwise.workspace.lock import locked
from rungwise.workspace.process import die_with_parent, prepare_environment, workspace_root
from rungwise.workspace.refusals import write_refusals
from rungwise.workspace.repair import repair


def _seal(root: Path, verb: str, before: Snapshot, files: Mapping[str, str | Path | Table | Json]) -> None:
    """Writes a stage's output folder; `files`: relative path -> text, a file to copy, rows, or a JSON value."""

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
    """Reads the sources in data/raw into data/ingest: rows and counted rejections of each task."""
    from rungwise.dataset.ingest import ingest as verb

    settings, before = settings_of(root), before or snapshot(root)
    out: dict[str, str | Path | Table | Json] = {}
    for name, task in settings.tasks.items():
        result = verb(settings.ingest, settings.split, task, Paths(root).raw)
        counts = _rejected(result.rejections)
        out[f"{name}/examples.jsonl"] = result.examples
        out[f"{name}/rejections.jsonl"] = to_lines(result.rejections)
        duplicates = counted([d.kind for d in result.duplicates])
        out[f"{name}/duplicates.jsonl"] = to_lines(result.duplicates)
        out[f"{name}/summary.json"] = {
            "rows": len(result.examples),
            "sources": counted(result.examples.source),
            "rejected": counts,
            "duplicates": duplicates,
            "warnings": list(result.warnings),
        }
        for text in result.warnings:
            say(f"ingest {name}: warning: {text}")
        say(
            f"ingest {name}: {number_of(len(result.examples), 'row')}; rejected: {_listed(counts)}; "
            f"duplicates: {_listed(duplicates)}"
        )
    _seal(root, "ingest", before, out)


def validate(root: Path, before: Snapshot | None = None) -> None:
    """Checks the ingested rows against the expectations of each task, into data/validate."""
    from rungwise.dataset.validate import validate as verb

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
            f"validate {name}: {met} of {len(result.checks)} expectations met, "
            f"{number_of(len(result.examples), 'row')}; "
            f"rejected: {_listed(counts)}"
        )
        for check in result.checks:
            if check.severity == "warn" and not check.success:
                where = f" on {check.column}" if check.column else ""
                say(
                    f"validate {name}: warning: {check.expectation}{where} is not met "
                    f"({number_of(len(check.failed_ids), 'row')})"
                )
        if result.suspects:
            first = joined([f"{s.id}: {s.label}, perhaps {s.suggested}" for s in result.suspects], 3)
            hint = "`rungwise data show ID` shows a row"
            say(f"validate {name}: warning: {number_of(len(result.suspects), 'label')} may be wrong ({first}). {hint}")
    _seal(root, "validate", before, out)


def split(root: Path, before: Snapshot | None = None) -> None:
    """Splits the validated rows into train, dev and test, into data/split."""
    from rungwise.dataset.split import split as verb
    from rungwise.pipeline.split_warnings import split_warnings

    settings, before = settings_of(root), before or snapshot(root)
    folder = open_sealed(Paths(root).output("validate"), "validate")
    out: dict[str, str | Path | Table | Json] = {}
    for name, task in settings.tasks.items():
        result = verb(settings.split, _rows(folder, name, "examples"))
        for side in SIDES:
            out[f"{name}/{side}.jsonl"] = getattr(result, side)
        out[f"{name}/rejections.jsonl"] = to_lines(result.rejections)
        warnings = split_warnings(task, result)
        out[f"{name}/report.json"] = {
            "rows": {side: len(getattr(result, side)) for side in SIDES},
            "rejected": _rejected(result.rejections),
            "leaks": [asdict(leak) for leak in result.leaks],
            "dev_in_test": [asdict(leak) for leak in result.dev_in_test],
            "warnings": warnings,
        }
        sizes = f"{len(result.train)} train, {len(result.dev)} dev, {len(result.test)} test"
        say(f"split {name}: {sizes}; rejected: {_listed(_rejected(result.rejections))}")
        for text in warnings:
            say(f"split {name}: warning: {text}")
    _seal(root, "split", before, out)


def augment(root: Path, before: Snapshot | None = None) -> None:
    """Adds synthetic rows to the training rows, into data/augment."""
    from rungwise.dataset.augment import augment as verb

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
        say(f"augment {name}: {number_of(len(result.train), 'training row')}, {n_new} of them synthetic")
    _seal(root, "augment", before, out)
    version = data_version(root)
    say(f"augment: data version {version}")


def climb(
    root: Path,
    before: Snapshot | None = None,
    *,
    train: TrainRung = train_rung,
    evaluate: EvaluateRung = evaluate_rung,
) -> tuple[Climb, ...]:
    """Climbs the ladder for each task, into data/climb: evidence, decisions, predictions, the chosen adapter.

    `train` and `evaluate` try one rung; the Prefect flow passes its tasks.
    """
    from rungwise.pipeline.split_warnings import few_rows_warning

    settings, before = settings_of(root), before or snapshot(root)
    check_bases(root, settings)
    if any(rung.base for rung in settings.ladder):
        from rungwise.planning.check import check_ladder
        from rungwise.planning.machines import machines
        from rungwise.planning.measure import this_memory

        for sentence in check_ladder(root, settings, this_memory(), machines(root)):
            say(f"climb: warning: {sentence}")
    for verb in ("split", "augment"):
        open_sealed(Paths(root).output(verb), verb)
    version = data_version(root)
    out: dict[str, str | Path | Table | Json] = {}
    climbs: list[Climb] = []
    for name in settings.tasks:
        if few := few_rows_warning(settings, name, len(_rows(Paths(root).output("split"), name, "test"))):
            say(f"climb {name}: warning: {few}")
        result = climb_ladder(task_climb(root, settings, name), version, train, evaluate)
        climbs.append(result.climb)
        out |= {f"{name}/{path}": content for path, content in result.files.items()}
    out |= {METRICS: metrics_of(climbs), LADDER: ladder_of(climbs)}
    _seal(root, "climb", before, out)
    return tuple(climbs)


def run_stage(root: Path, verb: str, before: Snapshot | None = None) -> None:
    """Runs one stage; the caller holds the workspace's lock.

    `before`: the inputs, which must not change until the stage ends. None takes the snapshot at the start.
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
    """Removes incomplete files of killed runs; the caller holds the workspace's lock."""
    for verb in STAGES:
        sweep(Paths(root).output(verb).parent, verb)
    store = Paths(root).attempts
    if store.is_relative_to(root):  # other workspaces may be writing into a shared store
        sweep(store)
        for left in [*store.glob("resume-*"), *store.glob("bundle-*")]:
            if is_sealed(store / f"train-{left.name.partition('-')[2]}"):
                shutil.rmtree(left, ignore_errors=True)


def check_rows(root: Path, *, may_be_empty: bool = False) -> None:
    """Checks data/raw before DVC reads it, which fails with a message of its own and never ends on a pipe.

    `may_be_empty`: a later step copies the rows there.

    Raises:
        DataError: it is empty or missing, or something in it is neither a file nor a folder.
    """
    from rungwise.dataset.readers.source import check_regular

    raw = Paths(root).raw
    if not may_be_empty and (not raw.is_dir() or not any(raw.iterdir())):
        raise DataError(
            Problem(
                "there are no rows yet",
                where=str(raw),
                found="no file",
                wanted="the files in `ingest.sources` of params.yaml",
                do="copy them there; in the repository of rungwise, `make demo` does it",
            )
        )
    check_regular(sorted(raw.rglob("*")), str(raw))


def is_current(root: Path, verb: str) -> bool:
    """Whether a stage need not run: DVC finds no change, and no local base changed since the last climb."""
    return dvc.is_current(root, verb) and (verb != "climb" or not changed_bases(root))


def record(root: Path, verb: str, before: Snapshot) -> None:
    """Records a stage that ran in this process in dvc.lock.

    Raises:
        ChangedUnderRun: an input changed during the stage. dvc.lock does not change.
        WorkspaceError: DVC fails. dvc.lock does not change.
    """
    lock = root / "dvc.lock"
    old = lock.read_bytes() if lock.is_file() else None
    check_unchanged(root, before)
    try:
        dvc.record(root, verb)
        check_unchanged(root, before)
    except BaseException:
        if old is None:
            lock.unlink(missing_ok=True)
        else:
            replace_bytes(lock, old)
        raise


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one stage for DVC; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m rungwise.pipeline.stages")
    parser.add_argument("verb", choices=STAGES)
    parser.add_argument("--recipe", type=int, required=True)
    arguments = parser.parse_args(argv)
    prepare_environment()
    die_with_parent()
    root = workspace_root()
    try:
        check_recipe(root, arguments.verb, arguments.recipe)
        leave_caretaker(root)
        with locked(root, f"stage {arguments.verb}"):
            repair(root, waits=False)
            clear_leftovers(root)
            if not Paths(root).refusals.is_file():  # DVC reads it before the climb
                write_refusals(Paths(root).refusals, ())
            run_stage(root, arguments.verb)
        if arguments.verb == "climb" and dvc.FAILURE not in os.environ:  # DVC was not started by `rungwise run`
            say("climb: the test rows were not scored: `rungwise run` registers rungs that pass, and asks the gate")
    except RungwiseError as error:
        if not dvc.leave_failure(error):
            say(f"rungwise: {error}")
        return 2
    except KeyboardInterrupt:
        if dvc.FAILURE not in os.environ:  # otherwise the process that runs DVC says it
            say("rungwise: stopped; finished attempts are kept, run the same command again to continue")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
