import pytest

from rungwise.core.errors import DataError
from rungwise.core.records import Rejection
from rungwise.dataset.rejections import check_share, in_words
from tests.dataset.conftest import ingested as run


def test_too_many_rejections_stop_with_their_reasons(tmp_path):
    with pytest.raises(DataError, match=r"(?s)2 of 3 rows were rejected.*no_answer: 2 \(first: tickets line 2.*10%"):
        run(tmp_path, "body,queue\nsecret text,\nx,\ny,a\n", max_rejected_share=0.1)


def test_a_message_never_holds_a_rows_text(tmp_path):
    with pytest.raises(DataError) as error:
        run(tmp_path, "body,queue\nsecret text,\n", max_rejected_share=0.1)
    assert "secret" not in str(error.value)


def test_a_failed_expectation_is_said_in_words():
    assert in_words("expect_column_values_to_match_regex:answer") == "answer does not have the required form"
    assert in_words("expect_column_values_to_be_between:words_body") == "body has more words than `validate.max_words`"
    assert in_words("expect_column_values_to_be_unique:body") == "body does not meet expect_column_values_to_be_unique"
    assert in_words("expect_compound_columns_to_be_unique:").startswith("the row does not meet")
    assert in_words("column queue is empty") == "column queue is empty"
    rejections = [Rejection("validate", "rows", 1, "failed_expectation", "expect_column_values_to_match_regex:answer")]
    with pytest.raises(DataError, match=r"failed_expectation: 1 \(first: rows line 1, answer does not have"):
        check_share("validate", rejections, 1, 0.1)
