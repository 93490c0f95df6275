import re

import pytest

from rungwise.core.errors import SettingsError
from rungwise.core.recipes import RECIPES
from rungwise.workspace.layout import check_graph
from rungwise.workspace.upgrade import upgrade
from tests.conftest import REPOSITORY, error_of, with_dvc


def make_old(workspace):
    """Changes the workspace to the files of version 0.1."""
    graph = workspace / "dvc.yaml"
    old = re.sub(
        r"python -P -m rungwise\.pipeline\.stages (\w+) --recipe \d+",
        r"python -m components.stages \1 --recipe 1",
        graph.read_text(),
    )
    old = old.replace("tasks, bars, ladder", "tasks, ladder")
    graph.write_text(old[: old.index("# What `dvc metrics`")])
    (workspace / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  ingest:\n    cmd: exec python -m components.stages ingest --recipe 4\n"
    )
    params = workspace / "params.yaml"
    text = params.read_text().replace("train: {steps: 20,", "train: {steps: 20, look_every: 5,")
    text = text.replace("bars: {route: 0.9}\n", "").replace("{column: queue}\n", "{column: queue}\n    target: 0.9\n")
    params.write_text(text)


def test_an_older_workspace_is_refused_and_then_upgraded(workspace, rungwise):
    make_old(workspace)
    with pytest.raises(SettingsError, match="another version of a stage(.|\n)*`rungwise upgrade`"):
        check_graph(workspace)
    root = with_dvc(workspace)
    refused = error_of(rungwise(root, "run"))
    assert "dvc.yaml is for another version of a stage" in refused and "`rungwise upgrade`" in refused
    done = rungwise(root, "upgrade")
    assert done.returncode == 0, done.stderr
    assert "params.yaml: tasks.route.target is now bars.route" in done.stdout
    assert "params.yaml: train.look_every is now train.eval_every" in done.stdout and "dvc.yaml: " in done.stdout
    assert (root / "dvc.yaml").read_text() == (REPOSITORY / "dvc.yaml").read_text()
    assert "rungwise.pipeline.stages ingest --recipe 4" in (root / "dvc.lock").read_text(), "the recipe that was run"
    check_graph(root)
    assert upgrade(root) == [] and "up to date" in rungwise(root, "upgrade").stdout


def test_the_users_own_stages_do_not_change(workspace):
    graph = workspace / "dvc.yaml"
    own = "  mine:\n    cmd: exec python -m components.stages mine --recipe 3\n"
    graph.write_text(graph.read_text().replace("# What", own + "# What"))
    assert upgrade(workspace) == ["data/promote/refusals.json: the test rows refused no rung yet"]
    assert upgrade(workspace) == [] and len(RECIPES) == 5


def test_a_missing_graph_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"(?s)there is no dvc.yaml here.*restore it from git"):
        check_graph(tmp_path)
