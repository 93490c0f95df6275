"""Figures of scores with their intervals, drawn by matplotlib as SVG. Equal inputs give equal bytes.

matplotlib (https://matplotlib.org) is imported when a figure is drawn.
"""

import io
import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rungwise.core.records import Interval
from rungwise.core.texts import on_one_line, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREEN: Final = "#1b7f3b"
GREY: Final = "#8d8d8d"
RED: Final = "#b3261e"
BLUE: Final = "#2f6fab"
ORANGE: Final = "#b5651d"
BLACK: Final = "#333333"

_STYLE: Final[Mapping[str, Any]] = {
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],  # matplotlib brings this font, so that the layout is the same everywhere
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.edgecolor": "#cccccc",
    "text.color": "#222222",
    "text.parse_math": False,  # a name may contain dollar signs
    "axes.labelcolor": "#222222",
    "xtick.color": "#555555",
    "ytick.color": "#222222",
    "svg.fonttype": "none",  # text stays text: it can be searched and read aloud
    "svg.hashsalt": "rungwise",  # otherwise ids in the SVG are random
}
_WIDTH, _LEFT, _RIGHT = 7.6, 1.45, 2.2
"""The figure's width and the margins for names (left) and notes (right), in inches."""
_ROW, _TITLE, _SUBTITLE, _TICKS, _FOOT = 0.26, 0.48, 0.17, 0.3, 0.2
"""The heights of a row, a title, a second line below it, the tick labels, and the bottom margin, in inches."""


@dataclass(frozen=True)
class ScoreRow:
    """One line of a figure."""

    name: str
    score: Interval | None
    """None draws no point, only the note."""
    note: str = ""
    """The text to the right of the line."""
    colour: str = BLACK


@dataclass(frozen=True)
class Panel:
    """Some rows that share one axis."""

    title: str
    rows: tuple[ScoreRow, ...]
    subtitle: str = ""
    bar: float | None = None
    """Draws a dashed vertical line, the score that is required."""
    band: Interval | None = None
    """Draws a shaded band behind all rows, such as the interval of a reference."""

    @property
    def head(self) -> float:
        """The height of everything above the rows, in inches."""
        return _TITLE + (_SUBTITLE if self.subtitle or self.bar is not None else 0)


def scores_figure(
    panels: Sequence[Panel], *, limits: tuple[float, float] = (0.0, 1.0), legend: Mapping[str, str] | None = None
) -> str:
    """Returns an SVG with one panel below the other. A row is a point with its interval.

    Args:
        panels: the panels, from top to bottom.
        limits: the range of the axis, the same for all panels.
        legend: label -> colour, shown below the last panel.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(dict(_STYLE)):
        foot = _FOOT + (0.3 if legend else 0)
        height = foot + sum(panel.head + _ROW * len(panel.rows) + _TICKS for panel in panels)
        figure = Figure(figsize=(_WIDTH, height))
        top = height
        for panel in panels:
            top -= panel.head
            size = _ROW * len(panel.rows)
            place = (_LEFT, top - size, _WIDTH - _LEFT - _RIGHT, size)
            axes = figure.add_axes((place[0] / _WIDTH, place[1] / height, place[2] / _WIDTH, place[3] / height))
            _draw(axes, panel, limits)
            top -= size + _TICKS
        if legend:
            _draw_legend(figure, legend, height)
        return _svg(figure)


def axis_limits(scores: Sequence[Interval]) -> tuple[float, float]:
    """Returns the narrowest range from one tenth to another that contains all intervals."""
    start = math.floor(min((s.low for s in scores), default=0.0) * 10) / 10
    end = math.ceil(max((s.high for s in scores), default=1.0) * 10) / 10
    return start, max(end, start + 0.1)


def _draw(axes: "Axes", panel: Panel, limits: tuple[float, float]) -> None:
    n = len(panel.rows)
    axes.set_xlim(*limits)
    axes.set_ylim(n - 0.5, -0.5)
    axes.set_yticks(range(n), [on_one_line(row.name) for row in panel.rows])
    step = 0.2 if limits[1] - limits[0] > 0.5 else 0.1
    axes.set_xticks([round(step * i, 1) for i in range(math.ceil(limits[0] / step), round(limits[1] / step) + 1)])
    axes.tick_params(axis="both", length=0, pad=6)
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    _draw_titles(axes, panel)
    if panel.band:
        axes.axvspan(panel.band.low, panel.band.high, color=GREEN, alpha=0.1, linewidth=0)
    if panel.bar is not None:
        axes.axvline(panel.bar, color=RED, linewidth=1.4, linestyle=(0, (4, 2.5)))
        axes.text(panel.bar, -0.65, f"bar {panel.bar:g}", color=RED, fontsize=8.5, ha="center", va="bottom")
    for number, row in enumerate(panel.rows):
        if row.score:
            axes.plot((row.score.low, row.score.high), (number, number), color=row.colour, linewidth=2.4)
            axes.plot([row.score.value], [number], color=row.colour, marker="o", markersize=6.5, clip_on=False)
        axes.text(
            1.04,
            number,
            visible(row.note),
            transform=axes.get_yaxis_transform(),
            color="#555555",
            fontsize=8.5,
            va="center",
        )


def _draw_titles(axes: "Axes", panel: Panel) -> None:
    """Writes title and subtitle, aligned with the figure's left edge."""
    x = -(_LEFT - 0.12) / (_WIDTH - _LEFT - _RIGHT)
    pad = 10 + (panel.head - _TITLE) * 72  # points
    axes.set_title(visible(panel.title), x=x, loc="left", fontsize=10.5, fontweight="bold", pad=pad)
    if panel.subtitle:
        axes.annotate(
            visible(panel.subtitle), (x, 1), (0, 8), "axes fraction", "offset points", fontsize=8.5, color="#555555"
        )


