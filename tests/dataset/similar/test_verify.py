import pytest

from rungwise.dataset.similar.text import plain
from rungwise.dataset.similar.verify import Verifier
from rungwise.dataset.similar.words import WordIds


def verified(left: str, right: str) -> list[str]:
    """Returns the kinds that the verifier reports for one pair."""
    verifier = Verifier([left], [right], WordIds([plain(left)], [plain(right)]))
    verifier.add(0, 0)
    return [kind for _, _, kind, _ in verifier.duplicates()]


@pytest.mark.parametrize(
    ("left", "right", "kinds"),
    [
        ("where is my parcel now", "where is my parcle now", ["near"]),
        ("i can not log in", "i cannot log in", ["near"]),
        (
            "where is my parcel now",
            "Hello there. Where is my parcel now? Thank you very much in advance",
            ["contained"],
        ),
        ("ab", "ac", []),
        ("where is my parcel", "how do I pay the bill", []),
    ],
)
def test_a_pair_is_reported_with_its_kind(left, right, kinds):
    assert verified(left, right) == kinds == verified(right, left)
