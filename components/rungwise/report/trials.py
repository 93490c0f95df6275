"""The result of `rungwise methods`: a table and sentences for the terminal, and a figure."""

import textwrap
from collections.abc import Mapping
from typing import Final

from rungwise.climbing.trials import Trial, Trials, rows, sentences
from rungwise.core.texts import number_of
from rungwise.evidence.figure import BLACK, BLUE, GREEN, ORANGE, Panel, ScoreRow, axis_limits, scores_figure
from rungwise.report.text import table

HEADER: Final = ("method", "family", "trainable (share)", "peak memory", "time", "dev score (interval)",
                 "difference to LoRA", "merged latency")  # fmt: skip
COLOURS: Final[Mapping[str, str]] = {
    "full": BLACK,
    "addition": BLUE,
    "selection": ORANGE,
    "reparametrisation": GREEN,
}
"""Family of methods -> colour."""


def trials_text(comparison: Trials) -> str:
    """Returns the first sentence, the table, and the other sentences."""
    first, *others = sentences(comparison)
    head = f"{comparison.task} on {comparison.base}: {first}"
    return "\n".join([head, "", table(HEADER, rows(comparison)), "", *(f"- {sentence}" for sentence in others)])


def picture(comparison: Trials) -> str:
    """Returns an SVG: each method's score with its interval, and LoRA's interval as a band behind them."""
    scores = [trial.score for trial in comparison.trials if trial.score]
    lora = comparison.of("lora")
    families = sorted({trial.family for trial in comparison.trials}, key=list(COLOURS).index)
    legend = {family: COLOURS[family] for family in families}
    panel = Panel(
        title=f"{comparison.task}: {comparison.metric} after {comparison.steps} steps, "
        f"{number_of(comparison.dev_rows, 'validation row')}",
        rows=tuple(_row(trial) for trial in comparison.trials),
        subtitle=f"Base: {comparison.base[-60:]}. The band is LoRA's interval.",
        band=lora.score if lora else None,
    )
    return scores_figure([panel], limits=axis_limits(scores), legend=legend)


def _row(trial: Trial) -> ScoreRow:
    if not trial.score:
        return ScoreRow(trial.method, None, textwrap.shorten(trial.note, 34, placeholder=" ...") or "no score")
    note = f"{trial.score.value:.3f} · {_short(trial.trained)} trainable, {trial.seconds:.0f} s"
    return ScoreRow(trial.method, trial.score, note, COLOURS.get(trial.family, BLACK))


def _short(number: int) -> str:
    """Returns a number in three digits with its unit: `1.55M`."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)
