"""A champion leaves rows to people where its answers are not sure enough, and every place says the same about it."""

import json
from pathlib import Path
from typing import Any

import pytest

from rungwise.cli import main as cli
from rungwise.core.errors import RegistryError
from rungwise.core.gate_reasons import Threshold, ThresholdOnTest
from rungwise.core.recipes import STAGES
from rungwise.pipeline.stages import run_stage
from rungwise.release.abstain import AT, FOR, NONE, TEST, threshold_in
from rungwise.release.champion import answer
from rungwise.release.connection import Connection
from rungwise.release.ledger import looks
from rungwise.release.promote import promote
from rungwise.release.register import register
from rungwise.release.registry import CHAMPION, Registry, Version
from rungwise.report.read import explain, status
from rungwise.workspace.layout import Paths
from tests.conftest import sided_rows, write_sided


def released(root: Path, *, wrong: float, on_test: float, right: str) -> list[Any]:
    """Makes a workspace with noisy labels, runs it, and returns the reasons of the gate."""
    train, dev = (sided_rows(300, side, wrong=wrong) for side in ("train", "dev"))
    write_sided(root, [*train, *dev, *sided_rows(300, "test", wrong=on_test)], target=0.5)
    with (root / "params.yaml").open("a") as file:
        file.write(f"abstain: {{right: {right}}}\n")
    for verb in STAGES:
        run_stage(root, verb)
    register(root, "route")
    verdict = promote(root, "route")
    assert verdict.action == "promote"
    return list(verdict.reasons)


def champion_of(root: Path):
    return Registry(root).version("route", CHAMPION)


def set_goal(root: Path, right: str) -> None:
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(text.split("abstain:")[0] + f"abstain: {{right: {right}}}\n")


@pytest.fixture(scope="module")
def sure(tmp_path_factory):
    """A workspace whose champion is right on nearly all rows."""
    root = tmp_path_factory.mktemp("sure") / "ws"
    reasons = released(root, wrong=0.04, on_test=0.04, right="{route: 0.9}")
    return root, reasons


def test_a_promoted_version_gets_a_threshold_that_test_rows_agree_with(sure):
    root, reasons = sure
    kept, shown = reasons[-2:]
    assert isinstance(kept, Threshold) and isinstance(shown, ThresholdOnTest)
    assert shown.holds and shown.score.value > 0.9
    tags = champion_of(root).tags
    assert float(tags[AT]) == kept.at and tags[FOR] == "0.9 right, confidence 0.9" and "in agreement" in tags[TEST]
    assert explain(root)["route"].threshold == kept
    assert len(looks(Paths(root).ledger, "route")) == 1


def test_a_row_below_the_threshold_is_for_people(sure, monkeypatch, capsys):
    root, reasons = sure
    monkeypatch.chdir(root)
    at = reasons[-2].at
    clear, unclear = answer(root, "route", {}, "where is my refund"), answer(root, "route", {}, "hm")
    for one in (clear, unclear):
        assert one.threshold == at and one.automatic == (one.probability >= at)
    assert cli.main(["predict", "route", "hm", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["automatic"] is unclear.automatic


def test_status_and_explain_say_what_the_champion_answers_itself(sure, monkeypatch, capsys):
    root, reasons = sure
    monkeypatch.chdir(root)
    assert cli.main(["status"]) == 0
    assert f"itself (0.9 right, confidence 0.9). {champion_of(root).tags[TEST]}" in capsys.readouterr().out
    assert cli.main(["explain"]) == 0
    assert "of 300 validation rows, with a probability" in capsys.readouterr().out
    assert cli.main(["explain", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["route"]["threshold"]
    assert shown["at"] == reasons[-2].at and shown["sentence"].startswith("classical itself can answer")
    assert status(root).tasks["route"].champion.tags[AT]


def test_the_climb_s_run_has_a_picture_of_how_many_answers_are_right(sure):
    root, _ = sure
    with Connection(root).client() as (mlflow, client):
        experiment = client.get_experiment_by_name("rungwise").experiment_id
        runs = client.search_runs([experiment], "tags.`rungwise.kind` = 'climb'")
        names = [file.path for file in client.list_artifacts(runs[0].info.run_id)]
    assert "answered.svg" in names


@pytest.mark.parametrize("text", ["high", "nan", "-0.1", "1.5", ""])
def test_a_threshold_that_was_edited_is_one_error(text):
    with pytest.raises(RegistryError, match=r"(?s)threshold can't be read.*delete the tags rungwise.threshold"):
        threshold_in(Version("route", 3, {AT: text}, "route"))
    assert threshold_in(Version("route", 3, {AT: NONE}, "route")) is None


def test_a_lost_ledger_is_refused_by_the_next_look(sure, monkeypatch, capsys):
    root, _ = sure
    monkeypatch.chdir(root)
    ledger, before = Paths(root).ledger, Paths(root).ledger.read_bytes()
    ledger.unlink()
    assert cli.main(["promote", "route"]) == 2
    assert "a look at the test rows is missing in the ledger" in capsys.readouterr().err
    ledger.write_bytes(before)
    assert cli.main(["promote", "route"]) == 0


def test_another_goal_sets_another_threshold_without_a_look_and_none_removes_it(sure, monkeypatch, capsys):
    root, reasons = sure
    monkeypatch.chdir(root)
    set_goal(root, "{route: 0.8}")
    assert answer(root, "route", {}, "hm").automatic is None
    assert cli.main(["predict", "route", "hm"]) == 0
    assert "has no threshold for `abstain.right` yet" in capsys.readouterr().err
    verdict = promote(root, "route")
    assert verdict.action == "keep" and isinstance(verdict.reasons[-2], Threshold)
    assert verdict.reasons[-2].at <= reasons[-2].at
    assert champion_of(root).tags[FOR] == "0.8 right, confidence 0.9"
    assert promote(root, "route").reasons == verdict.reasons[:-2]  # it is set already
    set_goal(root, "{}")
    promote(root, "route")
    assert not {AT, FOR, TEST} & set(champion_of(root).tags)
    one = answer(root, "route", {}, "hm")
    assert one.automatic is None and one.threshold is None
    assert cli.main(["status"]) == 0
    assert "itself" not in capsys.readouterr().out
    assert len(looks(Paths(root).ledger, "route")) == 1
    set_goal(root, "{route: 0.9}")
    promote(root, "route")


def test_a_threshold_that_test_rows_refute_is_not_used(tmp_path, monkeypatch, capsys):
    reasons = released(tmp_path / "ws", wrong=0.02, on_test=0.3, right="{route: 0.9}")
    kept, shown = reasons[-2:]
    assert kept.at is not None and not shown.holds
    assert champion_of(tmp_path / "ws").tags[AT] == NONE
    one = answer(tmp_path / "ws", "route", {}, "where is my refund")
    assert one.automatic is False and one.threshold is None
    monkeypatch.chdir(tmp_path / "ws")
    assert cli.main(["predict", "route", "where is my refund"]) == 0
    assert "for people: no probability is shown" in capsys.readouterr().out


def test_where_no_threshold_is_shown_all_rows_are_for_people(tmp_path):
    reasons = released(tmp_path / "ws", wrong=0.3, on_test=0.3, right="{route: 0.97}")
    assert isinstance(reasons[-1], Threshold) and reasons[-1].at is None
    one = answer(tmp_path / "ws", "route", {}, "where is my refund")
    assert one.automatic is False and one.threshold is None
