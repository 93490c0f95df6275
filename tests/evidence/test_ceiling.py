from itertools import product

from rungwise.core.records import Example
from rungwise.evidence.ceiling import Ceiling, ceiling_of


def rows(*pairs: tuple[str, str]) -> list[Example]:
    return [Example(str(i), {"body": text}, answer, "s", i, str(i)) for i, (text, answer) in enumerate(pairs)]


def test_labels_that_training_lacks_and_contradicting_texts_limit_the_score():
    train = rows(("x", "a"), ("y", "b"))
    dev = rows(("one", "a"), ("One ", "a"), ("one", "b"), ("two", "c"), ("three", "b"))
    assert ceiling_of(train, dev) == Ceiling(0.6, 1, 1, 5)
    assert ceiling_of(train, rows(("one", "a"))) == Ceiling(1.0, 0, 0, 1)
    assert ceiling_of(train, []) is None


def test_the_ceiling_is_the_best_of_all_ways_to_answer():
    train = rows(("x", "a"), ("y", "b"))
    dev = rows(("one", "a"), ("one", "b"), ("one", "b"), ("two", "c"), ("two", "a"), ("three", "c"))
    texts = sorted({e.fields["body"] for e in dev})
    ways = (dict(zip(texts, answers, strict=True)) for answers in product("ab", repeat=len(texts)))
    best = max(sum(way[e.fields["body"]] == e.answer for e in dev) for way in ways)
    ceiling = ceiling_of(train, dev)
    assert ceiling and ceiling.score == best / len(dev)
