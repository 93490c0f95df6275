from components.reporting.text import HEADER, ladder_rows, sentence, status_text, table

SCORE = {"value": 0.962, "low": 0.941, "high": 0.976, "n": 480, "confidence": 0.95}


def task(**more):
    evidence = {
        "rung": "small",
        "method": "lora",
        "score": SCORE,
        "trained_parameters": 1000,
        "base_parameters": 20000,
        "attempt": "a1",
    }
    decision = {"action": "stop", "rung": "small", "passes": True, "reasons": ["because"]}
    return {
        "target": 0.9, "ladder": ["small", "large"], "evidence": [evidence], "decision": decision,
        "comparison": "", "champion": None, "challenger": None, "test_looks": [], **more,
    }  # fmt: skip


def test_one_sentence_says_where_a_task_stands():
    champion = {"version": 3, "attempt": "a1", "rung": "small", "base": "b"}
    good = "route: small is good enough: 0.962 (0.941 to 0.976, n=480) against the bar of 0.9; "
    assert sentence("route", task()) == good + "not promoted yet."
    assert sentence("route", task(champion=champion)) == good + "it is the champion, version 3."
    assert sentence("route", task(champion={**champion, "attempt": "other"})) == good + "the champion is version 3."
    failed = {"action": "exhausted", "rung": "small", "passes": False, "reasons": []}
    assert "no rung shows the bar" in sentence("route", task(decision=failed))
    assert "no rung could be judged" in sentence("route", task(decision={**failed, "rung": None}))
    assert "not climbed yet" in sentence("route", task(decision=None, evidence=[]))


def test_the_ladder_shows_every_rung_in_order():
    rows = ladder_rows(task())
    assert rows[0] == ("small", "lora", "0.962 (0.941 to 0.976, n=480)", "0.9", "1,000 of 20,000", "passes, kept")
    assert rows[1][:3] == ("large", "", "not tried")
    lines = table(HEADER, rows).splitlines()
    assert lines[0].startswith("rung ") and len(lines) == 4 and lines[0].index("method") == lines[2].index("lora")


def test_the_status_says_what_changed_since():
    text = status_text({"tasks": {"route": task()}, "data_version": "abc", "changed": ["split"]})
    assert "DVC would run: split" in text and "data version: abc" in text and "  - because" in text
