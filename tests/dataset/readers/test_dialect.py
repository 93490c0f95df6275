"""How a CSV file is quoted is decided on the whole file."""

import csv
import io
import random

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
    assert dialect.quotes and "52 lines inside quotes, from line 52 on, could be whole rows" in dialect.why
    assert not decided(tmp_path, text, quotes=False).why
    assert decided(tmp_path, csv_of('"a \\"b\\" c",d'), escape="\\").escape == "\\"


def test_a_quoted_file_with_merged_rows_and_cells_with_commas_stays_quoted_and_warns(tmp_path):
    lines = [f'"row, {i}",a' for i in range(40)] + ['"he began,a', "plain,b", 'and ended",b']
    dialect = decided(tmp_path, csv_of(*lines))
    assert dialect.quotes and dialect.line == 42 and "3 lines inside quotes" in dialect.why


def test_lines_of_texts_that_end_in_no_known_label_are_not_taken_for_rows(tmp_path):
    letter = '"Dear team, hello\nmy order, number 12\nhas not arrived, please help",a'
    dialect = decided(tmp_path, csv_of(*PLAIN, letter, *PLAIN, letter))
    assert dialect.quotes and not dialect.why


def written(rows, header=("body", "queue"), **settings):
    """Returns what the csv module of Python writes."""
    stream = io.StringIO(newline="")
    csv.writer(stream, **settings).writerows([header, *rows])
    return stream.getvalue()


WORDS = "tent zip van depot bank card refund charge week order pole help canvas today please again parcel".split()
CHANCE = random.Random(3)
TEXTS = [f"{' '.join(CHANCE.sample(WORDS, 6))} {i}" for i in range(300)]
LABELS = [("alpha", "beta", "gamma")[i % 3] for i in range(300)]
REPLIES = [f"We will look at {text[::-1]}" for text in TEXTS]
LETTERS = {
    "a comma at the end of a line": lambda i, text: f"Hello,\n\n{text}",
    "few of them": lambda i, text: f"Hello,\n{text}" if i % 30 == 0 else text,
    "a comma in each line": lambda i, text: f"roses, red\nviolets, blue\n{text}, too",
    "one of them": lambda i, text: f"roses, red\n{text}, too" if i == 70 else text,
    "no space after the comma": lambda i, text: f"roses,red\nviolets,blue\n{text},too",
}


@pytest.mark.parametrize("answers", [LABELS, REPLIES], ids=["labels", "replies"])
@pytest.mark.parametrize("letter", LETTERS)
def test_texts_of_several_lines_are_one_cell_and_nothing_is_doubted(tmp_path, letter, answers):
    rows = [(LETTERS[letter](i, text), answer) for i, (text, answer) in enumerate(zip(TEXTS, answers, strict=True))]
    result = read(tmp_path, written(rows))
    assert [(row.values["body"], row.values["queue"]) for row in result] == rows


def test_texts_of_several_lines_in_the_middle_of_three_columns_are_one_cell(tmp_path):
    rows = [(i, f"Street {i},\nTown, {text}", label) for i, (text, label) in enumerate(zip(TEXTS, LABELS, strict=True))]
    result = read(tmp_path, written(rows, header=("id", "body", "queue")))
    assert [row.values["body"] for row in result] == [row[1] for row in rows]


@pytest.mark.parametrize("answers", [LABELS, REPLIES], ids=["labels", "replies"])
@pytest.mark.parametrize("distance", [1, 3, 50, 200])
@pytest.mark.parametrize("name", ["x.csv", "x.tsv"])
@pytest.mark.parametrize("is_first", [False, True], ids=["text first", "answer first"])
def test_a_stray_quote_that_another_one_closes_merges_no_rows(tmp_path, answers, distance, name, is_first):
    texts = list(TEXTS)
    texts[5], texts[5 + distance] = f'"{texts[5]}', f'{texts[5 + distance]}"'
    delimiter = "," if name == "x.csv" else "\t"
    lines = [
        delimiter.join((answer, text) if is_first else (text, answer))
        for text, answer in zip(texts, answers, strict=True)
    ]
    header = ("queue", "body") if is_first else ("body", "queue")
    note, *rows = read(tmp_path, csv_of(*lines, header=delimiter.join(header)), name)
    assert note.line == 7 and f"otherwise {distance + 1} lines would be lost or merged" in note.text
    assert [row.values["body"] for row in rows] == texts


def mixed(n_texts, *strays):
    """Returns a TSV file with texts of two lines in quotes, and quotes that are not closed."""
    cells = [f'"one\ttwo {i}\nthree"' if i < n_texts else text for i, text in enumerate(TEXTS)]
    opening, closing = strays
    cells[opening], cells[closing] = f'"{cells[opening]}', f'{cells[closing]}"'
    return csv_of(*(f"{c}\t{q}" for c, q in zip(cells, LABELS, strict=True)), header="body\tqueue")


def test_texts_of_several_lines_next_to_stray_quotes_are_a_warning_with_their_line(tmp_path):
    dialect = decided(tmp_path, mixed(8, 150, 154), "x.tsv")
    assert dialect.quotes and dialect.line == 160 and "5 lines inside quotes" in dialect.why
    dialect = decided(tmp_path, mixed(1, 150, 190), "x.tsv")
    assert not dialect.quotes and "otherwise 41 lines would be lost or merged, from line 153 on" in dialect.why
    assert "2 lines that may be a part of a text in quotes (from line 2 on) are rows, too" in dialect.why


@pytest.mark.parametrize("name", ["x.csv", "x.tsv"])
def test_cells_that_begin_with_a_quoted_word_are_read(tmp_path, name):
    delimiter = "," if name == "x.csv" else "\t"
    cells = [f'"Great" {text}' if i % 3 == 0 else text for i, text in enumerate(TEXTS)]
    lines = [f"{cell}{delimiter}{label}" for cell, label in zip(cells, LABELS, strict=True)]
    note, *rows = read(tmp_path, csv_of(*lines, header=f"body{delimiter}queue"), name)
    assert "quotes are ordinary characters" in note.text and [row.values["body"] for row in rows] == cells
