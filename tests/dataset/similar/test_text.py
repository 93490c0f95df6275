from hypothesis import given, settings
from hypothesis import strategies as st

from rungwise.core.texts import normalised
from rungwise.dataset.similar import plain, without_shared_ends


def test_normalised_and_plain_text():
    assert normalised("  Ｈello\tWORLD ") == "hello world"
    assert plain("Hello, WORLD! it's 5€") == "hello world it s 5" and plain("?!") == "?!"


@settings(max_examples=60, deadline=None)
@given(
    st.text(alphabet="ab \n", max_size=8),
    st.text(alphabet="ab \n", max_size=8),
    st.lists(st.text(max_size=40), max_size=30),
)
def test_shared_ends_are_removed(head, tail, texts):
    wrapped = without_shared_ends([f"{head}\n{text}\n{tail}" for text in texts])
    assert len(wrapped) == len(texts)
    assert all(w in f"{head}\n{t}\n{tail}" for w, t in zip(wrapped, texts, strict=True))
    assert [len(a) - len(b) for a, b in zip(texts, texts[1:], strict=False)] == [
        len(a) - len(b) for a, b in zip(wrapped, wrapped[1:], strict=False)
    ]
