"""dvc.yaml, the stages and the settings use the same names."""

import os
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

from rungwise.config import SECTIONS, load
from rungwise.core.recipes import RECIPES, STAGES
from rungwise.workspace.layout import PARAMS
from tests.conftest import REPOSITORY, environment, tracked_files

DVC = YAML(typ="safe").load(REPOSITORY / "dvc.yaml")["stages"]


def test_dvc_runs_the_stages_with_their_recipes_and_sections():
    assert tuple(DVC) == STAGES == tuple(RECIPES) == tuple(PARAMS)
    for verb, stage in DVC.items():
        assert stage["cmd"] == f"exec python -P -m rungwise.pipeline.stages {verb} --recipe {RECIPES[verb]}"
        assert tuple(stage["params"]) == PARAMS[verb] and set(PARAMS[verb]) <= set(SECTIONS)
        assert stage["outs"] == [{f"data/{verb}": {"persist": True}}]


def test_the_settings_of_this_repository_are_valid_and_name_every_section():
    load(REPOSITORY / "params.yaml")
    assert set(YAML(typ="safe").load(REPOSITORY / "params.yaml")) == set(SECTIONS)


def test_a_stage_of_another_recipe_is_refused(workspace):
    command = [sys.executable, "-m", "rungwise.pipeline.stages", "ingest", "--recipe", "999"]
    done = subprocess.run(command, cwd=workspace, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "another version of a stage" in done.stderr and "Traceback" not in done.stderr


def test_training_and_predicting_need_none_of_the_pipeline(tmp_path):
    # a folder on the path that hides the packages, as on a bare GPU machine; the error names the one that was imported
    for extra in ("great_expectations", "mlflow", "dvc", "prefect", "ruamel", "pandas"):
        (tmp_path / f"{extra}.py").write_text(f"raise ImportError('{extra} is not on this machine')")
    code = "import rungwise.training.loop, rungwise.model.predict, rungwise.attempts.run"
    env = environment(PYTHONPATH=f"{tmp_path}:{REPOSITORY / 'components'}")
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_takes_less_than_half_a_second():
    # processor time: a clock on the wall would measure what else the machine is doing
    command = [str(Path(sys.executable).parent / "rungwise"), "--help"]
    fastest = 9.0
    for _ in range(3):
        before = os.times()
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
        after = os.times()
        used = after.children_user + after.children_system - before.children_user - before.children_system
        fastest = min(fastest, used)
        assert done.returncode == 0 and "promote" in done.stdout
    assert fastest < 0.5


def test_the_repository_holds_one_dvc_pipeline():
    """DVC takes every file of that name for a pipeline, a link of the package too."""
    assert [name for name in tracked_files() if Path(name).name == "dvc.yaml"] == ["dvc.yaml"]
