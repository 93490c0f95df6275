import json

import pytest

from rungwise.core.errors import DataError
from rungwise.dataset.readers import Row
from tests.dataset.conftest import read


def test_jsonl_counts_lines_that_are_not_rows(tmp_path):
    lines = [
        b'{"body": "a", "queue": 3}',
        b"{",
        b"[1]",
        b'{"body": NaN, "queue": ["b", 2]}',
        b'{"queue": "c"}',
        b'"\xff"',
    ]
    result = read(tmp_path, b"\n".join(lines), "x.jsonl")
    assert result[0] == Row(1, {"body": "a", "queue": "3"})
    assert [r.reason for r in result[1:3]] == ["bad_json", "bad_json"]
    assert result[3] == Row(4, {"body": None, "queue": ("b", "2")})
    assert result[4] == Row(5, {"body": None, "queue": "c"})
    assert result[5].reason == "not_utf8"


def test_nested_json_by_path(tmp_path):
    document = {
        "Weather": [{"data": [{"text": "will it "}, {"text": "rain"}]}],
        "Music": [{"data": [{"text": "play"}]}],
    }
    columns = {"body": "data[].text"}
    result = read(tmp_path, json.dumps(document), "x.json", ("body", "intent"), records="{intent}.[]", columns=columns)
    assert [r.values for r in result] == [
        {"body": "will it rain", "intent": "Weather"},
        {"body": "play", "intent": "Music"},
    ]
    with pytest.raises(DataError, match="another form"):
        read(tmp_path, json.dumps(document), "x.json", records="[]")
    with pytest.raises(DataError, match="can't be read"):
        read(tmp_path, "{", "x.json")
