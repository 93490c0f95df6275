"""What each rung of a task's ladder trains, and how it is tried: from settings and rows to outcomes."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rungwise.climbing.closed import closed_form
from rungwise.climbing.decide import Outcome
from rungwise.config import FieldSettings, RungSettings, Settings, TaskSettings, base_of
from rungwise.core.errors import ModelError, Problem, TrainingError
from rungwise.core.faults import LIMITS
from rungwise.core.folders import is_sealed, open_sealed
from rungwise.core.instructions import label_words
from rungwise.core.methods import METHODS
from rungwise.core.progress import LineProgress, say
from rungwise.core.records import AnswerForm, AttemptSpec, Prompting, derive_seed, digest
from rungwise.core.table import Table
from rungwise.core.texts import number_of
from rungwise.evidence.evaluate import evaluate
from rungwise.evidence.metrics import Metric
from rungwise.workspace.layout import Paths
from rungwise.workspace.refusals import read_refusals

if TYPE_CHECKING:
    from rungwise.attempts.run import RunOptions
    from rungwise.attempts.store import Attempt


def form_of(task: TaskSettings, labels: Sequence[str]) -> AnswerForm:
    """Returns the form of the task's answers; `labels` are its labels if the settings name none."""
    answer = task.answer

    def form(field: FieldSettings) -> AnswerForm:
        return AnswerForm(field.format, field.labels, field.separator)

    if answer.format == "label":
        return replace(form(answer), labels=answer.labels or tuple(labels))
    return replace(form(answer), fields={name: form(field) for name, field in answer.fields.items()})


def spec_of(
    settings: Settings, task: TaskSettings, rung: RungSettings, labels: Sequence[str], answers: Sequence[str] = ()
) -> AttemptSpec:
    """Returns all settings that decide the result of a rung's attempt, with the method's defaults from METHODS.

    `labels`: the labels of the training rows; `answers`: their answers, for what a constrained answer may hold.
    """
    form = form_of(task, labels)
    closed = closed_form(task.answer, form, answers) if METHODS[rung.method].engine == "language_model" else None
    common = AttemptSpec(
        base=base_of(rung),
        method=rung.method,
        prompt=task.prompt,
        form=closed or form,
        constrained=closed is not None,
        template=rung.template or ("plain" if METHODS[rung.method].trains else "auto"),
        seed=derive_seed(settings.seed, "train"),
        precision=settings.train.precision,
    )
    common = replace(
        common,
        examples=rung.examples_shown,
        rank=rung.setting("rank") or 0,
        alpha=rung.setting("alpha") or 0.0,
        dropout=rung.setting("dropout") or 0.0,
        targets=rung.setting("targets") or (),
        tokens=rung.setting("tokens") or 0,
        layers=rung.setting("layers") or 0,
    )
    if rung.method == "prompt":
        common = replace(common, prompting=_prompting(task, rung, common.form), metric=task.measure)
    if not METHODS[rung.method].trains:
        return replace(common, steps=0, batch_size=0)
    eval_every = settings.train.eval_every
    return replace(
        common,
        steps=rung.steps or settings.train.steps,
        batch_size=settings.train.batch_size,
        max_over_context=settings.train.audit.get("over_context", LIMITS["over_context"]),
        max_tokens_per_microbatch=settings.train.max_tokens_per_microbatch,
        checkpointing=settings.train.checkpointing,
        compiled=settings.train.compiled,
        learning_rate=rung.learning_rate or settings.train.learning_rate,
        warmup_share=settings.train.warmup_share,
        schedule=settings.train.schedule,
        clip_norm=settings.train.clip_norm,
        weight_decay=settings.train.weight_decay,
        eval_every=eval_every,
        eval_rows=settings.train.eval_rows if eval_every else 0,
        patience=settings.train.patience if eval_every else 0,
        metric=task.measure if eval_every else "",
    )


def _prompting(task: TaskSettings, rung: RungSettings, form: AnswerForm) -> Prompting:
    words = label_words(form.labels, task.answer.words) if form.format == "label" else {}
    return Prompting(task.instruction or "", words, rung.setting("shown"))


@dataclass(frozen=True)
class TaskClimb:
    """One task's climb before it starts: its settings and rows."""

    root: Path
    settings: Settings
    name: str
    train: Table
    dev: Table
    part: str = ""
    """The part of the training rows that `train` holds, such as `1/8`; empty: all of them."""

    def named(self, rung: str) -> str:
        """Returns the name of a rung in progress lines and tasks: `route/classical`, `route/classical on 1/8`."""
        return f"{self.name}/{rung}{f' on {self.part}' if self.part else ''}"

    @property
    def task(self) -> TaskSettings:
        """The task's settings."""
        return self.settings.tasks[self.name]

    def spec(self, rung: str) -> AttemptSpec:
        """Returns the attempt of a rung."""
        chosen = next(r for r in self.settings.ladder if r.name == rung)
        return spec_of(self.settings, self.task, chosen, self.labels, self.train.answer)

    @property
    def labels(self) -> list[str]:
        """The labels of the training rows, sorted; empty if answers are not labels."""
        return sorted(set(self.train.answer)) if self.task.answer.format == "label" else []

    @property
    def refused(self) -> frozenset[str]:
        """The attempts that the test rows refused under today's metric and bar."""
        question = self.name, self.task.measure, self.settings.bars[self.name]
        refusals = read_refusals(Paths(self.root).refusals)
        return frozenset(one.attempt for one in refusals if (one.task, one.metric, one.bar) == question)

    @property
    def metric(self) -> Metric:
        """The task's metric."""
        return Metric(self.task.measure, form_of(self.task, self.labels))