def _draw_legend(figure: "Figure", legend: Mapping[str, str], height: float) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, marker="o", markersize=6.5, linewidth=2.4, label=on_one_line(label))
        for label, colour in legend.items()
    ]
    figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0.08 / _WIDTH, 0.04 / height),
        ncols=len(handles),
        frameon=False,
        fontsize=8.5,
        handlelength=1.6,
        columnspacing=1.6,
        borderpad=0.2,
    )


def _svg(figure: "Figure") -> str:
    """Returns the figure as an SVG element, without a date and the drawing program's version."""
    file = io.StringIO()
    with warnings.catch_warnings():
        # the file holds text, and who shows it has the fonts; matplotlib only measures with its own
        warnings.filterwarnings("ignore", message="(?s)Glyph .* missing from", category=UserWarning)
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    return text[text.index("<svg") :]  # without the XML declaration, so that a page can contain it


def confusion_figure(title: str, labels: Sequence[str], counts: Mapping[tuple[str, str], int]) -> str:
    """Returns an SVG with one row for each expected label and one column for each answer, each cell with its number.

    Args:
        title: above the figure.
        labels: the labels, in the order of rows and columns; at most about 30 stay readable.
        counts: (expected, answer) -> number of rows.
    """
    import matplotlib
    from matplotlib.figure import Figure

    shown = [on_one_line(label) for label in labels]
    n, names = len(labels), [label if len(label) <= 24 else f"{label[:23]}…" for label in shown]
    side = max(2.2, 0.32 * n)
    with matplotlib.rc_context(dict(_STYLE)):
        figure = Figure(figsize=(side + 2.6, side + 2.2))
        axes = figure.add_axes((2.2 / (side + 2.6), 1.6 / (side + 2.2), side / (side + 2.6), side / (side + 2.2)))
        shares = [[counts.get((row, column), 0) for column in labels] for row in labels]
        totals = [max(1, sum(row)) for row in shares]
        for y, row in enumerate(shares):
            for x, count in enumerate(row):
                if count:
                    colour = GREEN if x == y else RED
                    axes.fill_between((x - 0.5, x + 0.5), y - 0.5, y + 0.5, color=colour, alpha=0.6 * count / totals[y],
                                      linewidth=0)  # fmt: skip
                    axes.text(x, y, str(count), ha="center", va="center", fontsize=8)
        axes.set_xlim(-0.5, n - 0.5)
        axes.set_ylim(n - 0.5, -0.5)
        axes.set_xticks(range(n), names, rotation=90)
        axes.set_yticks(range(n), names)
        axes.tick_params(axis="both", length=0, pad=6)
        axes.set_xlabel("answer")
        axes.set_ylabel("expected")
        axes.set_title(visible(title), fontsize=10.5, fontweight="bold")
        return _svg(figure)


