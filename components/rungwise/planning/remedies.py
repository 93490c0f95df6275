"""What would make a job fit a machine. Each remedy is checked before it is named."""

from collections.abc import Sequence
from dataclasses import replace

from rungwise.core.texts import number_of
from rungwise.planning.job import Job
from rungwise.planning.largest import largest_batch
from rungwise.planning.machines import Machine
from rungwise.planning.memory import peak_need
from rungwise.planning.microbatch import checkpointed
from rungwise.planning.shape import Shape


def remedies(shape: Shape, job: Job, limit: int, others: Sequence[Machine]) -> tuple[str, ...]:
    """Returns what would make a job fit into `limit` bytes, the easiest first; `others` are machines to name."""
    options = _of_training(shape, job, limit) if job.trains else []

    def holds(other: Machine) -> bool:
        memory = other.memory_bytes or 0
        return peak_need(shape, replace(job, device=other.device), memory).total <= memory

    large_enough = [machine for machine in others if holds(machine)]
    if large_enough:
        best = min(large_enough, key=lambda m: (m.price_usd_hour is None, m.price_usd_hour or 0.0, m.memory_bytes or 0))
        price = f", {best.price_usd_hour:g} USD an hour" if best.price_usd_hour is not None else ""
        options.append(f"another machine: {best.name} ({(best.memory_bytes or 0) / 1e9:g} GB a card{price})")
    return tuple(options) or ("a smaller base: no machine of the table is large enough for this one",)


def _of_training(shape: Shape, job: Job, limit: int) -> list[str]:
    """Returns the settings of the training run that would make it fit."""

    def works(other: Job) -> bool:
        return peak_need(shape, other, limit).total <= limit

    options = []
    again, quantized = checkpointed(shape, job), replace(job, precision="4bit")
    rows = largest_batch(shape, job, limit)
    if 0 < rows < job.rows and works(replace(job, rows=rows)):
        options.append(f"a smaller batch: {number_of(rows, 'row')} at once")
    if not job.is_checkpointed and works(again):
        options.append("activation checkpointing")
    elif not job.is_checkpointed and (rows := min(again.rows, largest_batch(shape, again, limit))):
        if works(replace(again, rows=rows)):
            options.append(f"activation checkpointing with {number_of(rows, 'row')} at once")
    half = replace(job, precision="bf16")
    if job.precision == "fp32" and works(half):
        options.append("precision bf16")
    trains_base = job.properties.trains_base
    if trains_base:
        smaller = replace(job, method="lora")
        if works(smaller):
            options.append("another method: lora")
        quantized = replace(smaller, precision="4bit")
    if job.precision != "4bit" and job.device == "cuda":
        small = checkpointed(shape, quantized)
        if works(quantized):
            options.append("4-bit weights" + (" with lora" if trains_base else ""))
        elif (rows := min(small.rows, largest_batch(shape, small, limit))) and works(replace(small, rows=rows)):
            options.append(f"4-bit weights, activation checkpointing and {number_of(rows, 'row')} at once")
    return options
