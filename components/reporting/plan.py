"""How a plan reads in a terminal: one sentence, the rungs on the machines, memory by part, and what a machine holds."""

from collections.abc import Sequence

from components.planning.need import PARTS
from components.planning.plan import UTILIZATION, Fit, Most
from components.reporting.text import table

_HEADER = ("rung", "method", "parameters", "trained", "machine", "needs", "fits", "rows at once", "time", "cost")
_SECONDS = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"))


def sentence(fits: Sequence[Fit]) -> str:
    """Returns in one sentence what fits, and what does not."""
    if not fits:
        return "No rung has a language model; there is nothing to plan."
    names = list(dict.fromkeys(one.machine for one in fits))
    bad = [one for one in fits if one.fits is False]
    largest = max(fits, key=lambda one: one.need.total)
    where = names[0] if len(names) == 1 else f"each of {len(names)} machines"
    most = f"{largest.rung} needs the most, {_bytes(largest.need.total)}"
    if not bad:
        return f"Everything that was asked fits on {where}; {most}."
    first = bad[0]
    return (
        f"{len(bad)} of {len(fits)} do not fit: {first.rung} needs {_bytes(first.need.total)} and {first.machine} has"
        f" {_bytes(first.memory_bytes)}; what would help: {'; '.join(first.remedies)}."
    )


def plan_text(fits: Sequence[Fit], mosts: Sequence[Most]) -> str:
    """Returns a plan for a terminal."""
    parts = [sentence(fits)]
    if fits:
        parts.append(table(_HEADER, [_row(one) for one in fits]))
        first = next(iter(fits)).machine
        by_part = [one for one in fits if one.machine == first]
        rows = [(one.rung, *(_bytes(getattr(one.need, part)) for part in PARTS), one.need.moment) for one in by_part]
        parts.append("Memory by part at the highest moment:\n\n" + table(("rung", *PARTS, "moment"), rows))
    for one in fits:
        if one.fits is False:
            parts.append(f"{one.rung} on {one.machine} would fit with: " + "; ".join(one.remedies))
    for most in mosts:
        parts.append(most_text(most))
    parts.append(
        f"Times assume {UTILIZATION:.0%} of the peak rate and rows as long as the longest; memory is that of one card,"
        " because a run uses one. Empty: not known."
    )
    return "\n\n".join(parts)


def most_text(most: Most) -> str:
    """Returns the largest models that a machine holds, and what is to be known about it."""
    kinds = {
        "inference in 16 bit": most.inference,
        "full training": most.full,
        "LoRA": most.lora,
        "4-bit LoRA (QLoRA)": most.qlora,
    }
    sizes = ", ".join(f"{kind} {_billions(size)}" for kind, size in kinds.items() if size is not None)
    text = f"Largest model on {most.machine} (one row of 512 tokens, checkpointed where it trains): {sizes or 'none'}."
    return text + "".join(f"\n  - {note}" for note in most.notes)


def _row(one: Fit) -> tuple[str, ...]:
    fits = {None: "", True: "yes", False: "no"}[one.fits]
    rows = "" if one.largest_rows is None else str(one.largest_rows)
    if one.largest_rows == 4096:
        rows = "4096 or more"
    return (
        one.rung,
        one.method if one.precision == "fp32" else f"{one.method}, {one.precision}",
        _billions(one.parameters),
        f"{one.trained:,}",
        one.machine,
        _bytes(one.need.total),
        fits,
        rows,
        "" if one.seconds is None else duration(one.seconds),
        "" if one.cost_usd is None else f"{one.cost_usd:.2f} USD",
    )


def duration(seconds: float) -> str:
    """Returns a time in the largest unit of which it has at least one."""
    for length, unit in _SECONDS:
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def _billions(numbers: int) -> str:
    if numbers >= 1e9:
        return f"{numbers / 1e9:.1f} B"
    return f"{numbers / 1e6:.0f} M" if numbers >= 1e7 else f"{numbers:,}"


def _bytes(number: int | None) -> str:
    if number is None:
        return ""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"
