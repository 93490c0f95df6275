"""The benchmark of one doubling: its figures from made-up cells."""

from benchmarks.doubling import figures_of, table


def cell(outcome, said, came, last=(0.03, 0.01, 0.05)):
    return {
        "set": "trec", "rows": 1200, "validation rows": 300, "outcome": outcome, "said": list(said),
        "last": list(last), "came": [came, came - 0.02, came + 0.02], "test rows": 500,
    }  # fmt: skip


def test_the_figures_count_ranges_that_cover_what_came_and_words_that_were_right():
    made = [
        cell("gains", (0.005, 0.05), 0.02),
        cell("gains", (0.005, 0.05), 0.06),
        cell("gains", (0.005, 0.05), -0.01),
        cell("flat", (-0.01, 0.015), 0.01),
        cell("unknown", (-0.02, 0.06), 0.008),
    ]
    figures = figures_of(made)
    covers = figures["the range covers what came"]
    assert covers.value == 0.6 and not covers.met and covers.peer == 0.4
    assert figures["said `gains`, and it was so"].value == 0.6667
    assert figures["said `flat`, and it was so"].value == 1.0 and figures["said `flat`, of all cells"].value == 0.2
    assert figures["cells"].met is False


def test_the_table_says_what_was_said_in_points():
    lines = table([cell("gains", (0.005, 0.05), 0.02), cell("unknown", (-0.02, 0.06), 0.008)]).splitlines()
    assert lines[2] == "| trec | 1,200 | 300 | +3.0 (+1.0 to +5.0) | between 0.5 and 5.0 | +2.0 |"
    assert "can't tell" in lines[3]
