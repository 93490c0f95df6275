import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rungwise.dataset.similar import Pair, candidates, copies, minhash, near_pairs, plain, within
from tests.dataset.conftest import DUPLICATED, WORDS, edited

text_lists = st.lists(st.text(max_size=40), max_size=30)


def test_duplicates_are_found_from_a_sample_of_the_shingles_of_very_long_texts(monkeypatch):
    draw = random.Random(5)
    words = [" ".join("".join(draw.choices("abcdefghijklmno", k=6)) for _ in range(300)) for _ in range(20)]
    texts = [*words, "x" + words[3][1:], words[7] + " more"]
    monkeypatch.setattr(minhash, "MAX_HASHES", 5_000)
    monkeypatch.setattr(candidates, "MAX_HASHES", 5_000)
    monkeypatch.setattr(minhash, "CHUNK_CHARACTERS", 3_000)
    monkeypatch.setattr(within, "CHUNK_CHARACTERS", 3_000)
    assert sum(map(len, texts)) > 2 * 5_000
    assert [(p.left, p.right) for p in near_pairs(texts, 0.8)] == [(3, 20), (7, 21)]
    assert [(p.left, p.right) for p in copies(texts[20:], words)] == [(0, 3), (1, 7)]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("How do I change\nthe PIN of my new card???", "exact"),
        ("how do i chagne the pin of my new card", "near"),
        ("how do i change the pin of new my card", "near"),
        ("Hello there! How do I change the pin of my new card? Thanks a lot", "contained"),
        ("ok so tell me how do i change the pin of my new card as i said", "contained"),
        ("how do i change the pin of my dog", None),
        ("can you tell me the pin", None),
        ("how do i", None),
    ],
)
def test_kinds_of_duplicates(text, kind):
    others = edited(100, 3)
    result = copies([text], [*others, DUPLICATED])
    assert [(p.right, p.kind) for p in result] == ([(100, kind)] if kind else [])
    assert [p.kind for p in copies([DUPLICATED], [*others, text])] == ([kind] if kind else [])


def test_a_phrase_inside_many_longer_sentences_is_not_a_duplicate():
    longer = [f"{x} please tell me what to do about it now that the {x} is gone" for x in WORDS]
    assert copies(["please tell me what to do"], longer) == []


def test_the_most_similar_duplicate_is_returned():
    result = copies([DUPLICATED], ["how do i change the pin of my new cart", "how do i change the pin of my new card."])
    assert result == [Pair(0, 1, "exact", 1.0)]


def test_texts_in_scripts_without_spaces_are_compared():
    result = copies(["我的银行卡昨天在火车上被偷了"], ["天气怎么样", "我的银行卡昨天在火车上被偷走了"])
    assert [(p.right, p.kind) for p in result] == [(1, "near")]


@settings(max_examples=60, deadline=None)
@given(text_lists, text_lists)
def test_any_texts_can_be_compared_and_equal_ones_are_found(left, right):
    result = {p.left: p for p in copies(left, right)}
    assert all(0 <= p.left < len(left) and 0 <= p.right < len(right) and 0 < p.similarity <= 1 for p in result.values())
    equal = {plain(t) for t in right}
    assert all((result[i].kind == "exact") == (plain(t) in equal) for i, t in enumerate(left) if i in result)
    assert all(i in result for i, t in enumerate(left) if plain(t) in equal)
    near_pairs([plain(t) for t in left], 0.8)
