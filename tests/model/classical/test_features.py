import numpy as np
import pytest

from rungwise.model.classical import features
from rungwise.model.classical.features import Features, affordable, evenly
from tests.conftest import planted_rows


def test_the_weights_are_those_of_scikit_learn_on_both_kinds_of_n_grams():
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts, others = [t for t, _ in planted_rows(60)], [t for t, _ in planted_rows(9, 2)]
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+", min_df=2).fit(texts)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2).fit(texts)
    expected = np.hstack([words.transform(others).toarray(), letters.transform(others).toarray()]) / np.sqrt(2)
    made = Features.fitted(texts)
    assert made(others).toarray() == pytest.approx(expected, abs=1e-5)
    again = Features.unpacked(*made.packed())
    assert (again(others) != made(others)).nnz == 0


def test_full_width_and_upper_case_letters_are_plain_ones():
    made = Features.fitted(["ＡＢＣ order", "abc"])
    assert (made(["ＡＢＣ"]) != made(["abc"])).nnz == 0 and made(["abc"]).nnz > 0


def test_few_texts_keep_every_word_and_texts_without_letters_are_an_error():
    assert "once" in Features.fitted(["once", "twice"]).words
    with pytest.raises(ValueError, match="empty vocabulary"):
        Features.fitted(["", "  "])


def test_memory_is_bounded_by_evenly_spaced_rows(monkeypatch):
    assert evenly(10, 5).tolist() == [0, 2, 4, 6, 9] and evenly(3, 5).tolist() == [0, 1, 2]
    assert len(affordable(["four"] * 100)) == 100
    monkeypatch.setattr(features, "MAX_CHARACTERS", 200)
    assert len(affordable(["four"] * 100)) == 50
    texts = [t for t, _ in planted_rows(60)]
    assert len(Features.fitted(texts, 1_000_000).words) == 10, "many labels have few features"
    monkeypatch.setattr(features, "MAX_FEATURES", 7)
    assert len(Features.fitted(texts).words) == 7
