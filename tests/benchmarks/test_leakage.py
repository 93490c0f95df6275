"""The leak benchmark on a part of the rows; skipped where the data is absent."""

import json

from benchmarks.leakage import banking77, false_alarms, measure
from rungwise.dataset.similar import copies


def test_planted_duplicates_are_found_and_unrelated_rows_are_not(shared):
    train, test = banking77(shared, "train")[::5], banking77(shared, "test")[::8]
    kinds = measure(train, test)["kinds"]
    assert {kind: row["found"] > 0.98 for kind, row in kinds.items()} == {
        **dict.fromkeys(kinds, True),
        "swap and a synonym": False,
        "within a sentence": False,
    }
    assert kinds["copy"]["sha256_of_row"] == 1 and kinds["typo"]["equal_message"] == 0
    strangers = [t for t, _ in json.loads((shared / "datasets/clinc150/data_full.json").read_text())["train"]][::5]
    assert false_alarms(strangers, [t for t, _ in test])["called_copies"] <= 5


def test_the_two_texts_that_leak_in_clinc150_are_found(shared):
    clinc = json.loads((shared / "datasets/clinc150/data_full.json").read_text())
    train, test = ([text for text, _ in clinc[side]] for side in ("train", "test"))
    verbatim = set(train) & set(test)
    named = {test[p.left] for p in copies(test, train) if p.kind == "exact"}
    assert len(verbatim) == 2 and verbatim < named
