"""dvc.yaml, the stages and the settings use the same names."""

import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from rungwise.config import SECTIONS, load
from rungwise.core.recipes import RECIPES, STAGES
from rungwise.workspace.layout import PARAMS
from tests.conftest import REPOSITORY, environment

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
    assert done.returncode == 2 and "another recipe" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("extra", ["great_expectations", "mlflow", "dvc", "prefect", "ruamel", "pandas"])
def test_training_and_predicting_need_none_of_the_pipeline(extra, tmp_path):
    # a folder on the path that hides the package, as on a bare GPU machine
    (tmp_path / f"{extra}.py").write_text(f"raise ImportError('{extra} is not on this machine')")
    code = "import rungwise.training.loop, rungwise.model.predict, rungwise.attempts.run"
    env = environment(PYTHONPATH=f"{tmp_path}:{REPOSITORY / 'components'}")
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_takes_less_than_half_a_second():
    command = [str(Path(sys.executable).parent / "rungwise"), "--help"]
    import time

    fastest = 9.0
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
        fastest = min(fastest, time.perf_counter() - started)
        assert done.returncode == 0 and "promote" in done.stdout
    assert fastest < 0.5
