"""The user's own test and validation files: small ones are taken, and duplicates of training rows are counted."""

import csv
from pathlib import Path

import pytest

from rungwise.config import load
from rungwise.core.errors import DataError
from rungwise.init.init import init
from rungwise.pipeline.stages import run_stage

TOPICS = ("tent", "boat", "stove")


def mails(first: int, n: int) -> list[list[str]]:
    """Returns mails of which no two are near duplicates."""
    numbers = range(first, first + n)
    return [[f"{i * 7919:b} {TOPICS[i % 3]} {i * 104729} {i * 15485863:x}", TOPICS[i % 3]] for i in numbers]


def table(path: Path, rows: list[list[str]]) -> Path:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([["body", "queue"], *rows])
    return path


@pytest.fixture
def said(tmp_path, monkeypatch):
    monkeypatch.setattr("rungwise.init.training.speedup", lambda: 4.0)

    def say(rows, **sides):
        given = {side: table(tmp_path / f"{side}.csv", own) for side, own in sides.items()}
        return "\n".join(
            init(
                tmp_path / "ws",
                table(tmp_path / "rows.csv", rows),
                "body",
                "queue",
                test=given["test"],
                dev=given.get("dev"),
            )
        )

    return say


def test_a_small_test_file_is_taken_and_what_it_can_show_is_said(said, tmp_path):
    text = said(mails(1, 300), test=mails(1000, 20), dev=mails(2000, 40))
    assert "300 training rows in rows.csv. 40 validation rows in dev.csv. 20 test rows in test.csv." in text
    assert (
        "Warning: 20 test rows are too few to show much: 30 are usual; `promote.min_scored` is lowered to 10. Even with "
        "every answer right they show no bar above 0.85, and the bar is 0.9." in text
    )
    assert "with 40 validation rows, a score of 0.95 is needed to pass the bar of 0.9" in text
    settings = load(tmp_path / "ws/params.yaml")
    assert settings.promote.min_scored == 10


def test_a_test_file_that_can_not_show_any_bar_is_refused(said):
    with pytest.raises(DataError) as caught:
        said(mails(1, 300), test=mails(1000, 3))
    assert "3 rows with text and answer, of 3" in str(caught.value) and "4; " in str(caught.value)
    assert "leave out --test" in str(caught.value)


def test_a_small_file_of_training_rows_is_still_refused(said):
    with pytest.raises(DataError, match=r"(?s)too few rows.*50"):
        said(mails(1, 30), test=mails(1000, 100))


def test_test_rows_that_repeat_training_rows_are_counted_and_the_run_accepts_them(said, tmp_path):
    text = said(mails(1, 300), test=[*mails(1, 150), *mails(1000, 10)])
    assert (
        "Warning: 150 of 160 test rows have the text of a training row. A run removes 150 training rows with the text of "
        "a validation or test row." in text
    )
    assert "`split.max_leaked_share` is set to 0.55" in text
    assert "150 rows in rows.csv: about 105 for training, about 45 for validation." in text
    for stage in ("ingest", "validate", "split"):
        run_stage(tmp_path / "ws", stage)
    assert load(tmp_path / "ws/params.yaml").split.max_leaked_share == 0.55


def test_without_other_training_rows_the_sides_are_refused(said):
    with pytest.raises(DataError, match="nearly all training rows are validation or test rows, too"):
        said(mails(1, 120), test=mails(1, 100))
