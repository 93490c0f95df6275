import pytest

from rungwise.core.errors import DataError
from rungwise.dataset.readers import Row
from tests.dataset.conftest import read


def test_lines_of_a_label_and_a_text(tmp_path):
    result = read(tmp_path, b"NUM:dist  How far ?\n\nHUM\nLOC:city Wh\xe4t ?\n", "x.label", ("text", "label"))
    assert result[0] == Row(1, {"text": "How far ?", "label": "NUM:dist"})
    assert [(r.line, r.reason) for r in result[1:]] == [(3, "too_few_fields"), (4, "not_utf8")]
    with pytest.raises(DataError, match="column is missing"):
        read(tmp_path, "a b\n", "x.label", ("text", "queue"))
    fast = b"__label__pay __label__refund Money back ?\n__label__pay how\n__label__pay\n"
    assert read(tmp_path, fast, "x.txt", ("text", "label"))[:2] == [
        Row(1, {"text": "Money back ?", "label": ("pay", "refund")}),
        Row(2, {"text": "how", "label": "pay"}),
    ]
    assert read(tmp_path, fast, "x.txt", ("text", "label"))[2].reason == "too_few_fields"
    many = read(tmp_path, "a b\n", "x.txt", ("text",), format="labelled")
    assert many == [Row(1, {"text": "b"})]
