import sys
from dataclasses import replace

from rungwise.core.decisions import Decision, Floor, Text
from rungwise.core.gate_reasons import ChallengerTooFewScored
from rungwise.core.records import Evidence, Interval
from rungwise.release.gate import Verdict
from rungwise.release.registry import Version
from rungwise.report.read import Explanation, RungExplanation, Status, TaskStatus, explain_json, status_json
from rungwise.report.text import HEADER, explain_text, ladder_rows, sentence, status_text, table

SCORE = Interval(0.962, 0.941, 0.976, 480, 0.95)
SMALL = Evidence(
    rung="small",
    method="lora",
    base="b",
    base_digest="",
    attempt="a1",
    score=SCORE,
    n=480,
    unscored={},
    train_rows=900,
    train_rejected={"over_context": 3},
    base_parameters=20_000,
    trained_parameters=1_000,
    train_tokens=0,
    also={"macro F1": SCORE},
)
PASSES = Decision("stop", "small", True, (Text("because"),))
FAILS = Decision("exhausted", "small", False, ())
CHAMPION = Version("route", 3, {"attempt": "a1", "rung": "small", "base": "b"}, "route")
TASK = TaskStatus("route", "accuracy", 0.9, ("small", "large"), (SMALL,), PASSES, None, None, None, ())


def test_one_sentence_gives_the_status_of_a_task():
    good = "route: small is good enough: 0.962 (0.941 to 0.976, n=480) against the bar of 0.9; "
    assert sentence(TASK) == good + "not promoted yet."
    assert sentence(replace(TASK, champion=CHAMPION)) == good + "it is the champion, version 3."
    other = replace(CHAMPION, tags={**CHAMPION.tags, "attempt": "other"})
    assert sentence(replace(TASK, champion=other)) == good + "the champion is version 3."
    refused = replace(TASK, verdict=Verdict("refuse", (ChallengerTooFewScored(3, 30),)))
    plain = (
        "route: small passes on the validation rows at 0.962 (0.941 to 0.976, n=480) but was refused on the test rows: "
        "Only 3 test rows could be scored; 30 are required"
    )
    assert sentence(refused) == plain + "." and ladder_rows(refused)[0][-1] == "refused on the test rows"
    assert sentence(replace(refused, champion=other)) == plain + "; the champion stays version 3."
    assert sentence(replace(refused, champion=CHAMPION)) == good + "it is the champion, version 3."
    assert "no rung passes the bar of 0.9; the best so far is small" in sentence(replace(TASK, decision=FAILS))
    two = replace(TASK, decision=FAILS, evidence=TASK.evidence * 2)
    assert "no rung passes the bar of 0.9; the best of 2 tried is small" in sentence(two)
    assert "no rung could be judged" in sentence(replace(TASK, decision=replace(FAILS, rung=None)))
    assert "not climbed yet" in sentence(replace(TASK, decision=None, evidence=()))


def test_the_ladder_shows_every_rung_in_order():
    rows = ladder_rows(TASK)
    assert rows[0] == ("small", "lora", "0.962 (0.941 to 0.976, n=480)", "0.9", "1,000 of 20,000", "passes")
    assert rows[1][:3] == ("large", "", "not tried")
    assert ladder_rows(replace(TASK, decision=FAILS))[0][-1] == "best so far, below the bar"
    bad = replace(SMALL, score=Interval(0.05, 0.03, 0.08, 480, 0.95))
    assert ladder_rows(replace(TASK, decision=FAILS, evidence=(bad,)))[0][-1] == "best so far, far below the bar"
    assert sentence(replace(TASK, decision=FAILS, evidence=(bad,))).endswith("n=480), far below it.")
    note = "was not trained: 197 of 345 training rows are longer than the context of 256 tokens"
    untrained = replace(SMALL, score=None, unscored={"not_trained": 480}, note=note)
    row = ladder_rows(replace(TASK, decision=replace(FAILS, rung=None), evidence=(untrained,)))[0]
    assert row == ("small", "lora", "not trained", "0.9", "", "not judged")
    unread = replace(untrained, unscored={"over_context": 480}, note="none of 480 rows could be scored")
    assert ladder_rows(replace(TASK, decision=FAILS, evidence=(unread,)))[0][2] == "not scored"
    lines = table(HEADER, rows).splitlines()
    assert lines[0].startswith("rung ") and len(lines) == 4 and lines[0].index("method") == lines[2].index("lora")


