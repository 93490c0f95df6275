"""What would make a job fit a machine: each remedy is tried, none is guessed."""

from collections.abc import Sequence
from dataclasses import replace

from rungwise.planning.largest import largest_batch
from rungwise.planning.machines import Machine
from rungwise.planning.need import Job, checkpointed, whole_need
from rungwise.planning.shape import IN_PLACE, Shape


def remedies(shape: Shape, job: Job, limit: int, others: Sequence[Machine]) -> tuple[str, ...]:
    """Returns what would make a job fit into `limit` bytes, the easiest first: each is tried, none is guessed."""

    def works(other: Job) -> bool:
        return whole_need(shape, other, limit).total <= limit

    found = []
    if job.method != "prompt":
        again, quantized = checkpointed(shape, job), replace(job, precision="4bit")
        rows = largest_batch(shape, job, limit)
        if 0 < rows < job.rows and works(replace(job, rows=rows)):
            found.append(f"a smaller batch: {rows} rows at once")
        if not job.is_checkpointed and works(again):
            found.append("activation checkpointing")
        elif not job.is_checkpointed and (rows := min(again.rows, largest_batch(shape, again, limit))):
            if works(replace(again, rows=rows)):
                found.append(f"activation checkpointing with {rows} rows at once")
        half = replace(job, precision="bf16")
        if job.precision == "fp32" and works(half):
            found.append("precision bf16")
        if job.method in IN_PLACE:
            smaller = replace(job, method="lora")
            if works(smaller):
                found.append("another method: lora")
            quantized = replace(smaller, precision="4bit")
        if job.precision != "4bit" and job.device == "cuda":
            small = checkpointed(shape, quantized)
            if works(quantized):
                found.append("4-bit weights" + (" with lora" if job.method in IN_PLACE else ""))
            elif (rows := min(small.rows, largest_batch(shape, small, limit))) and works(replace(small, rows=rows)):
                found.append(f"4-bit weights, activation checkpointing and {rows} rows at once")

    def holds(other: Machine) -> bool:
        memory = other.memory_bytes or 0
        return whole_need(shape, replace(job, device=other.device), memory).total <= memory

    able = [machine for machine in others if holds(machine)]
    if able:
        best = min(able, key=lambda m: (m.price_usd_hour is None, m.price_usd_hour or 0.0, m.memory_bytes or 0))
        price = f", {best.price_usd_hour:g} USD an hour" if best.price_usd_hour is not None else ""
        found.append(f"another machine: {best.name} ({(best.memory_bytes or 0) / 1e9:g} GB a card{price})")
    return tuple(found) or ("a smaller base: no machine of the table holds this one as it stands",)
