"""How a comparison of methods reads: a table and sentences in a terminal, a picture for the eye."""

import math
from html import escape
from typing import Final

from rungwise.climbing.trials import Trial, Trials, rows, sentences
from rungwise.report.text import table

HEADER: Final = ("method", "family", "trained (share)", "peak memory", "time", "dev score (interval)", "less LoRA",
                 "merged latency")  # fmt: skip
WIDE, ROW, LEFT, RIGHT, HEAD = 760, 26, 150, 190, 56
COLOURS: Final = {"full": "#444", "addition": "#2f6fab", "selection": "#a2591b", "reparametrisation": "#1b7f3b"}


def trials_text(found: Trials) -> str:
    """Returns the first sentence, the table, and what it says."""
    told = sentences(found)
    head = f"{found.task} on {found.base}: {told[0]}"
    return "\n".join([head, "", table(HEADER, rows(found)), "", *(f"- {sentence}" for sentence in told[1:])])


def picture(found: Trials) -> str:
    """Returns an SVG: a line a method, its score with its interval, LoRA's interval as a band behind all."""
    scored = [t for t in found.trials if t.score]
    lows = [t.score.low for t in scored if t.score] or [0.0]
    highs = [t.score.high for t in scored if t.score] or [1.0]
    start, end = math.floor(min(lows) * 10) / 10, math.ceil(max(highs) * 10) / 10
    end = end if end > start else start + 0.1

    def x(value: float) -> float:
        return round(LEFT + (WIDE - LEFT - RIGHT) * (value - start) / (end - start), 1)

    bottom = HEAD + ROW * len(found.trials)
    title = f"{found.task}: {found.metric} after {found.steps} steps, {found.dev_rows} development rows"
    parts = [f'<text x="10" y="20" class="head">{escape(title)}</text>']
    families = sorted({t.family for t in found.trials}, key=list(COLOURS).index)
    legend = ", ".join(f'<tspan style="fill:{COLOURS[family]}">● {family}</tspan>' for family in families)
    parts.append(
        f'<text x="10" y="38" class="note">{escape(found.base)}; the band is LoRA\'s interval; {legend}</text>'
    )
    lora = found.of("lora")
    if lora and lora.score:
        low, high = x(lora.score.low), x(lora.score.high)
        parts.append(
            f'<rect x="{low}" y="{HEAD - 6}" width="{high - low:.1f}" height="{bottom - HEAD + 8}" class="band"/>'
        )
    n_ticks = round((end - start) * 10)
    for tick in range(n_ticks + 1):
        value = start + tick / 10
        parts.append(f'<line x1="{x(value)}" x2="{x(value)}" y1="{HEAD - 6}" y2="{bottom}" class="grid"/>')
        parts.append(f'<text x="{x(value)}" y="{bottom + 16}" class="tick">{value:.1f}</text>')
    for number, trial in enumerate(found.trials):
        parts += _line(trial, HEAD + ROW * number + ROW // 2, x)
    style = (
        "text{font:13px system-ui,sans-serif;fill:#222}.head{font-weight:600}.name{text-anchor:end}.note,.tick"
        "{font-size:12px;fill:#555}.tick{text-anchor:middle}.grid{stroke:#e6e6e6}.band{fill:#1b7f3b;opacity:.1}"
    )
    size = f'width="{WIDE}" height="{bottom + 26}" viewBox="0 0 {WIDE} {bottom + 26}"'
    label = "Each method's score with its interval"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{label}">\n<style>{style}</style>\n'
        '<rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _line(trial: Trial, y: int, x: object) -> list[str]:
    assert callable(x)
    colour = COLOURS.get(trial.family, "#444")
    parts = [f'<text x="{LEFT - 10}" y="{y + 4}" class="name">{escape(trial.method)}</text>']
    if not trial.score:
        return [*parts, f'<text x="{LEFT + 4}" y="{y + 4}" class="note">{escape(trial.note[:70] or "no score")}</text>']
    low, high, value = (x(number) for number in (trial.score.low, trial.score.high, trial.score.value))
    told = f"{trial.score.value:.3f}  {_short(trial.trained)} trained, {trial.seconds:.0f} s"
    return [
        *parts,
        f'<line x1="{low}" x2="{high}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="3"/>',
        f'<circle cx="{value}" cy="{y}" r="5" fill="{colour}"/>',
        f'<text x="{WIDE - RIGHT + 12}" y="{y + 4}" class="note">{told}</text>',
    ]


def _short(number: int) -> str:
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)