def training_rows(train: Table, spec: AttemptSpec) -> tuple[Table, Table]:
    """Returns the rows that an attempt is trained on, and those of the evaluations during training.

    The latter are held back from the training rows, because the validation rows score the step that is chosen: a tenth
    of all, at most `spec.eval_rows`, as whole groups, chosen by the hashes of their names. Synthetic rows of a group
    that is held back are in neither: they say the same as its collected rows. Without evaluations nothing is held back.

    Raises:
        TrainingError: the rows are of too few groups.
    """
    if not spec.eval_every:
        return train, Table.of([])
    wanted, held, count = min(spec.eval_rows, max(1, len(train) // 10)), set[str](), 0
    collected = Counter(group for group, parents in zip(train.group, train.parents, strict=True) if not parents)
    sizes = Counter(train.group)
    trained = len(train)
    for group in sorted(collected, key=digest):
        if count < wanted and trained - sizes[group] >= len(train) // 2:
            held.add(group)
            count += collected[group]
            trained -= sizes[group]
    if not held:
        raise TrainingError(
            Problem(
                "no training rows can be held back for the evaluations during training",
                found=f"{number_of(len(train), 'row')} of {number_of(len(sizes), 'group')}",
                wanted="rows of several groups: a tenth of them is held back",
                do="collect rows, or set `train.eval_every: 0`, so that the last step's weights are used",
            )
        )
    rest = train.take(i for i, group in enumerate(train.group) if group not in held)
    return rest, train.take(i for i, group in enumerate(train.group) if group in held and not train.parents[i])


TrainRung = Callable[[TaskClimb, str], "Attempt"]
EvaluateRung = Callable[[TaskClimb, str, "Attempt"], Outcome]


def train_rung(climb: TaskClimb, rung: str, progress: Callable[[int, int, str], None] | None = None) -> "Attempt":
    """Returns a rung's attempt, from the store or trained now."""
    from rungwise.attempts.run import train_attempt

    show, store = progress or LineProgress(f"train {climb.named(rung)}"), Paths(climb.root).attempts
    spec = climb.spec(rung)
    rows, eval_rows = training_rows(climb.train, spec)
    return train_attempt(store, spec, rows, climb.root, show, eval_rows=eval_rows, options=run_options(climb, rung))


def is_stored(climb: TaskClimb, rung: str) -> bool:
    """Whether the store has a rung's finished attempt, so that a climb trains nothing for it; fetches no base."""
    from rungwise.attempts.run import bundle_of
    from rungwise.model.bases import local_folder

    spec = climb.spec(rung)
    try:
        if spec.base:
            local_folder(spec.base, climb.root)
    except ModelError:
        return False
    rows, eval_rows = training_rows(climb.train, spec)
    name = bundle_of(spec, rows, climb.root, eval_rows=eval_rows, options=run_options(climb, rung)).name
    return is_sealed(Paths(climb.root).attempts / f"train-{name}")


def run_options(climb: TaskClimb, rung: str) -> "RunOptions":
    """Returns how a rung's attempt is run, as `train` says."""
    from rungwise.attempts.run import RunOptions

    settings = climb.settings.train
    return RunOptions(
        checkpoint_steps=settings.checkpoint_steps,
        launch=settings.launch,
        limits={str(fault): share for fault, share in settings.audit.items()},
        shown=climb.root / ".rungwise" / "audit" / f"{climb.named(rung)}.txt".replace("/", "-").replace(" ", "-"),
        say=lambda text: say(f"train {climb.named(rung)}: {text}"),
    )


def evaluate_rung(
    climb: TaskClimb, rung: str, attempt: "Attempt", progress: Callable[[int, int, str], None] | None = None
) -> Outcome:
    """Returns a rung's evidence and predictions on the validation rows."""
    from rungwise.attempts.evaluate import evaluate_attempt

    show, spec = progress or LineProgress(f"evaluate {climb.named(rung)}"), climb.spec(rung)
    store = Paths(climb.root).attempts
    predictions = evaluate_attempt(store, attempt, spec, climb.dev, climb.root, show)
    settings = climb.settings.evaluate
    evidence = evaluate(settings, climb.metric, rung, spec, attempt.digest, attempt.result, predictions)
    return Outcome(evidence, predictions)


def task_climb(root: Path, settings: Settings, name: str) -> TaskClimb:
    """Returns a task's climb on the rows that `augment` and `split` wrote.

    Raises:
        WorkspaceError: the rows were not split and augmented yet.
    """
    trained = open_sealed(Paths(root).output("augment"), "augment")
    measured = open_sealed(Paths(root).output("split"), "split")
    return TaskClimb(
        root,
        settings,
        name,
        train=Table.read(trained / name / "train.jsonl"),
        dev=Table.read(measured / name / "dev.jsonl"),
    )
