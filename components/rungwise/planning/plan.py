"""A ladder against machines: what each rung needs, whether it fits, how long it takes, what it costs, what would help.

Reads params.yaml's settings and each base's config.json (a folder's, or the hub's at its commit); no weights.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rungwise.config import RungSettings, Settings, base_of
from rungwise.core.errors import ModelError, Problem
from rungwise.core.folders import joined
from rungwise.core.records import Base
from rungwise.planning.largest import largest_batch
from rungwise.planning.machines import Machine
from rungwise.planning.need import ROWS_AT_ONCE, Job, Need, impossible, need_of, rows_at_once, seconds_of, whole_need
from rungwise.planning.remedies import remedies
from rungwise.planning.rows import Lengths, ladder_lengths
from rungwise.planning.shape import Shape, shape_of, trained_numbers
from rungwise.workspace.resources import pocket_base

UTILIZATION = 0.3
"""Share of the peak rate that a run reaches: assumed, not measured. Well-tuned large models reach 0.4 to 0.6, small
ones less (https://pypi.org/project/mfu-tracker/0.2.1/, read 2026-11-25)."""


@dataclass(frozen=True)
class Fit:
    """One job on one machine."""

    rung: str
    machine: str
    base: str
    method: str
    precision: str
    parameters: int
    trained: int
    rows: int
    tokens: int
    answer_tokens: int
    need: Need
    memory_bytes: int | None
    fits: bool | None
    """None where the machine's memory is not known."""
    largest_rows: int | None
    """The most rows that pass through the model together there; None as above, or where nothing is trained."""
    seconds: float | None
    """Of the whole training at UTILIZATION of the peak rate; None where nothing is trained or no rate is known."""
    cost_usd: float | None
    remedies: tuple[str, ...]
    """What would make it fit, the easiest first."""
    task: str = ""
    """The task whose rows were measured; empty where lengths are assumed."""
    lengths: Lengths = Lengths()
    """How long the rows are, and how that is known."""
    measured_seconds: float | None = None
    """Of the whole training, from a few real steps on this machine; None where none were run."""
    measured_steps: int = 0

    @property
    def ratio(self) -> float | None:
        """The estimated time over the measured one; None where one of the two is not known."""
        return self.seconds / self.measured_seconds if self.seconds and self.measured_seconds else None


def read_config(path: Path) -> dict[str, Any]:
    """Returns a config.json as plain values.

    Raises:
        ModelError: it is not there or is no JSON object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError(f"a {type(values).__name__}")
    except (OSError, ValueError) as error:
        raise ModelError(
            Problem(
                "a model's config can't be read",
                where=str(path),
                found=str(error).splitlines()[0][:120],
                wanted="the config.json of a model",
                do="name the file itself, or correct the rung's `base`; `rungwise pin` adds a hub name's commit",
            )
        ) from None
    return values


def config_of(base: Base, root: Path) -> dict[str, Any]:
    """Returns the config.json of a base, of a hub name without its weights; raises ModelError (see `read_config`)."""
    if not base.revision:
        own = root / os.path.expanduser(base.name)
        return read_config((own if own.is_dir() else pocket_base(base.name) or own) / "config.json")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import hf_hub_download

    try:
        path = hf_hub_download(base.name, "config.json", revision=base.revision)
    except Exception as error:  # the hub's own errors, and those of whichever client carries its requests
        raise ModelError(
            Problem(
                "a model's config can't be fetched from the hub",
                where=f"ladder: base {base}, {os.environ.get('HF_ENDPOINT', 'the default endpoint')}",
                found=f"{type(error).__name__}: {str(error).splitlines()[0][:200]}",
                wanted="config.json at that commit",
                do="check name, commit and network; gated models need HF_TOKEN in the environment",
            )
        ) from None
    return read_config(Path(path))


def job_of(settings: Settings, rung: RungSettings, device: str, lengths: Lengths, shape: Shape) -> Job:
    """Returns what a rung does to its base, with the settings that decide memory; rows are cut to the context.

    As many rows go through together as the training lets: within
    `max_tokens_per_microbatch`, and within its bound of logits.
    """
    train = settings.train
    tokens = min(lengths.tokens, shape.context)
    answer_tokens = min(lengths.answer_tokens, max(1, tokens - 1))
    # a compiled model reads every row whole, and so does one that FSDP shares out among processes
    shared = 0 if train.launch or train.compiled else min(lengths.shared_tokens, tokens - answer_tokens - 1)
    labels = lengths.labels or max((len(task.answer.labels) for task in settings.tasks.values()), default=0)
    job = Job(
        method=rung.method,
        precision=train.precision,
        rows=ROWS_AT_ONCE if rung.method == "prompt" else train.batch_size,
        tokens=tokens,
        answer_tokens=answer_tokens,
        rank=_setting(rung, "rank", 16),
        targets=tuple(_setting(rung, "targets", ("all-linear",))),
        dropout=_setting(rung, "dropout", 0.0),
        virtual_tokens=_setting(rung, "tokens", 20),
        last_layers=_setting(rung, "layers", 2),
        is_checkpointed=train.checkpointing,
        shared_tokens=max(0, shared),
        labels=labels or Job("prompt").labels,
        device=device,
    )
    return (
        job if rung.method == "prompt" else replace(job, rows=rows_at_once(shape, job, train.max_tokens_per_microbatch))
    )


def _setting(rung: RungSettings, name: str, default: Any) -> Any:
    value = rung.setting(name)
    return default if value is None else value


def fit(
    rung: str,
    base: str,
    shape: Shape,
    job: Job,
    machine: Machine,
    *,
    rows: int,
    steps: int,
    others: Sequence[Machine] = (),
    task: str = "",
    lengths: Lengths | None = None,
) -> Fit:
    """Returns how a job stands on a machine; `rows` of each of `steps` steps pass in parts of `job.rows`.

    `others` are the machines that may be named where it does not fit. `lengths` has the rows' mean, which decides
    time; without it all rows are as long as the job's.
    """
    job = replace(job, device=machine.device)
    need, limit = whole_need(shape, job, machine.memory_bytes), machine.memory_bytes
    fits = None if limit is None else need.total <= limit
    if broken := impossible(shape, job):
        fits = False
    is_trained, rate = job.method != "prompt", machine.rate(job.precision)
    seconds = None
    if is_trained and rate and not broken:
        typical = _typical(job, lengths) if lengths else job
        seconds = seconds_of(shape, typical, 1, rate, UTILIZATION) * steps * rows / job.rows
    price = machine.price_usd_hour
    return Fit(
        rung=rung,
        machine=machine.name,
        base=base,
        method=job.method,
        precision=job.precision,
        parameters=shape.numbers,
        trained=trained_numbers(
            shape,
            job.method,
            rank=job.rank,
            targets=job.targets,
            virtual_tokens=job.virtual_tokens,
            last_layers=job.last_layers,
        ),
        rows=job.rows,
        tokens=job.tokens,
        answer_tokens=job.answer_tokens,
        need=need,
        memory_bytes=limit,
        fits=fits,
        largest_rows=largest_batch(shape, job, limit) if limit is not None and is_trained and not broken else None,
        seconds=seconds,
        cost_usd=seconds / 3600 * price if seconds is not None and price is not None else None,
        remedies=broken
        if broken
        else ()
        if fits is not False or limit is None
        else remedies(shape, job, limit, others),
        task=task,
        lengths=lengths or Lengths(job.tokens, job.answer_tokens, job.tokens, job.answer_tokens),
    )


def _typical(job: Job, lengths: Lengths) -> Job:
    """Returns the job with rows of the mean length in the place of the longest."""
    tokens = max(2, min(job.tokens, round(lengths.mean_tokens)))
    return replace(job, tokens=tokens, answer_tokens=max(1, min(tokens - 1, round(lengths.mean_answer_tokens))))


def plan_ladder(
    root: Path,
    settings: Settings,
    chosen: Sequence[Machine],
    table: Mapping[str, Machine],
    *,
    tokens: int | None = None,
    answer_tokens: int | None = None,
) -> list[Fit]:
    """Returns every rung with a language model on every chosen machine, rung by rung and task by task.

    Rows are as long as they were measured, where the workspace has prepared them, or as is assumed; what the caller
    says comes first.

    Raises:
        ModelError: a base's config can't be read, or is of an architecture that the planner does not know.
    """
    found = []
    measured = _lengths(root, settings, tokens, answer_tokens)
    for rung in settings.ladder:
        base = base_of(rung)
        if base is None:
            continue
        shape = shape_of(config_of(base, root), f"ladder: {rung.name}, base {base}, config.json")
        for task, lengths in measured[rung.name].items():
            rows = min(settings.train.batch_size, lengths.rows or settings.train.batch_size)
            for machine in chosen:
                found.append(
                    fit(
                        rung.name,
                        str(base),
                        shape,
                        job_of(settings, rung, machine.device, lengths, shape),
                        machine,
                        rows=rows,
                        steps=rung.steps or settings.train.steps,
                        others=list(table.values()),
                        task=task,
                        lengths=lengths,
                    )
                )
    return found


def _lengths(
    root: Path, settings: Settings, tokens: int | None, answer_tokens: int | None
) -> dict[str, dict[str, Lengths]]:
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
    steps: int = 300,
) -> list[Fit]:
    """Returns every job (by name) with the model of one config.json on every chosen machine; raises ModelError.

    `lengths` are the jobs' own, with what of them somebody gave.
    """
    shape = shape_of(read_config(path), str(path))
    found = []
    for name, job in jobs.items():
        cut = replace(job, tokens=min(job.tokens, shape.context))
        cut = replace(cut, answer_tokens=min(cut.answer_tokens, max(1, cut.tokens - 1)))
        for machine in chosen:
            how: Any = {"rows": cut.rows, "steps": steps, "others": list(table.values()), "lengths": lengths}
            found.append(fit(name, str(path), shape, cut, machine, **how))
    return found


def check_ladder(root: Path, settings: Settings, machine: Machine, table: Mapping[str, Machine]) -> list[str]:
    """Returns what to know about rungs that are tight on the machine, before anything starts, a sentence each.

    A rung whose rows do not fit all at once runs in parts; one whose base is of an architecture that the planner does
    not know is not checked, and named.

    Raises:
        ModelError: a rung can't fit, not even a row at a time; the message names it and what would make it fit.
    """
    told = []
    measured = _lengths(root, settings, None, None)
    for rung in settings.ladder:
        base = base_of(rung)
        if base is None:
            continue
        try:
            shape = shape_of(config_of(base, root), f"ladder: {rung.name}, base {base}, config.json")
        except ModelError as error:
            told.append(f"{rung.name}: its memory is not checked beforehand: {error.problem.what}")
            continue
        jobs = [job_of(settings, rung, machine.device, lengths, shape) for lengths in measured[rung.name].values()]
        job = max(jobs, key=lambda job: _tightness(shape, job, machine.memory_bytes))
        one = fit(rung.name, str(base), shape, job, machine, rows=job.rows, steps=1, others=list(table.values()))
        if one.fits is not False:
            continue
        if broken := impossible(shape, replace(job, device=machine.device)):
            raise ModelError(
                Problem(
                    "a rung can't be trained on its base",
                    where=f"ladder: {one.rung}, base {one.base}, method {one.method} in {one.precision}",
                    wanted=joined(broken),
                    do="change the rung, or `train.precision`, before anything is trained",
                )
            )
        least = need_of(shape, replace(job, rows=1, device=machine.device))
        if least.total > (machine.memory_bytes or 0):
            raise ModelError(
                Problem(
                    "a rung does not fit this machine",
                    where=f"ladder: {one.rung}, base {one.base}, method {one.method} in {one.precision}",
                    found=f"about {least.gigabytes:.1f} GB for one row of {one.tokens} tokens"
                    f" on {one.machine} with {(one.memory_bytes or 0) / 1e9:.1f} GB",
                    wanted="a rung that fits, so that the climb does not end there",
                    do=joined(one.remedies, 6),
                )
            )
        told.append(
            f"{rung.name} takes about {one.need.gigabytes:.1f} GB with {one.rows} rows of {one.tokens} tokens at once, "
            f"this machine has {(one.memory_bytes or 0) / 1e9:.1f}: {joined(one.remedies, 3)}"
        )
    return told


def _tightness(shape: Shape, job: Job, limit: int | None) -> tuple[bool, int]:
    """Returns whether not even one row fits, and what all rows take: the larger, the tighter."""
    least = need_of(shape, replace(job, rows=1)).total
    return limit is not None and least > limit, whole_need(shape, job, limit).total
