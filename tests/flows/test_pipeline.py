"""The flow in this process: the error names an input that was edited meanwhile, or who holds the workspace."""

import pytest

from rungwise.climbing import rungs
from rungwise.core.errors import ChangedUnderRun, WorkspaceBusy
from tests.conftest import with_dvc
from tests.workspace.test_workspace import hold


@pytest.fixture
def pipeline(prefect_server, workspace, monkeypatch):
    from rungwise.flows.pipeline import pipeline

    monkeypatch.setenv("RUNGWISE_WORKSPACE", str(with_dvc(workspace)))
    return pipeline


def test_an_edit_while_the_flow_runs_is_an_error_and_nothing_wrong_is_recorded(pipeline, workspace, monkeypatch):
    score = rungs.evaluate_rung

    def edited_meanwhile(climb, rung, *arguments):
        text = (workspace / "params.yaml").read_text()
        (workspace / "params.yaml").write_text(text.replace("bars: {route: 0.9}", "bars: {route: 0.1}"))
        return score(climb, rung, *arguments)

    (workspace / "elsewhere.csv").write_text("body,queue\n")
    with (workspace / "params.yaml").open("a") as stream:
        stream.write("collect: [{name: more, from: elsewhere.csv, to: more.csv}]\n")
    monkeypatch.setattr(rungs, "evaluate_rung", edited_meanwhile)
    with pytest.raises(ChangedUnderRun, match=r"changed: params\.yaml: tasks"):
        pipeline()
    assert (workspace / "data/raw/more.csv").is_file()  # collected before anything was compared
    assert not (workspace / "data/climb").exists()
    assert "climb:" not in (workspace / "dvc.lock").read_text() and "augment:" in (workspace / "dvc.lock").read_text()
    assert [p for p in (workspace / "data/attempts").iterdir() if p.name.startswith("train-")]


def test_a_flow_in_a_busy_workspace_names_the_process_that_holds_it(pipeline, workspace):
    with hold(workspace, 60) as holder:
        with pytest.raises(WorkspaceBusy, match=rf"process {holder.pid} holds the lock \(a long run\)"):
            pipeline()
        holder.kill()
