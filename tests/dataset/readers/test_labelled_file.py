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
    many = read(tmp_path, "a b\n", "x.txt", ("text",), format="labelled")
    assert many == [Row(1, {"text": "b"})]
