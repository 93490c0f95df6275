import random

import numpy as np
import pytest

from rungwise.evidence.metrics import set_f1
from rungwise.model.classical.candidates import candidates
from rungwise.model.classical.features import Features
from rungwise.model.classical.lists import LEVELS, NEVER, Lists, Rule, _Table
from rungwise.model.classical.phrases import Phrases, try_phrases
from tests.model.classical.made_up import LANGUAGES, PRODUCTS, mails


def fitted(texts, items, groups=None):
    features = Features.fitted(texts)
    groups = groups or [str(i) for i in range(len(texts))]
    return features, Lists.fitted(features(texts), texts, items, groups, ";")


def test_the_measure_of_a_rule_is_the_mean_set_f1_of_what_it_lists():
    draw = random.Random(3)
    names = "abcdef"
    known = [{n: (n, draw.random()) for n in names if draw.random() < 0.5} for _ in range(40)]
    phrases = [{n: (n, draw.random()) for n in names if draw.random() < 0.3} for _ in range(40)]
    wanted = [{n for n in names if draw.random() < 0.3} for _ in range(40)]
    table = _Table.of(known, phrases, wanted)
    for rule in [Rule(k, p, e) for k in (0.2, 0.5, NEVER) for p in (0.35, NEVER) for e in (False, True)]:
        if min(rule.known_from, rule.phrase_from) < NEVER:
            listed = [rule.chosen(*row) for row in zip(known, phrases, strict=True)]
            expected = np.mean([set_f1(sorted(w), list(row)) for w, row in zip(wanted, listed, strict=True)])
            assert table.mean_f1(rule) == pytest.approx(expected), rule


def test_an_item_of_both_kinds_is_listed_once_and_the_likeliest_one_can_be_required():
    known, phrases = {"zip": ("zip", 0.6), "tent": ("tent", 0.2)}, {"zip": ("Zip", 0.9)}
    assert Rule(0.5, 0.5).chosen(known, phrases) == {"Zip": 0.9}
    assert Rule(0.5).chosen(known, phrases) == {"zip": 0.6}
    assert Rule(0.8).chosen(known, phrases) == {} and Rule(0.8, NEVER, True).chosen(known, phrases) == {"zip": 0.6}
    assert Rule(0.8, NEVER, True).chosen({}, {}) == {}


def test_items_that_words_only_imply_are_learnt_and_rows_without_items_stay_empty():
    words = {"leaking": "repair; waterproof", "refund": "billing", "thanks": ""}
    draw = random.Random(1)
    rows = [(f"my {draw.choice('abcdefgh')} note {word} please", items) for word, items in words.items()] * 30
    features, model = fitted([t for t, _ in rows], [[i for i in a.split("; ") if i] for _, a in rows])
    texts = ["a note leaking again", "a refund please", "just thanks"]
    answers = model.answers(features(texts), texts)
    assert [items for items, _ in answers] == [["repair", "waterproof"], ["billing"], []]
    assert answers[0][1] > 0.5 and answers[2][1] == 0.0 and model.rule.known_from in LEVELS
    again = Lists.unpacked(*model.packed())
    assert again.answers(features(texts), texts) == answers and model.size > 0


def test_one_group_of_rows_can_not_be_held_out_and_still_gives_a_model():
    texts, items = ["red tent", "blue zip"] * 10, [["tent"], ["zip"]] * 10
    features, model = fitted(texts, items, ["same"] * 20)
    assert [i for i, _ in model.answers(features(texts[:2]), texts[:2])] == [["tent"], ["zip"]]


@pytest.mark.parametrize("language", LANGUAGES)
def test_phrases_that_no_training_row_has_are_found_in_every_script(language):
    products = PRODUCTS[language]
    train, test = mails(language, 160, 1, products[:-2]), mails(language, 30, 2, products[-2:])
    texts, asked = [t for t, _, _ in train], [t for t, _, _ in test]
    features, model = fitted(texts, [[p] for _, _, p in train], [p for _, _, p in train])
    answers = model.answers(features(asked), asked)
    scores = [set_f1([p], items) for (_, _, p), (items, _) in zip(test, answers, strict=True)]
    assert np.mean(scores) > 0.9, (language, answers[:3])
    again = Lists.unpacked(*model.packed())
    assert again.answers(features(asked), asked) == answers


def test_candidates_are_runs_of_words_of_one_sentence_as_written():
    by_phrase = {one.phrase: one for one in candidates("The Zip of my e-mail\n tent. The zip; broke", 2, ";")}
    assert {"The Zip", "Zip of", "e-mail", "e-mail tent", "broke", "tent"} <= set(by_phrase)
    assert not {"tent The", "zip broke", "mail", "zip", "The zip"} & set(by_phrase), "one entry for each key"
    traits = dict(zip(("phrase", "first", "last", "before", "after"), by_phrase["e-mail"].traits, strict=False))
    assert traits == {"phrase": "e-mail", "first": "e-mail", "last": "e-mail", "before": "my", "after": "tent"}
    assert {one.phrase for one in candidates("我买了", 2, ";")} == {"我", "我买", "买", "买了", "了"}
    assert candidates("", 2, ";") == [] and [one.phrase for one in candidates("a b", 2, "b")] == ["a"]


def test_no_phrases_are_looked_for_if_items_do_not_stand_in_the_texts():
    assert try_phrases(["one", "two"] * 9, [["x"], ["y"]] * 9, list("ab") * 9, ";") is None


def test_a_row_does_not_vouch_for_its_own_phrase():
    """Every product is in one group only: how often it was an item says nothing about held-out rows."""
    texts = [f"please send the {name} today" for name in ("tent", "zip", "mug", "axe") for _ in range(5)]
    items = [[text.split()[3]] for text in texts]
    tried = try_phrases(texts, items, [row[0] for row in items], ";")
    assert tried is not None and all(
        max(row, key=lambda k: row[k][1]) == item for row, (item,) in zip(tried.scored, items, strict=True)
    )
    model = Phrases.unpacked(*tried.model.packed())
    (scored,) = model.scored(["please send the lamp today"])
    assert max(scored, key=lambda key: scored[key][1]) == "lamp"