def test_the_floor_is_shown_above_the_rungs():
    floor = Floor("most frequent answer", Interval(0.21, 0.17, 0.25, 480, 0.95))
    rows = ladder_rows(replace(TASK, floor=floor))
    assert rows[0] == ("floor", "most frequent answer", "0.210 (0.170 to 0.250, n=480)", "", "", "")
    assert rows[1:] == ladder_rows(TASK)
    explained = Explanation("route", "accuracy", "x", 0.9, 480, 480, 0.9, 0.9, (), PASSES, None, floor)
    text = explain_text({"route": explained})
    assert "\nfloor (most frequent answer, no training): 0.210 (0.170 to 0.250, n=480)\n" in text
    assert explain_json({"route": explained})["route"]["floor"]["name"] == "most frequent answer"
    status = status_json(Status({"route": replace(TASK, floor=floor)}, None, ()))
    assert status["tasks"]["route"]["floor"]["score"]["value"] == 0.21


def test_the_status_names_what_changed_since_the_climb():
    text = status_text(Status({"route": replace(TASK, champion=CHAMPION)}, "abc", ("split",)))
    assert "DVC would run: split" in text and "data version: abc" in text and "  - because" in text
    assert "champion: version 3 (small on b)" in text


def test_an_explanation_gives_each_reason_once_at_its_rung():
    plain = replace(SMALL, rung="plain", method="classical", base="")
    rungs = (
        RungExplanation(plain, 2.4, Decision("climb", "plain", True, (Text("plain passes"), Text("small is tried")))),
        RungExplanation(SMALL, 2.4, Decision("stop", "plain", True, (Text("plain passes"), Text("small passes too")))),
    )
    decision = Decision("stop", "plain", True, ())
    one = Explanation(
        name="route",
        metric="accuracy",
        meaning="the share of right rows",
        target=0.9,
        dev_rows=480,
        dev_groups=480,
        share_needed=0.927,
        share_needed_of_groups=0.927,
        rungs=rungs,
        decision=decision,
        comparison=Text("You do not need it."),
    )
    text = explain_text({"route": one})
    assert text.startswith("route: is the accuracy at least 0.9? That is the share of right rows.")
    assert "a score of 0.927 passes" in text and text.count("plain passes") == 2  # the reason and the result
    assert "1. plain (classical, no language model): 0.962 (0.941 to 0.976, n=480)" in text
    assert "other metrics: macro F1 0.962" in text and "left out: over_context: 3" in text and " in 2 s" in text
    assert text.index("small is tried") < text.index("2. small") < text.index("small passes too")
    assert text.endswith("Result: plain passes.\nYou do not need it.")
    assert "not even a score of 1" in explain_text({"route": replace(one, share_needed=None)})
    assert "groups" not in text
    grouped = explain_text({"route": replace(one, dev_groups=90, share_needed_of_groups=0.967)})
    assert "They belong to 90 groups" in grouped and "that for 90 rows: 0.967" in grouped
    below = replace(one, decision=replace(decision, passes=False))
    assert "Result: no rung passes; plain is the best of 2 tried, below the bar." in explain_text({"route": below})
    first = replace(below, rungs=below.rungs[:1])
    assert "Result: no rung passes; plain is the best so far, below the bar." in explain_text({"route": first})


def test_a_table_wider_than_the_terminal_has_a_line_for_each_cell(monkeypatch):
    rows = [("classical", "classical", "0.9"), ("small", "", "0.8")]
    header = ("rung", "method", "a score with a long name")
    wide = table(header, rows)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(max(map(len, wide.splitlines()))))
    assert table(header, rows) == wide
    monkeypatch.setenv("COLUMNS", "30")
    assert table(header, rows).splitlines() == [
        *("classical", "  method: classical", "  a score with a long name: 0.9"),
        *("small", "  a score with a long name: 0.8"),
    ]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    assert table(header, rows) == wide  # a file or a pipe has no width


def test_the_climb_of_one_task_alone_says_that_nothing_is_registered():
    assert sentence(replace(TASK, is_alone=True)).endswith(
        "the bar of 0.9; only this task was climbed, so nothing is registered: `rungwise run` climbs all tasks."
    )
