"""The ledger keeps the scores of each look, and finds the best version that was ever promoted."""

import json

import pytest

from rungwise.core.errors import WorkspaceError
from rungwise.core.records import Interval, to_json
from rungwise.release.gate import Measured
from rungwise.release.ledger import SCORES, SEAL, anchor, check_whole, forget_scores, is_remeasured, looks, record
from rungwise.release.registry import Version

GATE = ["accuracy", 0.9, 0.95, 30, 0.05, 0.02]


def look(version, value, action="promote", *, task="route", gate=GATE):
    measured = Measured(Interval(value, value - 0.01, value + 0.01, 300, 0.95), 0, 300, better=0.5, worse=0.5)
    line = {"task": task, "action": action, "reasons": [], "when": "2026-01-01", "challenger": version, "gate": gate}
    return {**line, "measured": to_json(measured)}


def test_the_anchor_is_the_best_version_ever_promoted_for_the_same_metric(tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    assert anchor(ledger, "route", "accuracy") is None
    record(ledger, look(1, 0.95), {"a": 1.0})
    record(ledger, look(2, 0.97), {"a": 1.0, "b": 0.0})
    record(ledger, look(3, 0.96), {"a": 0.0, "b": 1.0})
    record(ledger, look(4, 0.99, "refuse"), {"a": 0.25})
    record(ledger, look(5, 0.99, task="other"), {"a": 0.5})
    record(ledger, look(6, 0.99, gate=["set_f1", *GATE[1:]]), {"a": 0.75})
    record(ledger, look(7, 0.99), None)  # decided again: the rows were not scored
    best = anchor(ledger, "route", "accuracy")
    assert (best.version, best.scores) == (2, {"a": 1.0, "b": 0.0})
    for path in (tmp_path / SCORES).glob("*"):
        path.unlink()
    assert anchor(ledger, "route", "accuracy") is None


def test_the_scores_of_a_forgotten_row_are_removed(tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    forget_scores(ledger, "b")
    record(ledger, look(1, 0.95), {"a": 1.0, "b": 0.0})
    record(ledger, look(2, 0.94), {"a": 0.5, "b": 1.0})
    forget_scores(ledger, "b")
    assert anchor(ledger, "route", "accuracy").scores == {"a": 1.0}
    assert all('"b"' not in path.read_text() for path in (tmp_path / SCORES).glob("*"))


@pytest.mark.parametrize("content", ["", "[1]", '{"a": "x"}', '{"a": [1]}', "[" * 100_000])
def test_damaged_scores_are_named_with_what_to_do(tmp_path, content):
    ledger = tmp_path / "ledger.jsonl"
    record(ledger, look(1, 0.95), {"a": 1.0})
    (path,) = (tmp_path / SCORES).glob("*")
    path.write_text(content)
    with pytest.raises(WorkspaceError, match=rf"(?s){path.name}.*delete it"):
        anchor(ledger, "route", "accuracy")


def version(number, **tags):
    return Version("route", number, {"attempt": f"abc{number}", **tags}, "route")


@pytest.mark.parametrize("edit", [{"action": "keep"}, {"when": "2025-01-01"}, {"challenger": 2}, {"more": 1}])
def test_a_line_that_was_edited_is_refused(tmp_path, edit):
    ledger = tmp_path / "ledger.jsonl"
    record(ledger, look(1, 0.95), {"a": 1.0})
    record(ledger, look(2, 0.95, task="other"), {"a": 1.0})
    assert SEAL not in looks(ledger, "route")[0]
    first, second = ledger.read_text().splitlines()
    ledger.write_text(json.dumps({**json.loads(first), **edit}) + "\n" + second + "\n")
    with pytest.raises(WorkspaceError, match=r"(?s)was edited.*task route.*restore the file from git"):
        looks(ledger, "route")
    assert len(looks(ledger, "other")) == 1


def test_a_lost_look_is_found_by_the_version_that_it_scored(tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    scored = version(1, test_score="0.95"), version(2, test_score="0.97"), version(3)
    record(ledger, look(1, 0.95), {"a": 1.0})
    record(ledger, {**look(7, 0.97), "attempt": "abc2" + "0" * 60}, {"a": 1.0})
    check_whole(ledger, "route", scored)
    ledger.write_text(ledger.read_text().splitlines()[0] + "\n")
    with pytest.raises(WorkspaceError, match=r"(?s)no look for version 2 of route.*another clone may have it"):
        check_whole(ledger, "route", scored)
    ledger.unlink()
    with pytest.raises(WorkspaceError, match="no look for version 1 of route"):
        check_whole(ledger, "route", scored)
    check_whole(ledger, "route", [version(3)])


def test_a_ledger_of_an_older_version_has_no_anchor_and_is_not_decided_from(tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    old = look(1, 0.95)
    old["measured"] = {name: old["measured"][name] for name in ("score", "unscored", "rows")}
    record(ledger, old, None)
    record(ledger, {**old, "measured": None, "gate": None}, None)
    assert anchor(ledger, "route", "accuracy") is None
    assert not is_remeasured(old, GATE) and is_remeasured(look(1, 0.95), GATE)
