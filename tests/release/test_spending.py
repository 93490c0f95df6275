"""Looks at test rows spend what the rows can show, and new rows renew it."""

import random

import pytest

from rungwise.core.records import Interval, to_json
from rungwise.evidence.levels import FIRST_LOOK
from rungwise.release.gate import Measured
from rungwise.release.ledger import SCORES, cohort, record
from rungwise.release.spending import Cohort, level_of, next_cohort


def ids(n, start=0):
    return [f"r{i}" for i in range(start, start + n)]


def looks(*actions, number=1):
    return [{"action": action, "cohort": {"number": number}} for action in actions]


def test_all_looks_at_a_cohort_share_its_level():
    levels = [level_of(looks(*["keep"] * k), 0.05) for k in range(3000)]
    assert levels[:3] == pytest.approx([0.05 * FIRST_LOOK, 0.05 * FIRST_LOOK / 4, 0.05 * FIRST_LOOK / 9])
    assert 0.0499 < sum(levels) <= 0.05 and FIRST_LOOK == pytest.approx(0.6079, abs=1e-4)


def test_a_look_that_promoted_passes_its_level_on():
    first = level_of([], 0.05)
    assert level_of(looks("promote"), 0.05) == pytest.approx(first + 0.05 * FIRST_LOOK / 4)
    assert level_of(looks("promote", "promote"), 0.05) == pytest.approx(first + 0.05 * FIRST_LOOK * (1 / 4 + 1 / 9))
    assert level_of(looks("promote", "keep"), 0.05) == pytest.approx(0.05 * FIRST_LOOK / 9)


def test_equal_challengers_of_many_nights_are_seldom_promoted():
    """The p-values of equal challengers are uniform: 5% of the cohorts see a false promotion, as promised."""
    draw, wrong, cohorts = random.Random(1), 0, 2000
    for _ in range(cohorts):
        past: list[dict[str, str]] = []
        for _ in range(30):
            past.append({"action": "promote" if draw.random() <= level_of(past, 0.05) else "keep"})
        wrong += any(look["action"] == "promote" for look in past)
    assert 0.03 < wrong / cohorts < 0.06


def test_the_first_cohort_takes_all_rows_and_grows_until_it_is_full():
    assert next_cohort([], [], ids(40), 0.05, 300) == Cohort(1, frozenset(ids(40)), 1, 0.05 * FIRST_LOOK, 560)
    grown = next_cohort(looks("refuse"), [set(ids(40))], ids(80), 0.05, 300)
    assert (grown.rows, grown.look, grown.number) == (set(ids(80)), 2, 1)


def test_later_rows_wait_until_they_are_a_cohort():
    past, seen = looks("keep", "keep"), [set(ids(300))] * 2
    waiting = next_cohort(past, seen, ids(599), 0.05, 300)
    assert (waiting.number, waiting.look, waiting.rows, waiting.missing) == (1, 3, set(ids(300)), 1)
    new = next_cohort(past, seen, ids(600), 0.05, 300)
    assert (new.number, new.look, new.rows) == (2, 1, set(ids(300, 300)))
    assert new.level == pytest.approx(0.05 * FIRST_LOOK)
    third = [*past, *looks("promote", number=2)]
    again = next_cohort(third, [*seen, set(ids(300, 300))], ids(650), 0.05, 300)
    assert (again.number, again.look, again.missing) == (2, 2, 250) and again.rows == set(ids(300, 300))


def test_rows_that_are_gone_leave_their_cohort_and_let_new_ones_in():
    one = next_cohort(looks("keep"), [set(ids(300))], [*ids(290), *ids(20, 1000)], 0.05, 300)
    assert one.rows == {*ids(290), *ids(20, 1000)} and one.look == 2


def test_looks_whose_rows_are_not_known_count_for_all_rows():
    old = [{"action": "keep"}, {"action": "keep"}]
    one = next_cohort(old, [None, None], ids(1000), 0.05, 300)
    assert (one.look, len(one.rows)) == (3, 1000)


def line(action="keep", *, task="route", **more):
    measured = Measured(Interval(0.95, 0.94, 0.96, 300, 0.95), 0, 300, better=0.5, worse=0.5)
    return {"task": task, "action": action, "reasons": [], "when": "2026", "measured": to_json(measured), **more}


def test_the_ledger_counts_only_looks_that_scored_rows(tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    rows = ids(40)
    assert cohort(ledger, "route", rows, 0.05, 300).look == 1
    record(ledger, line(cohort={"number": 1}), dict.fromkeys(rows, 1.0))
    record(ledger, line(decided="2026"), None)  # decided again from recorded scores
    record(ledger, {**line(), "measured": None}, None)  # not screened
    record(ledger, line(task="other"), dict.fromkeys(rows, 1.0))
    assert cohort(ledger, "route", rows, 0.05, 300).look == 2
    assert cohort(ledger, "route", [*rows, *ids(60, 100)], 0.05, 40).rows == set(ids(60, 100))
    for path in (tmp_path / SCORES).glob("*"):
        path.unlink()  # a lost file renews nothing
    lost = cohort(ledger, "route", [*rows, *ids(60, 100)], 0.05, 40)
    assert lost.look == 2 and len(lost.rows) == 100


def test_rows_for_a_new_cohort_that_come_at_once_start_it_and_a_few_fill_the_first_one():
    past, seen = looks("refuse"), [set(ids(60))]
    assert next_cohort(past, seen, ids(60), 0.05, 300).missing == 540
    filled = next_cohort(past, seen, ids(300), 0.05, 300)
    assert (filled.number, filled.look, len(filled.rows), filled.missing) == (1, 2, 300, 300)
    at_once = next_cohort(past, seen, ids(360), 0.05, 300)
    assert (at_once.number, at_once.look, at_once.rows) == (2, 1, set(ids(300, 60)))
