import pytest

from rungwise.generate.prompt import texts_of


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('["a", "b"]', ("a", "b")),
        ('Here you are:\n```json\n["a"]\n```', ("a",)),
        ("[1]", None),
        ('{"a": "b"}', None),
        ("[" * 100_000, None),
        ("] [", None),
        ("", None),
    ],
)
def test_the_json_array_in_an_answer_is_found(content, found):
    assert texts_of(content) == found
