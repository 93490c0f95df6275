"""How a plan reads in a terminal: one sentence, the rungs on the machines, memory by part, and what a machine holds."""

from collections.abc import Callable, Sequence

from rungwise.core.folders import joined
from rungwise.planning.largest import Most
from rungwise.planning.need import PARTS
from rungwise.planning.plan import UTILIZATION, Fit
from rungwise.planning.rows import Lengths
from rungwise.report.text import table

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
    name = names_of(fits)
    most = f"{name(largest)} needs the most, {_bytes(largest.need.total)}"
    if not bad:
        return f"Everything that was asked fits on {where}; {most}."
    first = bad[0]
    if first.memory_bytes is not None and first.need.total <= first.memory_bytes:  # it is not for want of memory
        return f"{len(bad)} of {len(fits)} can't be run as they stand: {name(first)} wants {'; '.join(first.remedies)}."
    return (
        f"{len(bad)} of {len(fits)} do not fit: {name(first)} needs {_bytes(first.need.total)} and {first.machine} has"
        f" {_bytes(first.memory_bytes)}; what would help: {'; '.join(first.remedies)}."
    )


def plan_text(fits: Sequence[Fit], mosts: Sequence[Most]) -> str:
    """Returns a plan for a terminal."""
    parts, name = [sentence(fits)], names_of(fits)
    if fits:
        parts.append(table(_HEADER, [_row(one, name(one)) for one in fits]))
        first = next(iter(fits)).machine
        by_part = [one for one in fits if one.machine == first]
        rows = [(name(one), *(_bytes(getattr(one.need, part)) for part in PARTS), one.need.moment) for one in by_part]
        parts.append("Memory by part at the highest moment:\n\n" + table(("rung", *PARTS, "moment"), rows))
    for one in fits:
        if one.fits is False:
            parts.append(f"{name(one)} on {one.machine} would fit with: " + "; ".join(one.remedies))
    if probed := [one for one in fits if one.measured_seconds is not None]:
        parts.append("\n".join(["Probed on this machine:\n", *(f"  - {probe_text(one, name(one))}" for one in probed)]))
    if fits:
        parts.append("\n".join(["Rows:\n", *(f"  - {text}" for text in dict.fromkeys(rows_texts(fits)))]))
    for most in mosts:
        parts.append(most_text(most))
    parts.append(
        f"Times are of one training and assume {UTILIZATION:.0%} of the peak rate; memory is for the longest rows, and"
        " that of one card, because a run uses one; on a CPU what the process takes before the model (Python, torch,"
        " transformers: about 0.4 GB) comes on top. Empty: not known."
    )
    return "\n\n".join(parts)


def names_of(fits: Sequence[Fit]) -> Callable[[Fit], str]:
    """Returns what names a plan's line: the rung, with its task in front where there is more than one."""
    many = len({one.task for one in fits}) > 1
    return lambda one: f"{one.task}/{one.rung}" if many and one.task else one.rung


def probe_text(one: Fit, name: str) -> str:
    """Returns what the real steps of a line's training took, beside the estimate."""
    assert one.measured_seconds is not None  # as the caller checked
    text = f"{name}: {duration(one.measured_seconds)} a training, by {one.measured_steps} real steps"
    if one.seconds is None or one.ratio is None:
        return text + "; there is no estimate"
    return text + f"; estimated {duration(one.seconds)}, {one.ratio:.2f} times as much"


def rows_texts(fits: Sequence[Fit]) -> list[str]:
    """Returns how long the rows are, and how that is known, a sentence for each task and tokenizer that differ."""
    groups: dict[tuple[Lengths, str, bool, str], list[str]] = {}
    for one in fits:
        cut = f"; cut to the {one.tokens} that the base reads" if one.tokens < one.lengths.tokens else ""
        groups.setdefault((one.lengths, one.task, one.method == "prompt", cut), []).append(one.base)
    return [
        _rows_text(lengths, task, is_prompt, joined(dict.fromkeys(bases))) + cut
        for (lengths, task, is_prompt, cut), bases in groups.items()
    ]


def _rows_text(lengths: Lengths, task: str, is_prompt: bool, bases: str) -> str:
    if lengths.rows is None or set(lengths.given) == {"tokens", "answer_tokens"}:
        return f"{_source(lengths)}: {lengths.tokens} tokens a row, {lengths.answer_tokens} of them the answer"
    looked = "" if lengths.seen >= lengths.rows else f" ({lengths.seen:,} of them read, the longest among them)"
    shown = "with the examples shown " if is_prompt else ""
    text = f"{task}, by the tokenizer of {bases}: measured on {lengths.rows:,} prepared rows{looked}: {shown}"
    if "tokens" in lengths.given:
        text += f"{lengths.tokens} tokens a row as given"
    else:
        text += f"{lengths.mean_tokens:.1f} tokens a row with padding, {lengths.bare_tokens:.1f} without, "
        text += f"{lengths.tokens} at most"
    if lengths.shared_tokens:
        text += f"; {lengths.shared_tokens} first tokens are the same in all and read once"
    text += f"; {lengths.answer_tokens} of an answer " + ("as given" if "answer_tokens" in lengths.given else "at most")
    return text + (f"; {lengths.too_long:,} are longer than the base reads" if lengths.too_long else "")


def _source(lengths: Lengths) -> str:
    if lengths.given:
        return "as given" if len(lengths.given) > 1 else f"{lengths.given[0].replace('_', ' ')} as given, else assumed"
    return "assumed" + (f" ({lengths.why})" if lengths.why else "")


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


def _row(one: Fit, name: str) -> tuple[str, ...]:
    fits = {None: "", True: "yes", False: "no"}[one.fits]
    rows = "" if one.largest_rows is None else str(one.largest_rows)
    if one.largest_rows == 4096:
        rows = "4096 or more"
    return (
        name,
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
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


def _billions(numbers: int) -> str:
    if numbers >= 1e9:
        return f"{numbers / 1e9:.1f} B"
    return f"{numbers / 1e6:.0f} M" if numbers >= 1e7 else f"{numbers:,}"


def _bytes(number: int | None) -> str:
    if number is None:
        return ""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"
