"""A plan as text: one sentence, the rungs on the machines, memory by part, and the largest models of a machine."""

from collections.abc import Callable, Sequence

from rungwise.core.folders import joined
from rungwise.core.texts import number_of
from rungwise.planning.fit import UTILIZATION, Fit
from rungwise.planning.largest import MOST_ROWS, LargestModels
from rungwise.planning.need import PARTS
from rungwise.planning.operations import LAUNCH_SECONDS
from rungwise.planning.rows import Lengths
from rungwise.report.text import table

_HEADER = ("rung", "method", "parameters", "trainable", "machine", "needs", "fits", "rows at once", "time", "cost")
_SECONDS = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"))


def sentence(fits: Sequence[Fit]) -> str:
    """Returns in one sentence what fits and what does not."""
    if not fits:
        return "No rung has a language model; there is nothing to plan."
    names = list(dict.fromkeys(one.machine for one in fits))
    failing = [one for one in fits if one.fits is False]
    largest = max(fits, key=lambda one: one.need.total)
    where = names[0] if len(names) == 1 else f"each of {len(names)} machines"
    name = names_of(fits)
    most = f"{name(largest)} needs the most, {_bytes(largest.need.total)}"
    if not failing:
        return f"Everything fits on {where}; {most}."
    count, first = f"{len(failing)} of {len(fits)}", failing[0]
    if first.memory_bytes is not None and first.need.total <= first.memory_bytes:  # memory is not the reason
        return f"{count} can't run with these settings: {name(first)} requires {'; '.join(first.remedies)}."
    return (
        f"{count} do not fit: {name(first)} needs {_bytes(first.need.total)} and {first.machine} has"
        f" {_bytes(first.memory_bytes)}; what would help: {'; '.join(first.remedies)}."
    )


def plan_text(fits: Sequence[Fit], largest: Sequence[LargestModels]) -> str:
    """Returns a plan for a terminal."""
    parts, name = [*guess_texts(fits), sentence(fits)], names_of(fits)
    if fits:
        parts.append(table(_HEADER, [_row(one, name(one)) for one in fits]))
        first = next(iter(fits)).machine
        by_part = [one for one in fits if one.machine == first]
        rows = [(name(one), *(_bytes(getattr(one.need, part)) for part in PARTS), one.need.moment) for one in by_part]
        parts.append("Peak memory by part:\n\n" + table(("rung", *PARTS, "moment"), rows))
    for one in fits:
        if one.fits is False:
            parts.append(f"{name(one)} on {one.machine} would fit with: " + "; ".join(one.remedies))
    if probed := [one for one in fits if one.measured_seconds is not None]:
        parts.append("\n".join(["Probed on this machine:\n", *(f"  - {probe_text(one, name(one))}" for one in probed)]))
    if fits:
        parts.append("\n".join(["Rows:\n", *(f"  - {text}" for text in dict.fromkeys(rows_texts(fits)))]))
    parts += [largest_text(one) for one in largest]
    parts.append(
        f"Times are for one training run and assume {UTILIZATION:.0%} of the peak rate, and on a GPU at least"
        f" {LAUNCH_SECONDS * 1e6:.0f} microseconds for each kernel. Memory is for the longest rows"
        " and for one card, because a run uses one. On a CPU, add what the process takes before the model (Python,"
        " torch, transformers: about 0.4 GB). Empty: not known."
    )
    return "\n\n".join(parts)


def guess_texts(fits: Sequence[Fit]) -> list[str]:
    """Returns what of a plan is a guess, in one paragraph; nothing if all row lengths were measured or given."""
    guessed = [
        one for one in fits if one.lengths.rows is None and set(one.lengths.given) != {"tokens", "answer_tokens"}
    ]
    if not guessed:
        return []
    lengths = guessed[0].lengths
    of = "" if len(guessed) == len(fits) else f" of {joined(dict.fromkeys(one.rung for one in guessed))}"
    why = f" ({lengths.reason})" if lengths.reason else ""
    return [
        f"A guess: the rows{of} were not measured{why}. They are taken to have {lengths.tokens} tokens, "
        f"{lengths.answer_tokens} of them the answer, so memory, time and cost below are a guess, too. `dvc repro "
        "augment` prepares the rows and trains nothing; --tokens and --answer-tokens give the lengths."
    ]


def names_of(fits: Sequence[Fit]) -> Callable[[Fit], str]:
    """Returns a function that names a line of the plan: the rung, with its task if there is more than one task."""
    many = len({one.task for one in fits}) > 1
    return lambda one: f"{one.task}/{one.rung}" if many and one.task else one.rung


