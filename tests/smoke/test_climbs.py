"""A whole small ladder on a CPU: it climbs if no rung passes, ends when one does, and keeps the better rung."""

import shutil

import pytest

from rungwise.climbing.rungs import train_rung
from rungwise.core.climb_reasons import NoScore, NotTried
from rungwise.core.decisions import climb_from_json
from rungwise.core.folders import read_json
from rungwise.core.recipes import STAGES
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


def test_if_the_lower_rung_does_not_pass_the_upper_is_tried(tmp_path, base_folder, weak_folder):
    climb, trained = run(tmp_path, base_folder, weak_folder, [WEAK, ABLE])
    weak, able = climb.evidence
    assert trained == ["weak", "able"]
    assert weak.score.high < 0.6 and able.score.low >= 0.85
    assert (climb.decision.action, climb.decision.rung, climb.decision.passes) == ("stop", "able", True)


def test_a_rung_whose_context_is_too_short_is_not_judged(tmp_path, base_folder, weak_folder):
    short = make_base(tmp_path / "short", context=6)
    climb, trained = run(tmp_path, base_folder, short, [WEAK, ABLE])
    weak, able = climb.evidence
    assert trained == ["weak", "able"]
    assert weak.score is None and weak.unscored == {"not_trained": weak.n} and "context of 6 tokens" in weak.note
    assert climb.decision.rung == "able" and climb.decision.passes
    assert climb.decision.reasons[0] == NoScore("weak", weak.note, "over_context")


def test_if_the_lower_rung_passes_the_upper_is_never_trained(tmp_path, base_folder, weak_folder):
    climb, trained = run(tmp_path, base_folder, weak_folder, [ABLE, WEAK])
    assert trained == ["able"] and climb.decision.rung == "able" and climb.decision.passes
    assert climb.decision.reasons[-1] == NotTried(("weak",))


@pytest.mark.parametrize("target", [0.999])
def test_a_worse_upper_rung_does_not_replace_the_lower(tmp_path, base_folder, weak_folder, target):
    climb, trained = run(tmp_path, base_folder, weak_folder, [ABLE, WEAK], target=target)
    assert trained == ["able", "weak"]
    assert (climb.decision.action, climb.decision.rung, climb.decision.passes) == ("exhausted", "able", False)
    compared = climb.decision.reasons[2]
    assert (compared.rung, compared.other, compared.best) == ("weak", "able", "able") and compared.difference.high < 0
