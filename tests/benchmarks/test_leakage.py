"""A small version of the leak benchmark; skipped, saying so, where the data is absent."""

import json

from benchmarks.leakage import false_alarms, measure, read
from rungwise.dataset.similar import copies


def test_planted_copies_are_found_and_strangers_are_not(shared):
    data = shared / "datasets"
    train, test = read(data / "banking77/train.csv")[::5], read(data / "banking77/test.csv")[::8]
    found = measure(train, test)["kinds"]
    assert {kind: row["found"] > 0.98 for kind, row in found.items()} == {
        **dict.fromkeys(found, True),
        "swap and a synonym": False,
        "within a sentence": False,
    }
    assert found["copy"]["sha256_of_row"] == 1 and found["typo"]["equal_message"] == 0
    strangers = [t for t, _ in json.loads((data / "clinc150/data_full.json").read_text())["train"]][::5]
    assert false_alarms(strangers, [t for t, _ in test])["called_copies"] <= 5


def test_the_two_texts_that_leak_in_clinc150_are_found(shared):
    clinc = json.loads((shared / "datasets/clinc150/data_full.json").read_text())
    train, test = ([text for text, _ in clinc[side]] for side in ("train", "test"))
    verbatim = set(train) & set(test)
    named = {test[p.left] for p in copies(test, train) if p.kind == "exact"}
    assert len(verbatim) == 2 and verbatim < named
