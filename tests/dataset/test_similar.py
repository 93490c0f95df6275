import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from rungwise.dataset import similar
from rungwise.dataset.similar import Pair, copies, near_pairs, normalised, plain, unwrapped

WORDS = [f"{a}{b}" for a in ("ba", "ko", "mi", "tre", "sul", "fen") for b in ("lar", "den", "ti", "ro", "gas")]
text_lists = st.lists(st.text(max_size=40), max_size=30)


def jaccard(a: str, b: str) -> float:
    grams = [{f" {t} ".ljust(5)[i : i + 5] for i in range(max(1, len(t) - 2))} for t in (a, b)]
    return len(grams[0] & grams[1]) / len(grams[0] | grams[1])


def edited(n: int, seed: int) -> list[str]:
    """Returns n texts, of which every other is an earlier one with some letters changed."""
    draw = random.Random(seed)
    texts: list[str] = []
    for i in range(n):
        if i % 2 and draw.random() < 0.6:
            letters = list(draw.choice(texts))
            for _ in range(draw.randint(1, 3)):
                letters[draw.randrange(len(letters))] = draw.choice("abcdefg")
            texts.append(" ".join("".join(letters).split()))
        else:
            texts.append(" ".join(draw.choices(WORDS, k=draw.randint(4, 14))))
    return texts


def test_near_pairs_are_those_that_looking_at_every_pair_finds():
    texts = edited(800, 1)
    every = {
        (i, j): value
        for i in range(len(texts))
        for j in range(i + 1, len(texts))
        if texts[i] != texts[j] and (value := jaccard(texts[i], texts[j])) >= 0.8
    }
    found = {(p.left, p.right): p.similarity for p in near_pairs(texts, 0.8)}
    assert len(every) > 50 and found.keys() <= every.keys()
    assert all(found[pair] == pytest.approx(every[pair]) for pair in found)
    assert len(found) >= 0.97 * len(every)


def test_the_candidates_are_those_that_the_library_flags():
    from rensa import RMinHash, RMinHashLSH

    texts = edited(600, 2)
    grams, (n_bands, width) = similar._Grams(texts), similar.BANDS
    digests = RMinHash.digest_matrix_from_flat_token_hashes(grams.flat, grams.starts, n_bands * width, 7)
    flags = RMinHashLSH(0.5, n_bands * width, n_bands).query_duplicate_flags_matrix_one_shot(digests)
    assert set(similar._minhash_pairs(grams, similar.BANDS).ravel().tolist()) == set(np.flatnonzero(flags).tolist())


def test_many_equal_candidates_form_one_cluster_without_every_pair():
    texts = [f"the same long sentence about a lost parcel and its driver, seen {chr(97 + i % 26)}" for i in range(200)]
    pairs = near_pairs(texts, 0.8)
    assert len(pairs) < 200 * 33
    joined = csr_array((np.ones(len(pairs)), ([p.left for p in pairs], [p.right for p in pairs])), (200, 200))
    assert connected_components(joined, directed=False)[0] <= 3


def test_of_very_long_texts_some_shingles_are_looked_at_and_copies_still_found(monkeypatch):
    draw = random.Random(5)
    words = [" ".join("".join(draw.choices("abcdefghijklmno", k=6)) for _ in range(300)) for _ in range(20)]
    texts = [*words, "x" + words[3][1:], words[7] + " more"]
    monkeypatch.setattr(similar, "MOST_HASHES", 5_000)
    monkeypatch.setattr(similar, "CHARACTERS_AT_ONCE", 3_000)
    assert sum(map(len, texts)) > 2 * similar.MOST_HASHES
    assert [(p.left, p.right) for p in near_pairs(texts, 0.8)] == [(3, 20), (7, 21)]
    assert [(p.left, p.right) for p in copies(texts[20:], words)] == [(0, 3), (1, 7)]


COPIED = "how do i change the pin of my new card"


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
def test_kinds_of_copies(text, kind):
    others = edited(100, 3)
    found = copies([text], [*others, COPIED])
    assert [(p.right, p.kind) for p in found] == ([(100, kind)] if kind else [])
    assert [p.kind for p in copies([COPIED], [*others, text])] == ([kind] if kind else [])


def test_a_phrase_that_longer_sentences_are_made_of_is_no_copy():
    longer = [f"{x} please tell me what to do about it now that the {x} is gone" for x in WORDS]
    assert copies(["please tell me what to do"], longer) == []


def test_the_closest_copy_is_named():
    found = copies([COPIED], ["how do i change the pin of my new cart", "how do i change the pin of my new card."])
    assert found == [Pair(0, 1, "exact", 1.0)]


def test_texts_in_scripts_without_spaces_are_compared():
    found = copies(["我的银行卡昨天在火车上被偷了"], ["天气怎么样", "我的银行卡昨天在火车上被偷走了"])
    assert [(p.right, p.kind) for p in found] == [(1, "near")]


@settings(max_examples=60, deadline=None)
@given(text_lists, text_lists)
def test_any_text_can_be_compared_and_equal_ones_are_found(left, right):
    found = {p.left: p for p in copies(left, right)}
    assert all(0 <= p.left < len(left) and 0 <= p.right < len(right) and 0 < p.similarity <= 1 for p in found.values())
    equal = {plain(t) for t in right}
    assert all((found[i].kind == "exact") == (plain(t) in equal) for i, t in enumerate(left) if i in found)
    assert all(i in found for i, t in enumerate(left) if plain(t) in equal)
    near_pairs([plain(t) for t in left], 0.8)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab \n", max_size=8), st.text(alphabet="ab \n", max_size=8), text_lists)
def test_unwrapping_takes_off_what_all_have(head, tail, texts):
    wrapped = unwrapped([f"{head}\n{text}\n{tail}" for text in texts])
    assert len(wrapped) == len(texts)
    assert all(w in f"{head}\n{t}\n{tail}" for w, t in zip(wrapped, texts, strict=True))
    assert [len(a) - len(b) for a, b in zip(texts, texts[1:], strict=False)] == [
        len(a) - len(b) for a, b in zip(wrapped, wrapped[1:], strict=False)
    ]


def test_what_is_compared():
    assert normalised("  Ｈello\tWORLD ") == "hello world"
    assert plain("Hello, WORLD! it's 5€") == "hello world it s 5" and plain("?!") == "?!"
