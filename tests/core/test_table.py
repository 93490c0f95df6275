from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from rungwise.core.records import Example, to_lines
from rungwise.core.table import Table
from tests.conftest import examples

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ROW = st.builds(
    Example,
    id=TEXT,
    fields=st.fixed_dictionaries({"body": TEXT, "a": TEXT}),
    answer=TEXT,
    source=TEXT,
    line=st.integers(0, 10**9),
    group=TEXT,
    role=st.sampled_from([None, "train", "dev", "test"]),
    parents=st.tuples(TEXT) | st.just(()),
    facts=st.tuples(TEXT, TEXT) | st.just(()),
    references=st.tuples(TEXT, TEXT) | st.just(()),
)


@given(st.lists(ROW, max_size=8))
def test_rows_survive_a_table_and_a_file_byte_for_byte(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("table") / "below" / "rows.jsonl"
    table = Table.of(rows)
    table.write(path)
    assert path.read_bytes().decode() == to_lines(rows)
    assert list(Table.read(path)) == list(table) == rows


def test_a_table_is_a_sequence_of_examples():
    rows = examples(50)
    table = Table.of(rows)
    assert Table.of(table) is table and len(table) == 50
    assert table == rows and rows == table and table != rows[1:] and table != [*rows[1:], rows[0]]
    assert table[7] == rows[7] and table[-1] == rows[-1] and table[10:13] == rows[10:13]
    assert list(table) == rows and list(reversed(table)) == rows[::-1] and rows[3] in table
    assert table.take([4, 2]) == [rows[4], rows[2]] and len(table.take([])) == 0
    assert table.take([4]).id[0] is table.id[4]


def test_fields_are_joined_in_the_order_of_their_names():
    (row,) = examples(1)
    two = replace(row, fields={"b": "second", "a": "first"})
    assert Table.of([two]).joined() == ["first\nsecond"]
    assert Table.of([row]).joined() == [row.fields["body"]] and Table.of([]).joined() == []
