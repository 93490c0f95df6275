"""A small version of the benchmark of a million rows; skipped, saying so, where the data is absent."""

from benchmarks.data import once, peer


def test_every_step_is_measured_and_the_search_finds_what_the_other_one_does(shared):
    found = once(shared, 3_000)
    assert set(found["seconds"]) == {"ingest", "near duplicates", "validate", "split and leak check", "all"}
    assert found["near_pairs"] > 500 and found["leaks"] > 100
    beside = peer(shared, 3_000)
    assert beside["recall"] > 0.98 and beside["seconds"] > 0
