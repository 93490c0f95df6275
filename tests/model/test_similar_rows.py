from rungwise.model.similar_rows import Nearest


def test_the_rows_with_the_same_words_are_nearest():
    index = Nearest(["the parcel is late", "an invoice is wrong", "the tent is torn", "late parcel, again"])
    assert index(["my parcel is late"], 2) == [[0, 3]]
    assert index(["invoice"], 1) == [[1]]


def test_equal_similarity_keeps_the_order_and_nothing_known_gives_the_first():
    index = Nearest(["tent", "tent", "tarp"])
    assert index(["tent", "xyz"], 2) == [[0, 1], [0, 1]]


def test_texts_without_words_have_no_neighbours():
    assert Nearest(["...", ""])(["tent"], 3) == [[]]
    assert Nearest([])(["tent"], 3) == [[]]
