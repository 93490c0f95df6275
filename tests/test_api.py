import subprocess
import sys

import pytest

import rungwise
from rungwise import RungwiseError, Workspace
from tests.conftest import environment, sided_rows, with_dvc, write_sided


def test_a_workspace_runs_and_answers_with_typed_results(tmp_path):
    rows = [row for side in ("train", "dev", "test") for row in sided_rows(80, side)]
    root = with_dvc(write_sided(tmp_path / "w", rows, target=0.3))
    workspace = Workspace(root)
    (result,) = workspace.run()
    assert (result.task, result.version, result.action) == ("route", 1, "promote") and result.reasons
    task = workspace.status().tasks["route"]
    assert task.champion is not None and task.champion.number == 1 and task.chosen is not None
    assert task.chosen.score is not None and task.chosen.score.low >= task.target == 0.3
    explained = workspace.explain("route")
    assert explained.decision.passes and explained.rungs[0].evidence.rung == "classical" and explained.dev_rows > 20
    by_text = workspace.predict("route", "please the parcel when")
    assert by_text.answer == "delivery" and 0 < by_text.probability <= 1 and by_text.version == 1
    assert workspace.predict("route", fields={"body": "please the parcel when"}) == by_text
    assert workspace.promote("route").action == "keep"
    with pytest.raises(RungwiseError, match="no such task"):
        workspace.predict("other", "text")
    code = (
        "import sys; from rungwise import Workspace; Workspace('.').predict('route', 'a parcel');"
        "print([m for m in sys.modules if m.startswith(('rungwise.training', 'rungwise.planning'))])"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=root, env=environment(), capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", "answering imports neither training nor planning: " + done.stdout + done.stderr


def test_what_can_not_be_used_is_a_rungwise_error_with_its_problem(tmp_path):
    with pytest.raises(RungwiseError) as raised:
        Workspace(tmp_path).status()
    assert raised.value.problem.what == "there is no params.yaml here" and raised.value.problem.do
    assert repr(Workspace(tmp_path)) == f"Workspace('{tmp_path}')" and not list(tmp_path.iterdir())


def test_importing_rungwise_costs_nothing_and_has_no_effects():
    code = (
        "import os, sys; before = dict(os.environ); import rungwise; from rungwise import RungwiseError, Workspace;"
        "heavy = {'torch', 'mlflow', 'pydantic', 'dvc', 'pandas', 'prefect'} & set(sys.modules);"
        "assert not heavy, heavy; assert dict(os.environ) == before; print(rungwise.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == rungwise.__version__
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = rungwise.Nothing
