"""A whole small ladder on a CPU: it climbs when it must, stops when it may, and keeps the better rung."""

import shutil

import pytest

from rungwise.climbing.rungs import train_rung
from rungwise.core.folders import read_json
from rungwise.core.recipes import STAGES
from rungwise.core.records import climb_from_json
from rungwise.pipeline import stages
from rungwise.pipeline.stages import run_stage
from rungwise.workspace.layout import Paths
from tests.conftest import make_base, write_workspace

WEAK = "{name: weak, base: bases/weak, method: lora, rank: 1, alpha: 1}"
ABLE = "{name: able, base: bases/able, method: lora, rank: 8, alpha: 16}"


def run(tmp_path, base_folder, weak_folder, ladder, **settings):
    """Runs the whole path; returns the climb and the names of the rungs that were trained."""
    settings = {"rows": 400, "steps": 120, "target": 0.85, **settings}
    lines = "".join(f"  - {rung}\n" for rung in ladder)
    root = write_workspace(tmp_path / "ws", base_folder, ladder=lines, **settings)
    shutil.copytree(weak_folder, root / "bases" / "weak")
    for verb in STAGES[:-1]:
        run_stage(root, verb)
    trained: list[str] = []

    def train(one, rung):
        trained.append(rung)
        return train_rung(one, rung)

    (climb,) = stages.climb(root, train=train)
    assert climb == climb_from_json(read_json(Paths(root).output("climb") / "route/climb.json"))
    return climb, trained


def test_a_task_that_is_too_much_for_the_lower_rung_climbs_to_the_upper(tmp_path, base_folder, weak_folder):
    climb, trained = run(tmp_path, base_folder, weak_folder, [WEAK, ABLE])
    weak, able = climb.evidence
    assert trained == ["weak", "able"]
    assert weak.score.high < 0.6 and able.score.low >= 0.85
    assert (climb.decision.action, climb.decision.rung, climb.decision.passes) == ("stop", "able", True)


def test_a_context_that_is_too_short_is_no_evidence_against_the_task(tmp_path, base_folder, weak_folder):
    short = make_base(tmp_path / "short", context=6)
    climb, trained = run(tmp_path, base_folder, short, [WEAK, ABLE])
    weak, able = climb.evidence
    assert trained == ["weak", "able"]
    assert weak.score is None and weak.unscored == {"not_trained": weak.n} and "context of 6 tokens" in weak.note
    assert climb.decision.rung == "able" and climb.decision.passes
    assert "weak: no score" in climb.decision.reasons[0]


def test_where_the_lower_rung_passes_the_upper_is_never_trained(tmp_path, base_folder, weak_folder):
    climb, trained = run(tmp_path, base_folder, weak_folder, [ABLE, WEAK])
    assert trained == ["able"] and climb.decision.rung == "able" and climb.decision.passes
    assert "weak is not tried: a cheaper rung passes." in climb.decision.reasons


@pytest.mark.parametrize("target", [0.999])
def test_an_upper_rung_that_is_worse_leaves_the_lower_kept(tmp_path, base_folder, weak_folder, target):
    climb, trained = run(tmp_path, base_folder, weak_folder, [ABLE, WEAK], target=target)
    assert trained == ["able", "weak"]
    assert (climb.decision.action, climb.decision.rung, climb.decision.passes) == ("exhausted", "able", False)
    assert any("clearly worse. able is kept." in reason for reason in climb.decision.reasons)
