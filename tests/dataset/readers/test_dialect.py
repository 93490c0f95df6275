"""How a CSV file is quoted is decided on the whole file."""

import pytest

from rungwise.config import SourceSettings
from rungwise.dataset.readers import Note, Row, dialect_of
from tests.dataset.conftest import read

PLAIN = [f"row {i},a" for i in range(50)]


def csv_of(*lines, header="body,queue"):
    return "\n".join([header, *lines]) + "\n"


def decided(tmp_path, text, name="x.csv", **settings):
    (tmp_path / name).write_text(text)
    return dialect_of(SourceSettings(name="s", path=name, **settings), tmp_path / name)


@pytest.mark.parametrize(
    ("lines", "quotes", "escape"),
    [
        (PLAIN, True, None),
        ([*PLAIN, '"two\nlines",a', '"one, ""two""",b'], True, None),
        ([*PLAIN, '"two\nlines, and a comma",a'], True, None),
        ([*PLAIN, '"he said \\"no\\" to me, twice",a'], True, "\\"),
        (['"a path C:\\\\",a', *PLAIN], True, None),
        (['"never closed,a', *PLAIN], False, None),
        ([*PLAIN, '"he began,a', *PLAIN, 'and ended",b', *PLAIN], False, None),
        ([f'"row {i}","a"' for i in range(50)] + ['"a 5" screen","b"'], True, None),
    ],
    ids=["plain", "line feeds", "line feeds and a comma", "backslash", "backslash at the end", "unclosed", "merged",
         "all quoted"],
)  # fmt: skip
def test_the_whole_file_decides(tmp_path, lines, quotes, escape):
    dialect = decided(tmp_path, csv_of(*lines))
    assert (dialect.quotes, dialect.escape) == (quotes, escape)
    assert bool(dialect.why) == (not quotes or bool(escape))


def test_what_was_decided_is_said_with_its_first_line_and_no_row_is_lost(tmp_path):
    first, *others = read(tmp_path, csv_of(*PLAIN, '"he began,a', *PLAIN, 'and ended",b'))
    assert first == Note(
        52,
        "quotes are ordinary characters and every line is a row: otherwise 52 lines would be lost or merged, from line 52 on",
    )
    assert len(others) == 102 and all(isinstance(row, Row) for row in others)


def test_settings_are_kept_and_lines_that_look_merged_are_a_note(tmp_path):
    text = csv_of(*PLAIN, '"he began,a', *PLAIN, 'and ended",b')
    dialect = decided(tmp_path, text, quotes=True)
    assert dialect.quotes and "52 lines look like whole rows but stand inside quotes, from line 52 on" in dialect.why
    assert not decided(tmp_path, text, quotes=False).why
    assert decided(tmp_path, csv_of('"a \\"b\\" c",d'), escape="\\").escape == "\\"


def test_a_quoted_file_with_merged_rows_and_cells_with_commas_stays_quoted_and_warns(tmp_path):
    lines = [f'"row, {i}",a' for i in range(40)] + ['"he began,a', "plain,b", 'and ended",b']
    dialect = decided(tmp_path, csv_of(*lines))
    assert dialect.quotes and dialect.line == 42 and "3 lines look like whole rows" in dialect.why


def test_lines_of_texts_that_end_in_no_known_label_are_not_taken_for_rows(tmp_path):
    letter = '"Dear team, hello\nmy order, number 12\nhas not arrived, please help",a'
    dialect = decided(tmp_path, csv_of(*PLAIN, letter, *PLAIN, letter))
    assert dialect.quotes and not dialect.why
