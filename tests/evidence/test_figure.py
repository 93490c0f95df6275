"""Figures: every row is drawn, names are text and never markup, equal inputs give equal bytes."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from rungwise.climbing.trials import Trial, Trials
from rungwise.core.records import Interval
from rungwise.core.texts import on_one_line
from rungwise.evidence.figure import GREEN, Panel, ScoreRow, axis_limits, confusion_figure, scores_figure
from rungwise.report.trials import picture

SCORE = Interval(0.6, 0.5, 0.7, 100, 0.95)
LORA = Trial("lora", "reparametrisation", 112_128, 0.27, 500.0, 3.2, SCORE, None, 1.0)
UNSUPPORTED = Trial("llama-adapter", "addition", 0, 0.0, 0.0, 0.0, None, None, None, "can't be used with this base")
TRIALS = Trials("route", "accuracy", "bases/able", 30, 200, 100, (LORA, UNSUPPORTED))


def texts(svg: str) -> list[str]:
    """Returns the texts of an SVG, in order."""
    return ["".join(one.itertext()) for one in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def n_points(svg: str) -> int:
    return svg.count("<use ")


def test_every_row_is_drawn_and_only_rows_with_a_score_have_a_point():
    rows = (ScoreRow("small", SCORE, "0.600", GREEN), ScoreRow("large", None, "no score"))
    svg = scores_figure([Panel("route: accuracy", rows, bar=0.85)], legend={"passes": GREEN})
    assert {"route: accuracy", "small", "large", "0.600", "no score", "bar 0.85", "passes"} <= set(texts(svg))
    assert svg.startswith("<svg") and n_points(svg) == 1 + 1, "one row and one entry of the legend"


def test_equal_inputs_give_equal_bytes():
    panels = [Panel("a", (ScoreRow("x", SCORE),)), Panel("b", (ScoreRow("y", SCORE),), band=SCORE)]
    assert scores_figure(panels) == scores_figure(panels)
    assert "<dc:date>" not in scores_figure(panels)


def test_names_are_neither_markup_nor_formulas():
    svg = scores_figure([Panel("<b>&", (ScoreRow("$\\frac{1}$", SCORE, "a$b$"),))])
    assert "<b>" not in svg and {"<b>&", "$\\frac{1}$", "a$b$"} <= set(texts(svg))


@pytest.mark.parametrize(
    ("intervals", "limits"),
    [([(0.52, 0.71)], (0.5, 0.8)), ([(0.0, 0.04), (0.3, 0.95)], (0.0, 1.0)), ([(0.5, 0.5)], (0.5, 0.6)), ([], (0, 1))],
)
def test_the_axis_contains_all_intervals(intervals, limits):
    scores = [Interval(low, low, high, 10, 0.95) for low, high in intervals]
    assert axis_limits(scores) == pytest.approx(limits)


def test_a_comparison_of_methods_shows_all_of_them():
    shown = texts(picture(replace(TRIALS, base="<b>&")))
    assert {"lora", "llama-adapter", "can't be used with this base"} <= set(shown)
    assert "0.600 · 112k trainable, 3 s" in shown and "route: accuracy after 30 steps, 100 validation rows" in shown
    assert any(text.startswith("Base: <b>&") for text in shown)


@pytest.mark.parametrize("label", ["zips\x1b[31m", "a\u202eb", "\ud800", "\uffff", "a\nb", "\0"])
def test_a_label_with_a_control_character_is_shown_with_its_escape(label):
    shown = on_one_line(label)
    assert shown in texts(confusion_figure("route", [label, "b"], {(label, "b"): 2}))
    rows = (ScoreRow(label, SCORE, label),)
    svg = scores_figure([Panel(label, rows, subtitle=label)], legend={label: GREEN})
    assert shown in texts(svg) and not any(c in svg for c in label if c not in shown + "\n")


def test_labels_in_another_script_are_text_and_no_warning():
    assert {"退货", "发票"} <= set(texts(confusion_figure("工单", ["退货", "发票"], {("退货", "发票"): 2})))