def probe_text(one: Fit, name: str) -> str:
    """Returns the training time measured by real steps, compared with the estimate."""
    assert one.measured_seconds is not None  # the caller checked
    text = f"{name}: {duration(one.measured_seconds)} for a training run, by {one.measured_steps} real steps"
    if one.seconds is None or one.ratio is None:
        return text + "; there is no estimate"
    return text + f"; estimated {duration(one.seconds)}, {one.ratio:.2f} times as much"


def rows_texts(fits: Sequence[Fit]) -> list[str]:
    """Returns how long the rows are and how that is known, one sentence for each task and tokenizer that differ."""
    groups: dict[tuple[Lengths, str, bool, str], list[str]] = {}
    for one in fits:
        cut = f"; cut to the base's context of {one.tokens}" if one.tokens < one.lengths.tokens else ""
        groups.setdefault((one.lengths, one.task, one.method == "prompt", cut), []).append(one.base)
    return [
        _rows_text(lengths, task, is_prompt, joined(dict.fromkeys(bases))) + cut
        for (lengths, task, is_prompt, cut), bases in groups.items()
    ]


def _rows_text(lengths: Lengths, task: str, is_prompt: bool, bases: str) -> str:
    if lengths.rows is None or set(lengths.given) == {"tokens", "answer_tokens"}:
        return f"{_source(lengths)}: {lengths.tokens} tokens per row, {lengths.answer_tokens} of them the answer"
    sampled = lengths.rows_read < lengths.rows
    read = f" ({lengths.rows_read:,} of them read, including the longest)" if sampled else ""
    shown = "with the examples in the prompt " if is_prompt else ""
    text = f"{task}, by the tokenizer of {bases}: measured on {number_of(lengths.rows, 'prepared row')}{read}: {shown}"
    if "tokens" in lengths.given:
        text += f"{lengths.tokens} tokens per row as given"
    else:
        text += f"{lengths.mean_tokens:.1f} tokens per row with padding, {lengths.unpadded_tokens:.1f} without, "
        text += f"{lengths.tokens} at most"
    if lengths.shared_tokens:
        text += f"; a shared prefix of {lengths.shared_tokens} tokens is read once"
    if lengths.answer_tokens:  # a frozen encoder reads no answers
        text += f"; {lengths.answer_tokens} per answer " + (
            "as given" if "answer_tokens" in lengths.given else "at most"
        )
    return text + (f"; {lengths.too_long:,} exceed the base's context" if lengths.too_long else "")


def _source(lengths: Lengths) -> str:
    if len(lengths.given) > 1:
        return "as given"
    if lengths.given:
        return f"{lengths.given[0].replace('_', ' ')} as given, the rest assumed"
    return "assumed" + (f" ({lengths.reason})" if lengths.reason else "")


def largest_text(largest: LargestModels) -> str:
    """Returns the largest models that fit a machine, and notes about the machine."""
    kinds = {
        "inference in 16 bit": largest.inference,
        "full training": largest.full,
        "LoRA": largest.lora,
        "4-bit LoRA (QLoRA)": largest.qlora,
    }
    sizes = ", ".join(f"{kind} {_billions(size)}" for kind, size in kinds.items() if size is not None)
    how = "one row of 512 tokens; training is checkpointed"
    text = f"Largest model on {largest.machine} ({how}): {sizes or 'none'}."
    return text + "".join(f"\n  - {note}" for note in largest.notes)


def _row(one: Fit, name: str) -> tuple[str, ...]:
    fits = {None: "", True: "yes", False: "no"}[one.fits]
    rows = "" if one.largest_rows is None else str(one.largest_rows)
    if one.largest_rows == MOST_ROWS:
        rows = f"{MOST_ROWS} or more"
    return (
        name,
        one.method if one.precision == "fp32" else f"{one.method}, {one.precision}",
        _billions(one.parameters),
        f"{one.trainable:,}",
        one.machine,
        _bytes(one.need.total),
        fits,
        rows,
        "" if one.seconds is None else duration(one.seconds),
        "" if one.cost_usd is None else f"{one.cost_usd:.2f} USD",
    )


def duration(seconds: float) -> str:
    """Returns a time in the largest unit in which it is at least 1."""
    for length, unit in _SECONDS:
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


def _billions(parameters: int) -> str:
    if parameters >= 1e9:
        return f"{parameters / 1e9:.1f} B"
    return f"{parameters / 1e6:.0f} M" if parameters >= 1e7 else f"{parameters:,}"


def _bytes(number: int | None) -> str:
    if number is None:
        return ""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"
