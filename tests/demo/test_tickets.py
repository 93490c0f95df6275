"""The demonstration's rows have the difficulties that their script promises."""

import csv
from collections import Counter

import pytest

from rungwise.config import SplitSettings
from rungwise.core.records import Example
from rungwise.dataset.split import split
from tests.conftest import REPOSITORY, script

PATH = REPOSITORY / "infra/demo/tickets.csv"


@pytest.fixture(scope="module")
def recipe():
    return script("tickets")


@pytest.fixture(scope="module")
def rows():
    with PATH.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_script_writes_the_same_bytes(tmp_path, recipe):
    recipe.write(tmp_path / "tickets.csv")
    assert (tmp_path / "tickets.csv").read_bytes() == PATH.read_bytes()


def test_number_length_and_columns(rows):
    assert len(rows) == 4000 and max(len(r["body"]) for r in rows) <= 350
    assert list(rows[0]) == ["body", "queue", "keywords", "reply", "facts", "tenant", "problem_id", "date"]
    counts = Counter(r["queue"] for r in rows)
    assert len(counts.keys() - {""}) == 8 and counts["delivery"] > 5 * counts["other"] > 300
    assert {r["tenant"] for r in rows} == {"fernweg", "northtrail"}
    assert [r["date"] for r in rows] == sorted(r["date"] for r in rows)


def test_they_are_as_difficult_as_real_mails(rows, recipe):
    assert 10 <= sum(not r["queue"] for r in rows) <= 60  # empty
    wrong = [r for r in rows if r["queue"] and r["problem_id"].split("-")[0] != r["queue"]]
    assert 40 <= len(wrong) <= 90
    assert 60 <= sum(r["problem_id"].startswith("other-") for r in rows) <= 180  # belong to no queue
    words = Counter(w for r in rows for w in r["body"].lower().split())
    assert sum(n == 1 for n in words.values()) > 300  # typing errors among them
    starts = Counter(r["body"][:60] for r in rows)
    assert sum(n > 1 for n in starts.values()) > 20  # near duplicates
    assert len({r["problem_id"] for r in rows}) > 1000


def test_every_reply_contains_its_facts(rows):
    for row in rows:
        for fact in row["facts"].split("; "):
            assert fact in row["reply"], row
    assert sum(not r["facts"] for r in rows) < 160


def test_some_wordings_occur_in_test_rows_only(rows, recipe):
    examples = [Example(str(i), {"body": r["body"]}, r["queue"], "s", i, r["problem_id"]) for i, r in enumerate(rows)]
    sides = split(SplitSettings(dev=0.2, test=0.2), examples)

    def wordings(part):
        texts = " ".join(e.fields["body"].lower() for e in part)
        every = [w for issues in recipe.texts().issues.values() for one in issues for w in one.wordings]
        # the longest piece of a wording without a product
        return {w for w in every if max(w.lower().split("{thing}"), key=len).strip() in texts}

    assert len(wordings(sides.test) - wordings(sides.train)) >= 3
