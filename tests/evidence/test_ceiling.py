import json
from dataclasses import replace
from itertools import product

import pytest

from rungwise.config import AnswerSettings
from rungwise.core.records import Example
from rungwise.evidence.ceiling import Ceiling, Unseen, ceiling_of, unseen_of
from rungwise.evidence.metrics import set_f1

LABEL = AnswerSettings(column="queue")
CLOSED = AnswerSettings(column="tags", format="list", items="closed")
OBJECT = AnswerSettings.model_validate(
    {"format": "json", "fields": {"kind": {"column": "k"}, "tags": {"column": "t", "format": "list"}, "why": {"column": "w", "format": "text"}}},
    strict=False,
)  # fmt: skip


def rows(*pairs: tuple[str, str]) -> list[Example]:
    return [Example(str(i), {"body": text}, answer, "s", i, str(i)) for i, (text, answer) in enumerate(pairs)]


def test_labels_that_training_lacks_and_contradicting_texts_limit_the_score():
    train = rows(("x", "a"), ("y", "b"))
    dev = rows(("one", "a"), ("One ", "a"), ("one", "b"), ("two", "c"), ("three", "b"))
    assert ceiling_of(LABEL, train, dev) == Ceiling(0.6, 1, 1, 5, "label")
    assert ceiling_of(LABEL, train, rows(("one", "a"))) == Ceiling(1.0, 0, 0, 1, "label")
    assert ceiling_of(LABEL, train, []) is None
    named = AnswerSettings(column="queue", labels=("a", "b", "c"))
    assert ceiling_of(named, train, dev) == Ceiling(0.8, 0, 1, 5, "label")  # a rung scores labels that settings name


def test_texts_and_open_lists_have_no_ceiling():
    train, dev = rows(("x", "a")), rows(("one", "b"))
    assert ceiling_of(AnswerSettings(column="c", format="text"), train, dev) is None
    assert ceiling_of(AnswerSettings(column="c", format="list"), train, dev) == Ceiling(1.0, 0, 0, 1, "list")


def test_items_that_training_lacks_limit_the_score_of_a_closed_list():
    dev = rows(("one", "x; new"), ("two", "y"), ("three", "new"), ("four", "x"))
    ceiling = ceiling_of(CLOSED, rows(("a", "x; y")), dev)
    assert ceiling and ceiling.score == pytest.approx((set_f1(["x", "new"], ["x"]) + 1 + 0 + 1) / 4)
    assert replace(ceiling, score=0) == Ceiling(0, 2, 0, 4, "list")


def test_labels_that_training_lacks_and_contradicting_fields_limit_the_score_of_objects():
    def written(kind: str, why: str = "so", tags: tuple[str, ...] = ("x",)) -> str:
        return json.dumps({"kind": kind, "tags": tags, "why": why})

    train = rows(("t", written("a")), ("u", written("b")))
    dev = rows(("one", written("a")), ("One", written("a", tags=("z",))), ("one", written("b")), ("two", written("c")))
    assert ceiling_of(OBJECT, train, dev) == Ceiling(10 / 12, 1, 1, 4, "json")


def test_the_ceiling_is_the_best_of_all_ways_to_answer():
    train = rows(("x", "a"), ("y", "b"))
    dev = rows(("one", "a"), ("one", "b"), ("one", "b"), ("two", "c"), ("two", "a"), ("three", "c"))
    texts = sorted({e.fields["body"] for e in dev})
    ways = (dict(zip(texts, answers, strict=True)) for answers in product("ab", repeat=len(texts)))
    best = max(sum(way[e.fields["body"]] == e.answer for e in dev) for way in ways)
    ceiling = ceiling_of(LABEL, train, dev)
    assert ceiling and ceiling.score == best / len(dev)


def test_unseen_labels_lower_the_ceiling_by_their_share():
    assert unseen_of(LABEL, ["a", "b"], ["a", "b", "c", "c", "d"]) == Unseen({"c": 2, "d": 1}, {}, 3, 5, 0.4)
    assert unseen_of(LABEL, ["a"], ["a"]) == Unseen({}, {}, 0, 1, 1.0)
    named = AnswerSettings(column="queue", labels=("a", "b", "c"))
    assert unseen_of(named, ["a", "b"], ["c"]).affected == 0  # a rung scores the labels that settings name
    assert unseen_of(LABEL, ["a"], []).ceiling == 1.0


def test_unseen_items_of_a_closed_list_leave_the_best_f1_of_the_others():
    unseen = unseen_of(CLOSED, ["x; y"], ["X; y", "x; new", "new"])
    assert (unseen.values, unseen.affected, unseen.rows) == ({"new": 2}, 2, 3)
    assert unseen.ceiling == pytest.approx((1 + set_f1(["x", "new"], ["x"]) + 0) / 3)
    open_list = unseen_of(AnswerSettings(column="tags", format="list"), ["x; y"], ["x; new"])
    assert (open_list.values, open_list.open_items, open_list.ceiling) == ({}, {"new": 1}, 1.0)
    free = AnswerSettings(column="tags", format="list", items="closed", constrained=False)
    assert unseen_of(free, ["x"], ["new"]).ceiling == 1.0  # a model may write the item all the same


def test_unseen_labels_of_a_field_cost_its_share_of_the_object():
    train = ['{"kind": "a", "tags": ["x"], "why": "because"}']
    unseen = unseen_of(OBJECT, train, [*train, '{"kind": "new", "tags": ["z"], "why": "so"}'])
    assert (unseen.values, unseen.open_items, unseen.affected) == ({"kind: new": 1}, {"tags: z": 1}, 1)
    assert unseen.ceiling == pytest.approx((1 + 2 / 3) / 2)
