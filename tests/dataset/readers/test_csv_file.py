import pytest

from rungwise.core.errors import DataError
from rungwise.dataset.readers import Bad, Row
from tests.dataset.conftest import read


def test_csv_with_quotes_newlines_and_a_byte_order_mark(tmp_path):
    result = read(tmp_path, '\ufeffqueue,body\na,"one, ""two""\nthree"\nb,\n')
    assert result == [Row(2, {"body": 'one, "two"\nthree', "queue": "a"}), Row(4, {"body": None, "queue": "b"})]


def test_rows_with_too_many_or_too_few_fields_are_counted_not_fatal(tmp_path):
    result = read(tmp_path, "body,queue\na,b,c\nd\n\ne,f\n")
    assert [r.reason for r in result if isinstance(r, Bad)] == ["too_many_fields", "too_few_fields"]
    assert result[-1] == Row(5, {"body": "e", "queue": "f"})


def test_invalid_bytes_reject_only_their_row(tmp_path):
    result = read(tmp_path, b"body,queue\ngood,a\nb\xffd,b\nfine,c\n")
    assert [type(r) for r in result] == [Row, Bad, Row]
    assert result[1].reason == "not_utf8" and result[1].line == 3
    assert read(tmp_path, b"body,queue\nb\xfcd,b\n", encoding="latin-1") == [Row(2, {"body": "büd", "queue": "b"})]


def test_an_unclosed_quote_rejects_every_line_it_consumes_where_cells_can_be_quoted(tmp_path):
    lines = [*(f"row {i},a" for i in range(50)), '"my screen is 5,b', *(f"row {i},a" for i in range(50))]
    result = read(tmp_path, "body,queue\n" + "\n".join(lines) + "\n", quotes=True)
    bad = [r for r in result if isinstance(r, Bad)]
    assert len(result) == 101 and {r.reason for r in bad} == {"bad_csv"} and bad[0].line == 52 and len(bad) == 51


def test_an_error_about_a_missing_header_shows_little_of_the_first_row(tmp_path):
    with pytest.raises(DataError) as error:
        read(tmp_path, "my card number is 4111111111111111,a\n")
    assert "4111" not in str(error.value)


def test_a_column_may_have_another_name(tmp_path):
    result = read(tmp_path, "Mail text,queue\na,b\n", columns={"body": "Mail text"})
    assert result == [Row(2, {"body": "a", "queue": "b"})]


def test_a_file_without_a_header_has_numbered_columns_and_quotes_can_be_ordinary_characters(tmp_path):
    columns = {"queue": "[0]", "body": "[1]"}
    text = 'ham\tsay "hi to him\nspam\t"win" now\n'
    result = read(tmp_path, text, "x.tsv", columns=columns, header=False, quotes=False)
    assert [r.values for r in result] == [
        {"queue": "ham", "body": 'say "hi to him'},
        {"queue": "spam", "body": '"win" now'},
    ]
    assert [r.line for r in result] == [1, 2]


def test_an_error_about_a_wrong_delimiter_names_the_right_one(tmp_path):
    with pytest.raises(DataError, match=r"set `delimiter: \";\"` in source s"):
        read(tmp_path, "body;queue\na;b\n")
    assert read(tmp_path, "body;queue\na;b\n", delimiter=";") == [Row(2, {"body": "a", "queue": "b"})]
