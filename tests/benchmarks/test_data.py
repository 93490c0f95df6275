"""The row benchmark on 3,000 rows; skipped where the data is absent."""

from benchmarks.data import once, peer


def test_every_step_is_measured_and_the_search_has_the_recall_of_datasketch(shared):
    measured = once(shared, 3_000)
    assert set(measured["seconds"]) == {"ingest", "near duplicates", "validate", "split and leak check", "all"}
    assert measured["near_pairs"] > 500 and measured["leaks"] > 100
    compared = peer(shared, 3_000)
    assert compared["recall"] > 0.98 and compared["seconds"] > 0
