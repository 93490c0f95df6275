from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from rungwise.dataset.similar.candidates import RUN_WORDS, cross_candidates
from rungwise.dataset.similar.words import WordIds

texts = st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=7).map(" ".join), max_size=6)


def are_alike(left: str, right: str) -> bool:
    """Whether two texts of four or more words have all but at most two words in common."""
    bags = Counter(left.split()), Counter(right.split())
    sizes = [bag.total() for bag in bags]
    shared = (bags[0] & bags[1]).total()
    return min(sizes) >= RUN_WORDS and max(sizes) - shared <= 2


@settings(max_examples=100, deadline=None)
@given(texts, texts)
def test_every_pair_with_nearly_equal_bags_is_a_candidate_once(left, right):
    result = list(cross_candidates(WordIds(left, right)))
    alike = {(i, j) for i, a in enumerate(left) for j, b in enumerate(right) if are_alike(a, b)}
    assert alike <= set(result) and result == sorted(set(result))


def test_a_text_with_the_rarest_run_of_another_is_a_candidate():
    left = ["one two three four"]
    right = ["x y z one two three four five six seven eight nine", "one two five six"]
    assert (0, 0) in set(cross_candidates(WordIds(left, right)))
