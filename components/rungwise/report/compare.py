"""The sentences about two versions that people compare by labels."""

from collections.abc import Mapping

from rungwise.core.texts import number_of
from rungwise.release.compare import LEVEL, Differing, Labelled


def differing_text(one: Differing, to: str) -> str:
    """Returns what two versions answered, and what to do with the file `to`."""
    of = f"{one.differing:,} of {number_of(one.rows, 'row')} ({one.differing / one.rows:.1%})"
    lines = [
        f"{one.task}: versions {one.first} and {one.second} differ on {of}.",
        f"{number_of(one.written, 'row')} of these, drawn at random, {'is' if one.written == 1 else 'are'} in {to}. "
        f"Fill in the answers, then: rungwise compare {one.task} {one.first} {one.second} --labels {to}",
    ]
    return "\n".join([*lines, *_left_out(one.left_out)])


def labelled_text(one: Labelled) -> str:
    """Returns the verdict of the labels, and what as many could have shown."""
    decided = one.won + one.lost
    counts = (
        f"Of {number_of(one.rows, 'labelled row')}, version {one.first} is better on {one.won} and version "
        f"{one.second} on {one.lost} (sign test, p = {one.p:.2g}, one-sided)."
    )
    verdict = {
        "first": f"version {one.first} is better than version {one.second}",
        "second": f"version {one.second} is better than version {one.first}",
        "not_shown": f"the labels show no difference between versions {one.first} and {one.second}",
    }[one.outcome]
    lines = [f"{one.task}: {verdict}. {counts}"]
    if one.outcome == "not_shown":
        lines.append(
            f"With {number_of(decided, 'decided row')}, one has to be better on {one.would_show} (level {LEVEL:.0%})."
            if one.would_show
            else f"{number_of(decided, 'decided row', 'is', 'are')} too few to show anything: label more."
        )
    return "\n".join([*lines, *_left_out(one.left_out)])


def _left_out(counts: Mapping[str, int]) -> list[str]:
    return [f"left out: {', '.join(f'{reason}: {n}' for reason, n in counts.items())}"] if counts else []
