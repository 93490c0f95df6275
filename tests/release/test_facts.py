"""What MLflow shows, as values: thinned curves, pictures that stay readable, the source of a run."""

import json
import subprocess
from dataclasses import replace

import pytest

from rungwise.core.climb_reasons import WithoutModel
from rungwise.core.decisions import Climb, Decision, Floor
from rungwise.core.gate_reasons import AskedBefore, ChallengerScore
from rungwise.core.records import Evidence, Interval
from rungwise.release.facts import (
    MOST_POINTS,
    Times,
    climb_note,
    curves_of,
    params_of,
    times_of,
    verdict_text,
    version_note,
)
from rungwise.release.gate import Verdict
from rungwise.release.pictures import MOST_LABELS, ladder_picture, pictures_of
from rungwise.release.runs import _source, climb_name
from tests.conftest import with_dvc

SCORE = Interval(0.9, 0.86, 0.93, 300, 0.95)
EVIDENCE = Evidence("tiny", "lora", "pocket-s", "b" * 64, "a" * 64, SCORE, 300, {}, 200, {}, 1000, 10, 5000)
CLIMB = Climb("route", "accuracy", 0.85, (EVIDENCE,), Decision("stop", "tiny", True, ()), (),
              floor=Floor("most frequent answer", Interval(0.3, 0.2, 0.4, 300, 0.95)))  # fmt: skip


def test_a_long_curve_is_thinned_out_and_keeps_its_ends(tmp_path):
    losses = [1 / step for step in range(1, 1001)]
    (tmp_path / "losses.json").write_text(json.dumps({"losses": losses, "scores": [[500, 0.8], [1000, 0.87]]}))
    curves = curves_of(EVIDENCE, tmp_path)
    points = curves["train_loss"]
    assert len(points) <= MOST_POINTS + 1 and points[0] == (1, 1.0) and points[-1] == (1000, 0.001)
    assert curves["held_back_score"] == [(500, 0.8), (1000, 0.87)] and curves["dev_score"] == [(1000, 0.9)]
    assert curves_of(EVIDENCE, None) == {} and times_of(None) == Times()


def test_an_attempt_that_recorded_no_end_has_the_time_of_its_file(tmp_path):
    (tmp_path / "cost.json").write_text('{"seconds": 2.5}')
    times = times_of(tmp_path)
    assert times.end == round(1000 * (tmp_path / "cost.json").stat().st_mtime) and times.end - times.start == 2500


def test_parameters_are_those_of_the_method():
    assert "steps" not in params_of(CLIMB, replace(EVIDENCE, method="classical", base=""), None)
    assert "base" not in params_of(CLIMB, replace(EVIDENCE, method="classical", base=""), None)


def test_the_note_has_the_ladder_and_the_bar():
    note = climb_note(CLIMB, "0123456789ab")
    assert "| tiny | lora | 0.900 (0.860 to 0.930, n=300) | 200 | passes |" in note
    assert "| floor | most frequent answer |" in note and "The bar is 0.85" in note


@pytest.mark.parametrize(
    ("action", "words"), [("promote", "promoted"), ("keep", "not promoted"), ("refuse", "refused")]
)
def test_after_the_verdict_the_note_and_the_picture_say_what_was_decided(action, words):
    score = ChallengerScore("accuracy", Interval(0.607, 0.54, 0.67, 200, 0.95), 0.85, action != "refuse")
    verdict = Verdict(action, (score, AskedBefore("2026")))
    enough = WithoutModel("tiny", SCORE, None, None, True)
    climb = replace(CLIMB, comparison=enough)
    assert "do not need a language model" in climb_note(climb, "0123456789ab")
    note, picture = climb_note(climb, "0123456789ab", verdict), ladder_picture(climb, verdict)
    assert f"{words}: " in note and verdict_text(verdict).startswith(f"{words}: ") and "0.607" in note
    assert f"- verdict: {words}: " in version_note(climb, EVIDENCE, "0123456789ab", verdict)
    assert "2026" not in verdict_text(verdict), "the tag is the same when the gate is asked again"
    for claim in ("so it passes", "do not need a language model", "| passes |"):
        assert action != "refuse" or claim not in note
    said = {"promote": "promoted", "keep": "passes; the champion stays", "refuse": "refused on the test rows"}
    assert said[action] in note and said[action] in picture and (action == "keep" or "passes<" not in picture)


@pytest.mark.parametrize(
    ("n_labels", "names"), [(4, {"ladder.svg", "confusion.svg"}), (MOST_LABELS + 1, {"ladder.svg"})]
)
def test_pictures_show_names_and_stay_readable(tmp_path, n_labels, names):
    rows = [{"expected": f"label-{i % n_labels}", "answer": f"label-{(i + i // 50) % n_labels}"} for i in range(100)]
    (tmp_path / "tiny.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pictures = pictures_of(CLIMB, tmp_path)
    assert set(pictures) == names and all(picture.startswith("<svg") for picture in pictures.values())
    assert "tiny" in pictures["ladder.svg"] and "bar 0.85" in pictures["ladder.svg"]
    assert "label-3" in pictures.get("confusion.svg", "label-3")
    assert pictures_of(CLIMB, tmp_path) == pictures, "equal inputs give equal bytes"
    assert set(pictures_of(replace(CLIMB, metric="chrf"), tmp_path)) == {"ladder.svg"}


def test_the_source_is_the_command_and_the_commit_where_there_is_one(tmp_path):
    assert _source(tmp_path, "the command") == {
        "mlflow.source.name": "the command",
        "mlflow.source.type": "LOCAL",
    }
    (tmp_path / "new").mkdir()
    root = with_dvc(tmp_path / "new")
    assert "mlflow.source.git.commit" not in _source(root, "x"), "a repository without a commit"
    subprocess.run(["git", "commit", "-q", "--allow-empty", "-m", "x"], cwd=root, check=True)
    assert len(_source(root, "x")["mlflow.source.git.commit"]) == 40


def test_a_climb_has_another_name_with_another_bar_or_other_rows():
    names = {climb_name(CLIMB, "a"), climb_name(replace(CLIMB, target=0.8), "a"), climb_name(CLIMB, "b")}
    assert len(names) == 3
