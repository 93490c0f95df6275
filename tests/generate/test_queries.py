from collections import Counter

from rungwise.config import AugmentSettings
from rungwise.generate.queries import request_of
from tests.generate.conftest import TRAIN


def test_a_request_fills_up_rare_labels():
    counts = Counter(TRAIN.answer)
    settings = AugmentSettings(per_label=min(counts.values()) + 1, targets={"billing": counts["billing"] + 7})
    request = request_of(settings, "route", TRAIN)
    assert request.wanted["billing"] == 7 and sum(request.wanted.values()) - 7 <= 2
