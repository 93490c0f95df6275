"""What DVC's users type: its metrics, plots, parameters and experiments read the climb's two files."""

import csv
import io
import json
import shutil
import subprocess

import pytest

from rungwise.pipeline.figures import LADDER, METRICS
from rungwise.workspace.layout import Paths
from tests.conftest import environment, sided_rows, with_dvc, write_sided


@pytest.fixture(scope="module")
def climbed(tmp_path_factory):
    rows = [row for side in ("train", "dev", "test") for row in sided_rows(80, side)]
    root = with_dvc(write_sided(tmp_path_factory.mktemp("figures") / "ws", rows))
    (root / ".gitignore").write_text(".rungwise/\ndvc_plots/\n")
    typed(root, "dvc repro")
    typed(root, "git add -A")
    typed(root, "git commit -q -m climbed")
    return root


def typed(root, command):
    program, *rest = command.split()
    program = shutil.which(program, path=environment()["PATH"])
    done = subprocess.run([program, *rest], cwd=root, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_files_have_each_rungs_score_and_no_text_of_rows(climbed):
    folder = Paths(climbed).output("climb")
    metrics = json.loads((folder / METRICS).read_text())["route"]
    climb = json.loads((folder / "route" / "climb.json").read_text())
    (rung,) = climb["evidence"]
    assert metrics["rungs"]["classical"]["score"] == rung["score"]["value"]
    assert (metrics["bar"], metrics["chosen"], metrics["passes"]) == (0.8, "classical", True)
    (line,) = csv.DictReader(io.StringIO((folder / LADDER).read_text()))
    assert line["rung"] == "route/classical" and float(line["low"]) == rung["score"]["low"]


def test_metrics_parameters_and_plots_are_shown_and_compared(climbed):
    assert "route.rungs.classical.score" in typed(climbed, "dvc metrics show")
    place = typed(climbed, "dvc plots show").strip().removeprefix("file://")
    with open(place) as page:
        assert "route/classical" in page.read()

    params = climbed / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace("bars: {route: 0.8}", "bars: {route: 0.7}"))
    assert set(json.loads(typed(climbed, "dvc status --json"))) == {"climb"}, "a changed bar repeats the decision only"
    assert "bars.route" in typed(climbed, "dvc params diff")
    typed(climbed, "dvc repro")
    assert "route.bar" in typed(climbed, "dvc metrics diff")
    params.write_text(before)
    typed(climbed, "dvc repro")
    assert typed(climbed, "git status --porcelain") == "", "the same settings give the same files"


@pytest.mark.slow
def test_an_experiment_with_another_setting_runs_and_is_compared(climbed):
    typed(climbed, "dvc exp run -S validate.min_rows=21 -S evaluate.confidence=0.9")
    wide = typed(climbed, "dvc metrics diff")
    assert "route.rungs.classical.low" in wide
    assert "evaluate.confidence" in typed(climbed, "dvc params diff")
    assert "evaluate.confidence" in typed(climbed, "dvc exp show --csv")
