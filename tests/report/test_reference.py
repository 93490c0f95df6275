"""What is known of times and costs, also where a file was cut."""

import pytest

from rungwise.report.read import _seconds
from rungwise.report.reference import _median_seconds
from rungwise.workspace.layout import Paths


@pytest.mark.parametrize(
    ("content", "seconds"),
    [
        (b'{"latency": {"median_seconds": 0.5}}', 0.5),
        (b'{"latency": {"median_seconds": null}}', None),
        (b'{"latency": {"median_seconds": "x"}}', None),
        (b'{"latency": {"median_sec', None),
        (b"{}", None),
        (b"[]", None),
        (b"", None),
        (b"\0\0", None),
        (b"[" * 100_000, None),
    ],
)
def test_a_damaged_record_of_costs_is_as_none(tmp_path, content, seconds):
    path = tmp_path / "cost.json"
    assert _median_seconds(path) is None
    path.write_bytes(content)
    assert _median_seconds(path) == seconds


@pytest.mark.parametrize(
    ("content", "seconds"), [(b'{"seconds": 2.5}', 2.5), (b'{"seconds": "x"}', None), (b'{"seco', None), (b"[]", None)]
)
def test_a_damaged_record_of_training_time_is_as_none(tmp_path, content, seconds):
    assert _seconds(tmp_path, "a") is None
    path = Paths(tmp_path).attempts / "train-a" / "cost.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert _seconds(tmp_path, "a") == seconds
