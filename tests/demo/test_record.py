"""What `record.py --all-rungs` adds to the results of the demonstration."""

from rungwise.config import load
from tests.conftest import REPOSITORY, script


def test_the_prompt_stands_before_the_first_rung_that_trains_a_language_model():
    record, settings = script("record"), load(REPOSITORY / "params.yaml")
    more = record.with_prompt(settings)
    assert [rung.name for rung in more.ladder] == ["classical", "embed", "prompt", "smollm2-135m"]
    assert record.with_prompt(more) is more


def test_only_rungs_that_the_climb_did_not_reach_are_trained(monkeypatch):
    record = script("record")
    trained: list[tuple[str, str]] = []

    def beyond(climb, rung):
        trained.append((climb, rung))
        return {"rung": rung}

    monkeypatch.setattr(record, "settings_of", lambda root: load(REPOSITORY / "params.yaml"))
    monkeypatch.setattr(record, "task_climb", lambda root, settings, name: name)
    monkeypatch.setattr(record, "_beyond", beyond)
    recorded = {"tasks": {"route": {"rungs": [{"rung": "classical", "value": 0.9}]}}}
    record.all_rungs(REPOSITORY, recorded)
    assert [rung["rung"] for rung in recorded["tasks"]["route"]["rungs"]] == [
        "classical", "embed", "prompt", "smollm2-135m",
    ]  # fmt: skip
    assert recorded["tasks"]["route"]["rungs"][0]["value"] == 0.9
    assert trained == [("route", rung) for rung in ("embed", "prompt", "smollm2-135m")]
