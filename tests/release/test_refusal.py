"""A rung that passes on validation rows and is refused on test rows is called good enough nowhere."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from rungwise.cli import main as cli
from rungwise.climbing.ladder import last_climb
from rungwise.core.climb_reasons import BestRefused
from rungwise.core.decisions import Climb, Decision
from rungwise.core.errors import RungwiseError, SettingsError, WorkspaceError
from rungwise.core.folders import read_lines
from rungwise.core.gate_reasons import (
    AfterRefusal,
    AskedBefore,
    ChallengerScore,
    ChallengerTooFewScored,
    ChallengerTooManyUnscored,
    OtherData,
    TooFewTestRows,
    UnseenTestAnswers,
)
from rungwise.core.recipes import RECIPES, STAGES
from rungwise.core.records import Evidence, Interval
from rungwise.pipeline.stages import main as stage_main
from rungwise.pipeline.stages import run_stage
from rungwise.release import champion
from rungwise.release.champion import answer
from rungwise.release.connection import Connection
from rungwise.release.gate import Verdict, after_refusal
from rungwise.release.ledger import looks
from rungwise.release.promote import promote
from rungwise.release.refusals import update_refusals
from rungwise.release.register import register
from rungwise.release.registry import Registry
from rungwise.workspace.layout import Paths
from rungwise.workspace.refusals import read_refusals, write_refusals
from tests.conftest import sided_rows, write_sided

DEV = Interval(0.95, 0.92, 0.97, 300, 0.95)


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """A workspace whose test rows have labels by lot, so that the gate refuses the rung that passes."""
    rows = [*sided_rows(200, "train"), *sided_rows(100, "dev"), *sided_rows(100, "test", wrong=0.7)]
    root = write_sided(tmp_path_factory.mktemp("refused") / "ws", rows)
    for verb in STAGES:
        run_stage(root, verb)
    with pytest.raises(RungwiseError) as raised:
        answer(root, "route", {}, "a parcel")
    assert "passes on the validation rows, and is not promoted" in raised.value.problem.found
    assert register(root, "route").version == 1
    assert promote(root, "route").action == "refuse"
    return root


def test_every_place_says_that_the_test_rows_refused_the_rung_and_what_to_do(refused, monkeypatch, capsys):
    monkeypatch.chdir(refused)
    (look,) = read_lines(Paths(refused).ledger)
    (reason,) = look["reasons"]
    score = f"{reason['score']['value']:.3f}"
    advice = "The test rows score clearly lower than the validation rows"
    for command, expected in (
        (["status"], 0),
        (["explain"], 0),
        (["promote", "route"], 1),
        (["predict", "route", "x"], 2),
    ):
        assert cli.main(command) == expected
        shown = "".join(capsys.readouterr())
        assert score in shown and "refuse" in shown and advice in shown, command
        for claim in ("good enough:", "not promoted yet", "Result: classical passes.", "You do not need a language"):
            assert claim not in shown, command
        assert "promotes one" not in shown
    assert cli.main(["status"]) == 0
    assert "refused on the test rows" in capsys.readouterr().out.split("classical  classical")[1].splitlines()[0]
    for name in ("status", "explain"):
        assert cli.main([name, "--json"]) == 0
        printed = json.loads(capsys.readouterr().out)
        task = (printed["tasks"] if name == "status" else printed)["route"]
        assert task["verdict"]["action"] == "refuse" and task["comparison"]["is_enough"] is False
        assert [r["code"] for r in task["verdict"]["reasons"]] == ["challenger_score", "after_refusal"]
    assert len(list(read_lines(Paths(refused).ledger))) == 1  # the same question is not asked twice


def test_mlflow_says_that_the_rung_was_refused(refused):
    with Connection(refused).client() as (_, client):
        (run,) = client.search_runs([client.get_experiment_by_name("rungwise").experiment_id],
                                    "tags.`rungwise.kind` = 'climb'")  # fmt: skip
        version, model = client.get_model_version("route", "1"), client.get_registered_model("route")
        picture = client.download_artifacts(run.info.run_id, "ladder.svg")
        note = run.data.tags["mlflow.note.content"]
    assert run.data.tags["rungwise.verdict"] == version.tags["rungwise.verdict"]
    assert version.tags["rungwise.verdict"].startswith("refused: ") and version.tags["rungwise.test_score"]
    assert "- verdict: refused: " in version.description
    assert "refused on the test rows" in note and "refused on the test rows" in Path(picture).read_text()
    assert "The test rows score clearly lower than the validation rows" in note, "what to do next"
    for claim in ("so it passes", "| passes |", "do not need a language model"):
        assert claim not in note, claim
    assert "it passed the gate" not in model.description and "champion" not in model.aliases


def test_without_a_rung_that_passes_no_place_says_to_run_again(refused, tmp_path, monkeypatch, capsys):
    root = write_sided(
        tmp_path / "ws", [row for side in ("train", "dev", "test") for row in sided_rows(80, side, wrong=1)]
    )
    monkeypatch.chdir(root)
    assert cli.main(["predict", "route", "x"]) == 2
    assert "not climbed yet" in capsys.readouterr().err
    for verb in STAGES:
        run_stage(root, verb)
    assert register(root, "route").version is None
    capsys.readouterr()
    for command, words in (
        (["predict", "route", "x"], "no rung passes the bar"),
        (["promote", "route"], "no rung passed"),
    ):
        assert cli.main(command) == 2
        said = capsys.readouterr().err
        assert words in said and "`rungwise explain route` says what would help" in said and "rungwise run" not in said


def test_an_empty_field_is_refused_unless_it_is_optional():
    for fields, text in (({}, ""), ({}, " \n"), ({"body": "\t"}, None)):
        with pytest.raises(SettingsError, match=r"(?s)a field is empty.*body"):
            champion._row(("body",), (), fields, text, "task route, version 1")
    assert champion._row(("body",), (), {}, "a", "") == {"body": "a"}
    assert champion._row(("title", "body"), ("title",), {"body": "a"}, None, "") == {"title": "", "body": "a"}
    with pytest.raises(SettingsError, match=r"(?s)a field is empty.*body"):
        champion._row(("title", "body"), ("title",), {"title": "a", "body": ""}, None, "")
    assert champion._row(("title", "body"), ("title",), {}, "a", "") == {"title": "", "body": "a"}
    with pytest.raises(SettingsError, match=r"(?s)found:  title\n.*wanted: title \(optional\), body"):
        champion._row(("title", "body"), ("title",), {"title": "a"}, None, "")


def test_a_stage_that_dvc_runs_alone_ends_at_the_screen_and_says_so(tmp_path, monkeypatch, capsys):
    rows = [*sided_rows(100, "train"), *sided_rows(60, "dev"), *sided_rows(60, "test")]
    root = write_sided(tmp_path / "ws", rows)
    monkeypatch.chdir(root)
    for verb in STAGES:
        assert stage_main([verb, "--recipe", str(RECIPES[verb])]) == 0
    said = capsys.readouterr().err
    assert said.count("the test rows were not scored: `rungwise run` registers rungs that pass, and asks the gate") == 1
    assert Paths(root).refusals.read_text() == "[]\n" and not Paths(root).ledger.exists()


def test_a_ladder_that_the_test_rows_refused_ends_and_says_what_to_do(refused, tmp_path, monkeypatch, capsys):
    root = tmp_path / "ws"
    shutil.copytree(refused, root)
    assert update_refusals(root) and not update_refusals(root)
    (refusal,) = read_refusals(Paths(root).refusals)
    run_stage(root, "climb")
    last = last_climb(root, "route")
    assert last.decision.action == "exhausted" and last.decision.reasons[-1] == BestRefused("classical")
    assert last.refused == {"classical"} and last.candidate.attempt == refusal.attempt
    monkeypatch.chdir(root)
    advice = "The test rows score clearly lower than the validation rows"
    for command, expected in ((["status"], 0), (["explain"], 0), (["predict", "route", "x"], 2)):
        assert cli.main(command) == expected
        shown = "".join(capsys.readouterr())
        assert "refused on the test rows" in shown and advice in shown and "good enough:" not in shown, command
    params = root / "params.yaml"
    params.write_text(params.read_text().replace("bars: {route: 0.8}", "bars: {route: 0.2}"))
    assert update_refusals(root) and read_refusals(Paths(root).refusals) == ()  # it was refused under another bar
    run_stage(root, "climb")
    assert last_climb(root, "route").decision.passes


def test_a_refusal_holds_for_its_bar_metric_and_test_rows(refused, tmp_path):
    root = tmp_path / "ws"
    shutil.copytree(refused, root)
    update_refusals(root)
    (refusal,) = read_refusals(Paths(root).refusals)
    other = [replace(refusal, bar=0.7), replace(refusal, metric="fields"), replace(refusal, task="other")]
    write_refusals(Paths(root).refusals, other)
    run_stage(root, "climb")
    assert last_climb(root, "route").decision.passes
    set_gate(root, min_scored=25)  # another question: the gate decides again from what was measured
    assert update_refusals(root) and read_refusals(Paths(root).refusals) == ()
    set_gate(root, min_scored=20)
    line = json.loads(Paths(root).ledger.read_text())
    del line["seal"]
    Paths(root).ledger.write_text(json.dumps({**line, "test": "other rows"}) + "\n")
    update_refusals(root)
    assert read_refusals(Paths(root).refusals) == ()


def test_a_damaged_file_of_refusals_is_named_and_written_again(refused, tmp_path):
    root = tmp_path / "ws"
    shutil.copytree(refused, root)
    for text in ("[{", '{"a": 1}', '[{"task": "route"}]', "\xff", "[" * 100_000):
        Paths(root).refusals.write_bytes(text.encode("latin-1"))
        with pytest.raises(WorkspaceError, match=r"(?s)refusals of the test rows can't be read.*refusals.json"):
            run_stage(root, "climb")
        assert update_refusals(root) and len(read_refusals(Paths(root).refusals)) == 1


def climb(passes: bool = True) -> Climb:
    evidence = Evidence("small", "lora", "b", "", "a1", DEV, 300, {}, 900, {}, 1, 1, 1)
    return Climb("route", "accuracy", 0.9, (evidence,), Decision("stop", "small", passes, ()), ())


@pytest.mark.parametrize(
    ("reason", "cause", "rows"),
    [
        (ChallengerScore("accuracy", Interval(0.8, 0.75, 0.85, 300, 0.95), 0.9, False), "unlike_validation", None),
        (ChallengerScore("accuracy", Interval(0.93, 0.89, 0.96, 300, 0.95), 0.9, False), "too_few_rows", 914),
        (ChallengerScore("accuracy", Interval(0.902, 0.86, 0.93, 300, 0.95), 0.9, False), "too_few_rows", None),
        (ChallengerScore("accuracy", Interval(0.89, 0.85, 0.93, 300, 0.95), 0.9, False), "below_bar", None),
        (ChallengerTooFewScored(3, 30), "not_scored", None),
        (ChallengerTooManyUnscored(90, 300, 0.05), "not_scored", None),
    ],
)
def test_what_to_do_follows_from_why_the_gate_refused(reason, cause, rows):
    expected = AfterRefusal("small", cause, rows, "large")
    assert after_refusal(climb(), ["small", "large"], Verdict("refuse", (reason,))) == expected


def test_there_is_no_advice_where_the_gate_did_not_refuse_the_rung_that_passes():
    reason = ChallengerTooFewScored(3, 30)
    assert after_refusal(climb(), ["small"], Verdict("keep", (reason,))) is None
    assert after_refusal(climb(), ["small"], Verdict("refuse", (OtherData(1, "a", "b"),))) is None
    assert after_refusal(climb(passes=False), ["small"], Verdict("refuse", (reason,))) is None


def test_no_other_rung_is_advised_where_the_test_rows_refuse_every_rung():
    few = Verdict("refuse", (TooFewTestRows(27, 30),))
    assert after_refusal(climb(), ["small", "large"], few) == AfterRefusal("small", "few_test_rows", None, None)
    unseen = Verdict("refuse", (UnseenTestAnswers(("gamma",), 34, 100, 0.66, 0.9),))
    assert after_refusal(climb(), ["small", "large"], unseen) == AfterRefusal("small", "unseen_answers", None, None)
    low = ChallengerScore("accuracy", Interval(0.8, 0.75, 0.85, 300, 0.95), 0.9, False)
    verdict = Verdict("refuse", (low, UnseenTestAnswers(("gamma",), 20, 300, 0.93, 0.9)))
    assert after_refusal(climb(), ["small", "large"], verdict) == AfterRefusal("small", "unseen_answers", None, "large")


def climbed(root, rows, **settings):
    """A workspace whose rung passes and is registered."""
    write_sided(root, rows, **settings)
    for verb in STAGES:
        run_stage(root, verb)
    assert register(root, "route").version == 1
    return root


def set_gate(root, **values):
    params = root / "params.yaml"
    lines = [line for line in params.read_text().splitlines() if not line.startswith("promote:")]
    params.write_text("\n".join([*lines, f"promote: {json.dumps(values)}"]) + "\n")


def test_too_few_test_rows_are_refused_without_a_look(tmp_path, monkeypatch, capsys):
    rows = [*sided_rows(200, "train"), *sided_rows(100, "dev"), *sided_rows(27, "test")]
    root = climbed(tmp_path / "ws", rows, target=0.6)
    set_gate(root, min_scored=30)
    verdict = promote(root, "route")
    assert verdict.action == "refuse" and verdict.reasons[0] == TooFewTestRows(27, 30)
    assert not Paths(root).ledger.exists()
    monkeypatch.chdir(root)
    for command, code in ((["status"], 0), (["explain"], 0), (["promote", "route"], 1), (["predict", "route", "x"], 2)):
        assert cli.main(command) == code
        shown = "".join(capsys.readouterr())
        assert "There are only 27 test rows, and `promote.min_scored` requires 30" in shown, command
        assert "lower `promote.min_scored`" in shown and "could be scored" not in shown, command
    assert not Paths(root).ledger.exists()
    set_gate(root, min_scored=27)
    assert promote(root, "route").action == "promote" and len(list(read_lines(Paths(root).ledger))) == 1


def test_test_labels_that_training_lacks_are_refused_without_a_look(tmp_path, monkeypatch, capsys):
    other = [(text, "gamma", side) for text, _, side in sided_rows(34, "test", seed=5)]
    rows = [*sided_rows(200, "train"), *sided_rows(100, "dev"), *sided_rows(66, "test"), *other]
    root = climbed(tmp_path / "ws", rows)
    verdict = promote(root, "route")
    assert verdict.reasons[0] == UnseenTestAnswers(("gamma",), 34, 100, 0.66, 0.8) and verdict.action == "refuse"
    monkeypatch.chdir(root)
    assert cli.main(["status"]) == 0
    shown = capsys.readouterr().out
    assert "34% of the test rows" in shown and "'gamma'" in shown and "the ceiling is 0.66" in shown
    assert not Paths(root).ledger.exists()


def test_a_changed_gate_decides_again_from_the_recorded_look(tmp_path, monkeypatch):
    from rungwise.release import promote as module

    rows = [*sided_rows(200, "train"), *sided_rows(100, "dev"), *sided_rows(80, "test")]
    root = climbed(tmp_path / "ws", rows, target=0.6)
    set_gate(root, max_unscored_share=0.0, min_scored=80)
    climb_ = last_climb(root, "route")
    assert module.pending(root, climb_) == (True, "classical passes, and the test rows were not scored yet")
    with monkeypatch.context() as patched:
        patched.setattr(module, "judge", lambda *_: Verdict("refuse", (ChallengerTooFewScored(79, 80),)))
        assert promote(root, "route").action == "refuse"
    assert module.pending(root, climb_) == (False, "the same question is not asked of the test rows again")
    set_gate(root, min_scored=81)
    assert module.pending(root, climb_) == (False, "classical is refused before the test rows are scored")
    set_gate(root, min_scored=40)
    again = "a setting of the gate changed: it decides again from the recorded scores, without a second look"
    assert module.pending(root, climb_) == (True, again)
    monkeypatch.setattr(module, "measured", lambda *_: pytest.fail("the test rows were scored again"))
    verdict = promote(root, "route")
    first, second = looks(Paths(root).ledger, "route")
    assert verdict.action == "promote" and verdict.reasons[-1] == AskedBefore(first["when"])
    assert second["when"] == first["when"] and second["decided"]
    assert Registry(root).aliases("route")["champion"].number == 1
    assert module.pending(root, climb_) == (False, "classical was promoted")
    line = {key: value for key, value in first.items() if key not in ("measured", "reasons")} | {"reasons": []}
    Paths(root).ledger.write_text(json.dumps(line) + "\n")  # a look of an older version
    again = "a setting of the gate changed: the test rows are scored again"
    assert module.pending(root, climb_) == (True, again)
