"""A small version of the benchmark of suspect labels; skipped, saying so, where the data is absent."""

from benchmarks.leakage import read
from benchmarks.suspects import measure


def test_flipped_labels_stand_among_the_most_suspicious_rows(shared):
    rows = [row for row in read(shared / "datasets/banking77/train.csv") if row[1] < "card_l"]
    found = measure(rows, 1)
    assert found["recall_in_top_tenth"] >= 0.85 and found["precision_in_as_many_as_were_flipped"] > 0.7