def curves_figure(
    title: str, curves: Mapping[str, Sequence[tuple[int, Interval]]], metric: str, *, bar: float | None = None
) -> str:
    """Returns an SVG of scores by the number of training rows, which doubles from tick to tick.

    Args:
        title: above the figure.
        curves: rung -> (training rows, score with its interval), ascending by rows.
        metric: the name of the score.
        bar: draws a dashed line, the score that is required.
    """
    import matplotlib
    from matplotlib.figure import Figure

    scores = [score for points in curves.values() for _, score in points]
    low, high = axis_limits([*scores, *([Interval(bar, bar, bar, 1, 0.95)] if bar is not None else [])])
    ticks = sorted({rows for points in curves.values() for rows, _ in points})
    with matplotlib.rc_context(dict(_STYLE)):
        figure = Figure(figsize=(5.6, 3.4))
        axes = figure.add_axes((0.12, 0.17, 0.70, 0.68))
        axes.set_xscale("log", base=2)
        for (name, points), colour in zip(curves.items(), itertools.cycle((BLUE, ORANGE, GREEN, BLACK))):
            at = [rows for rows, _ in points]
            axes.plot(at, [score.value for _, score in points], color=colour, linewidth=2, marker="o", markersize=6)
            axes.vlines(at, [s.low for _, s in points], [s.high for _, s in points], color=colour, linewidth=1.4)
            end = at[-1], points[-1][1].value
            axes.annotate(on_one_line(name), end, (8, 0), "data", "offset points", color=colour, fontsize=8.5)
        if bar is not None:
            axes.axhline(bar, color=RED, linewidth=1.4, linestyle=(0, (4, 2.5)))
            axes.text(ticks[0], bar, f"bar {bar:g}", color=RED, fontsize=8.5, va="bottom")
        axes.set_ylim(low, high)
        axes.set_xticks(ticks, [f"{rows:,}" for rows in ticks])
        axes.minorticks_off()
        axes.tick_params(axis="both", length=0, pad=6)
        axes.grid(color="#e6e6e6", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set_xlabel("training rows")
        axes.set_ylabel(metric)
        axes.set_title(visible(title), fontsize=10.5, fontweight="bold", loc="left", pad=12)
        return _svg(figure)


def answered_figure(
    title: str, right: Sequence[bool], rows: int, *, goal: float | None = None, answered: int | None = None
) -> str:
    """Returns an SVG of how many of the answers are right, the more of the rows are answered: the surest first.

    Args:
        title: above the figure.
        right: whether each answer is right, the surest first; at least one.
        rows: all rows, those without an answer included.
        goal: draws a dashed line, the share that is to be right.
        answered: draws a point where as many of the surest rows are answered.
    """
    import matplotlib
    from matplotlib.figure import Figure

    shares = [total / n for n, total in enumerate(itertools.accumulate(right), 1)]
    first = min(len(right), 20)  # of fewer rows, the share jumps
    places = list(range(first, len(right) + 1))
    lowest = min([*shares[first - 1 :], *([goal] if goal else [])])
    with matplotlib.rc_context(dict(_STYLE)):
        figure = Figure(figsize=(5.6, 3.4))
        axes = figure.add_axes((0.12, 0.17, 0.76, 0.68))
        axes.plot([n / rows for n in places], [shares[n - 1] for n in places], color=BLUE, linewidth=2)
        if goal:
            axes.axhline(goal, color=RED, linewidth=1.4, linestyle=(0, (4, 2.5)))
            axes.text(1.01, goal, f"goal {goal:g}", color=RED, fontsize=8.5, va="center")
        if answered:
            axes.plot([answered / rows], [shares[answered - 1]], color=GREEN, marker="o", markersize=7, clip_on=False)
        axes.set_xlim(0, 1)
        axes.set_ylim(math.floor(lowest * 20 - 0.5) / 20, 1.002)
        axes.xaxis.set_major_formatter("{x:.0%}")
        axes.yaxis.set_major_formatter("{x:.0%}")
        axes.tick_params(axis="both", length=0, pad=6)
        axes.grid(color="#e6e6e6", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set_xlabel("rows that the model answers, the surest first")
        axes.set_ylabel("right answers")
        axes.set_title(visible(title), fontsize=10.5, fontweight="bold", loc="left", pad=12)
        return _svg(figure)
