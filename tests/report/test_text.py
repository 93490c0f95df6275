from rungwise.report.text import HEADER, explain_text, ladder_rows, sentence, status_text, table

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


def test_an_explanation_says_each_reason_once_where_it_came_up():
    rung = {
        "rung": "plain", "method": "tfidf", "base": "", "score": SCORE, "also": {"macro F1": SCORE}, "seconds": 2.4,
        "train_rows": 900, "train_tokens": 0, "unscored": {}, "train_rejected": {"over_context": 3},
        "decision": {"reasons": ["plain passes", "small is tried"]},
    }  # fmt: skip
    small = {**rung, "rung": "small", "base": "b", "decision": {"reasons": ["plain passes", "small passes too"]}}
    decision = {"rung": "plain", "passes": True}
    found = {
        "metric": "accuracy", "meaning": "the share of right rows", "target": 0.9, "dev_rows": 480,
        "dev_groups": 480, "share_needed_of_groups": 0.927,
        "share_needed": 0.927, "rungs": [rung, small], "decision": decision, "comparison": "You do not need it.",
    }  # fmt: skip
    text = explain_text({"route": found})
    assert text.startswith("route: is the accuracy at least 0.9? That is the share of right rows.")
    assert "0.927 has to be observed" in text and text.count("plain passes") == 1
    assert "1. plain (tfidf, no language model): 0.962 (0.941 to 0.976, n=480)" in text
    assert "also: macro F1 0.962" in text and "left out: over_context: 3" in text and " in 2 s" in text
    assert text.index("small is tried") < text.index("2. small") < text.index("small passes too")
    assert text.endswith("Kept: plain; it passes.\nYou do not need it.")
    assert "not even a faultless" in explain_text({"route": {**found, "share_needed": None}})
    assert "groups" not in text
    grouped = explain_text({"route": {**found, "dev_groups": 90, "share_needed_of_groups": 0.967}})
    assert "They belong to 90 groups" in grouped and "what 90 rows would need: 0.967" in grouped
