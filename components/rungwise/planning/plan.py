"""A plan: the rungs of a ladder, or every method with one model, on machines.

Reads params.yaml's settings, the prepared rows and each base's config.json and tokenizer; no weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rungwise.config import RungSettings, Settings, TrainSettings, base_of
from rungwise.core.methods import LANGUAGE_MODEL_METHODS, METHODS
from rungwise.model import limits
from rungwise.planning.fit import Fit, fit
from rungwise.planning.job import LABELS, Job
from rungwise.planning.machines import Machine
from rungwise.planning.microbatch import rows_per_microbatch
from rungwise.planning.model_config import config_of, encoder_shape_of, read_config, shape_of
from rungwise.planning.rows import Lengths, ladder_lengths
from rungwise.planning.shape import Shape


def job_of(settings: Settings, rung: RungSettings, device: str, lengths: Lengths, shape: Shape) -> Job:
    """Returns what a rung does with its base; rows are cut to the context.

    As many rows pass together as training lets pass: within `max_tokens_per_microbatch`, and within its limit of
    logits.
    """
    train = settings.train
    tokens = min(lengths.tokens, shape.context)
    answer_tokens = min(lengths.answer_tokens, max(1, tokens - 1))
    # a compiled model reads every row whole, and so does one that FSDP shards over processes
    shared = 0 if train.launch or train.compiled else min(lengths.shared_tokens, tokens - answer_tokens - 1)
    labels = lengths.labels or max((len(task.answer.labels) for task in settings.tasks.values()), default=0)
    job = Job(
        method=rung.method,
        precision=train.precision,
        settings={name: rung.setting(name) for name in METHODS[rung.method].settings},
        rows=train.batch_size,
        tokens=tokens,
        answer_tokens=answer_tokens,
        is_checkpointed=train.checkpointing,
        shared_tokens=max(0, shared),
        labels=labels or LABELS,
        device=device,
    )
    if job.encodes:  # it has no 4-bit weights and no answers
        precision = "fp32" if train.precision == "fp32" else "bf16"
        return replace(job, rows=limits.ENCODING_TEXTS, precision=precision, answer_tokens=1, shared_tokens=0)
    if not job.trains:
        return replace(job, rows=limits.SCORING_ROWS)
    return replace(job, rows=rows_per_microbatch(shape, job, train.max_tokens_per_microbatch))


def jobs_of_every_method(rows: int, tokens: int, answer_tokens: int) -> dict[str, Job]:
    """Returns every method by name, in 16 bit and with its default settings, and LoRA on a 4-bit base (`qlora`)."""

    def job(method: str, precision: str = "bf16") -> Job:
        return Job(method, precision, rows=rows, tokens=tokens, answer_tokens=answer_tokens)

    return {method: job(method) for method in LANGUAGE_MODEL_METHODS} | {"qlora": job("lora", "4bit")}


def plan_ladder(
    root: Path,
    settings: Settings,
    chosen: Sequence[Machine],
    table: Mapping[str, Machine],
    *,
    tokens: int | None = None,
    answer_tokens: int | None = None,
) -> list[Fit]:
    """Returns every rung with a base on every chosen machine, rung by rung and task by task.

    Row lengths are measured if the workspace has prepared the rows, and assumed otherwise. `tokens` and
    `answer_tokens` replace both.

    Raises:
        ModelError: a base's config can't be read, or the planner does not support its architecture.
    """
    fits = []
    lengths_of = lengths_by_rung(root, settings, tokens, answer_tokens)
    for rung in settings.ladder:
        base = base_of(rung)
        if base is None:
            continue
        shape = shape_of_rung(root, rung)
        for task, lengths in lengths_of[rung.name].items():
            rows = min(settings.train.batch_size, lengths.rows or settings.train.batch_size)
            steps = rung.steps or settings.train.steps
            if METHODS[rung.method].engine == "encoder":  # it reads each row once
                rows, steps = lengths.rows or 0, 1
            for machine in chosen:
                fits.append(
                    fit(
                        rung.name,
                        str(base),
                        shape,
                        job_of(settings, rung, machine.device, lengths, shape),
                        machine,
                        rows=rows,
                        steps=steps,
                        others=list(table.values()),
                        task=task,
                        lengths=lengths,
                    )
                )
    return fits


def shape_of_rung(root: Path, rung: RungSettings) -> Shape:
    """Returns the shape of a rung's base, from its config.json.

    Raises:
        ModelError: the config can't be read, or the planner does not support its architecture.
    """
    base = base_of(rung)
    assert base is not None  # the caller checked
    where = f"ladder: {rung.name}, base {base}, config.json"
    read = encoder_shape_of if METHODS[rung.method].engine == "encoder" else shape_of
    return read(config_of(base, root), where)


def lengths_by_rung(
    root: Path, settings: Settings, tokens: int | None = None, answer_tokens: int | None = None
) -> dict[str, dict[str, Lengths]]:
    """Returns rung -> task -> row lengths; `tokens` and `answer_tokens` replace what is measured or assumed."""
    if tokens is not None and answer_tokens is not None:  # nothing is left to measure
        given = Lengths().with_given(tokens, answer_tokens)
        return {rung.name: {"": given} for rung in settings.ladder if rung.base}
    return {
        rung: {task: one.with_given(tokens, answer_tokens) for task, one in tasks.items()}
        for rung, tasks in ladder_lengths(root, settings).items()
    }


def plan_config(
    path: Path,
    jobs: Mapping[str, Job],
    chosen: Sequence[Machine],
    table: Mapping[str, Machine],
    lengths: Lengths | None = None,
    *,
    steps: int | None = None,
) -> list[Fit]:
    """Returns every job, by name, with the model of one config.json on every chosen machine.

    `lengths` are those of the jobs, with a note which of them the caller gave. `steps` are `train.steps` by default.

    Raises:
        ModelError: the config can't be read, or the planner does not support its architecture.
    """
    shape = shape_of(read_config(path), str(path))
    fits, steps = [], steps or TrainSettings().steps
    for name, job in jobs.items():
        cut = replace(job, tokens=min(job.tokens, shape.context))
        cut = replace(cut, answer_tokens=min(cut.answer_tokens, max(1, cut.tokens - 1)))
        for machine in chosen:
            others = list(table.values())
            fits.append(
                fit(name, str(path), shape, cut, machine, rows=cut.rows, steps=steps, others=others, lengths=lengths)
            )
    return fits
