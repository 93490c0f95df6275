"""Label suspicion on a third of the labels; skipped where the data is absent."""

from benchmarks.leakage import banking77
from benchmarks.suspects import measure


def test_flipped_labels_are_among_the_most_suspicious_rows(shared):
    rows = [row for row in banking77(shared, "train") if row[1] < "card_l"]
    measured = measure(rows, 1)
    assert measured["recall_in_top_tenth"] >= 0.85 and measured["precision_in_as_many_as_were_flipped"] > 0.7
