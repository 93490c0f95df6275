import pytest

from rungwise.core.errors import DataError
from tests.dataset.conftest import ingested as run


def test_too_many_rejections_stop_with_their_reasons(tmp_path):
    with pytest.raises(DataError, match=r"(?s)2 of 3 rows were rejected.*no_answer: 2 \(first: tickets line 2.*10%"):
        run(tmp_path, "body,queue\nsecret text,\nx,\ny,a\n", max_rejected_share=0.1)


def test_a_message_never_holds_a_rows_text(tmp_path):
    with pytest.raises(DataError) as error:
        run(tmp_path, "body,queue\nsecret text,\n", max_rejected_share=0.1)
    assert "secret" not in str(error.value)
