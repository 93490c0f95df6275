"""The command and the flow follow one list of steps, in one order."""

import os

import pytest

from rungwise.core.errors import ChangedUnderRun, DataError
from rungwise.flows.pipeline import PrefectRunner, pipeline
from rungwise.pipeline import repro, steps
from rungwise.pipeline.repro import ReproRunner
from tests.chat_server import closed_port
from tests.conftest import with_dvc, write_workspace

PASSING = "  - {name: rank-8, base: bases/able, method: lora, rank: 8, alpha: 16}\n"


def record_steps(monkeypatch, kind):
    """Returns a list to which a runner's steps are added as they run."""
    done = []
    stages, step = kind.stages, kind.step

    def record_stages(self, name, root, before):
        done.append((name, ""))
        stages(self, name, root, before)

    def record_step(self, name, task, act):
        done.append((name, task))
        return step(self, name, task, act)

    monkeypatch.setattr(kind, "stages", record_stages)
    monkeypatch.setattr(kind, "step", record_step)
    return done


def workspace_with_every_step(tmp_path, base_folder, name):
    root = write_workspace(tmp_path / name, base_folder, ladder=PASSING, steps=60, target=0.3)
    (root / "rows.csv").write_bytes((root / "data/raw/tickets.csv").read_bytes())
    params = root / "params.yaml"
    incumbent = f'{{url: "http://127.0.0.1:{closed_port()}/v1", model: m, consent: true, retries: 0}}'
    more = f"collect:\n  - {{name: crm, from: rows.csv, to: more.csv}}\nincumbent: {incumbent}\n"
    params.write_text(params.read_text() + more)
    return with_dvc(root)


@pytest.mark.slow
def test_the_command_and_the_flow_do_the_same_steps_in_the_same_order(
    tmp_path, base_folder, monkeypatch, prefect_server
):
    by_command = record_steps(monkeypatch, ReproRunner)
    results = steps.run(workspace_with_every_step(tmp_path, base_folder, "command"), ReproRunner())
    by_flow = record_steps(monkeypatch, PrefectRunner)
    monkeypatch.setenv("RUNGWISE_WORKSPACE", str(workspace_with_every_step(tmp_path, base_folder, "flow")))
    ended = pipeline()
    assert by_command == by_flow
    assert tuple(dict.fromkeys(name for name, _ in by_command)) == steps.STEPS
    assert {result.task: result.action for result in results} == ended == {"route": "promote"}


class Broken:
    """A runner whose climb fails, or that changes params.yaml during the step accept."""

    source = "a test"
    name = "a test"

    def __init__(self, during_accept=None):
        self.done, self.during_accept = [], during_accept

    def stages(self, name, root, before):
        self.done.append(name)
        if name == "climb" and not self.during_accept:
            raise DataError("the climb failed")

    def step(self, name, task, act):
        self.done.append(name)
        if name == "accept":
            self.during_accept()
        return []

    def report(self, line):
        pass

    def finished(self, root, task):
        pass


def test_nothing_is_registered_after_a_failed_step(workspace):
    runner = Broken()
    with pytest.raises(DataError, match="the climb failed"):
        steps.run(workspace, runner)
    assert runner.done == ["prepare", "drift", "climb"]


def test_a_pipe_between_the_rows_ends_the_run_before_dvc_opens_it(workspace):
    (workspace / "data/raw/more").mkdir()
    os.mkfifo(workspace / "data/raw/more/x.csv")
    runner = Broken()
    with pytest.raises(DataError, match=r"x\.csv is a pipe"):
        steps.run(workspace, runner)
    assert not runner.done


def test_an_edit_during_a_run_stops_it_before_anything_is_registered(workspace):
    params = workspace / "params.yaml"
    runner = Broken(lambda: params.write_text(params.read_text().replace("seed: 7", "seed: 8")))
    with pytest.raises(ChangedUnderRun, match="params.yaml: seed"):
        steps.run(workspace, runner)
    assert runner.done[-1] == "accept"


def test_rows_are_prepared_before_drift_is_checked_if_drift_can_stop_the_run(workspace, monkeypatch):
    calls = []

    def reproduce(root, *arguments, verbose):
        calls.append(arguments)

    monkeypatch.setattr(repro, "reproduce", reproduce)
    ReproRunner().stages("prepare", workspace, None)
    params = workspace / "params.yaml"
    params.write_text(params.read_text().replace("validate: {", "validate: {drift: {severity: stop}, "))
    ReproRunner().stages("prepare", workspace, None)
    assert calls == [("augment",)]
    params.write_text(params.read_text().replace("severity: stop", "severity: warn"))
    ReproRunner(prepares_first=True).stages("prepare", workspace, None)
    assert calls == [("augment",), ("augment",)]
