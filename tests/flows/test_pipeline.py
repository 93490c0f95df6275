"""The flow in this process: the error names an input that was edited meanwhile, or who holds the workspace."""

import base64
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rungwise.climbing import rungs
from rungwise.core.errors import ChangedUnderRun, RungwiseError, WorkspaceBusy
from rungwise.workspace.layout import data_version
from tests.conftest import environment, sided_rows, with_dvc, write_sided
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
    with pytest.raises(ChangedUnderRun, match=r"changed: params\.yaml: bars"):
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


@pytest.fixture
def small(prefect_server, tmp_path, monkeypatch):
    """A workspace with one rung without a language model, as `rungwise.flows.pipeline` would run it."""
    rows = [row for side in ("train", "dev", "test") for row in sided_rows(80, side)]
    root = with_dvc(write_sided(tmp_path / "shop", rows))
    monkeypatch.setenv("RUNGWISE_WORKSPACE", str(root))
    return root


def runs_and_artifacts(n_flows):
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        flows = sorted(client.read_flow_runs(), key=lambda run: run.created)[-n_flows:]
        artifacts = [one for one in client.read_artifacts() if one.flow_run_id in {run.id for run in flows}]
    return flows, {one.key: one for one in artifacts}


def test_a_run_is_named_and_shows_what_each_step_did(small, caplog):
    from rungwise.flows.pipeline import pipeline

    caplog.set_level("INFO")
    assert pipeline() == {"route": "promote"}
    (run,), artifacts = runs_and_artifacts(1)
    assert re.fullmatch(rf"shop: run \d{{4}}-\d\d-\d\d, data {data_version(small)}", run.name)
    assert {"ingest", "validate", "split", "augment", "climb", "ladder-route", "ladder-picture-route"} <= set(artifacts)
    assert "refused" not in artifacts["ladder-route"].description
    assert b"promoted" in base64.b64decode(artifacts["ladder-picture-route"].data.partition("base64,")[2].rstrip(")"))
    assert "240 rows" in artifacts["ingest"].data
    assert artifacts["train-route-classical"].data == artifacts["evaluate-route-classical"].data == 100.0
    address = artifacts["ladder-picture-route"].data
    assert b"classical" in base64.b64decode(address.partition("base64,")[2].rstrip(")"))
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    few = "with 80 test rows, a score of 0.887 is needed to show the bar of 0.8"
    assert any(few in line for line in warned) and few in artifacts["climb"].data.replace("\\", "")
    assert any("climb route on data" in record.getMessage() for record in caplog.records)


def test_every_step_has_an_artifact_also_where_nothing_ran_again(small):
    from rungwise.flows.pipeline import pipeline

    (small / "elsewhere.csv").write_text("body,queue,side\n")
    with (small / "params.yaml").open("a") as stream:
        stream.write("collect: [{name: more, from: elsewhere.csv, to: more.csv}]\n")
    for n_flow, action in ((1, "promote"), (2, "keep")):
        assert pipeline() == {"route": action}
        _, artifacts = runs_and_artifacts(1)
        texts = {key: one.data for key, one in artifacts.items()}
        for step in ("ingest", "validate", "split", "augment", "climb", "drift", "accept"):
            assert texts[step].startswith("| task | rows in | rows out | why |"), (step, texts.get(step))
            assert ("nothing changed, so that it did not run" in texts[step]) == (
                n_flow == 2 and step not in ("drift", "accept")
            )
        assert "| route | 240 | 240 | all kept |" in texts["ingest"]
        assert "| more | 1 | 16 |" in texts["collect"] and "| route/classical | 80 | 80 |" in texts["climb"]
        assert "classical is version 1 in the registry" in texts["register-route"]
        assert f"{action}: " in texts["promote-route"]
        assert ("accepted before" in texts["accept"]) == (n_flow == 2)


def test_the_command_ends_with_our_message_once_and_no_traceback(small):
    params = small / "params.yaml"
    params.write_text(params.read_text().replace("min_rows: 20", "min_rows: 1000"))
    command = [sys.executable, "-m", "rungwise.flows.pipeline"]
    done = subprocess.run(command, cwd=small, env=environment(), capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 2 and "Traceback" not in said, said
    assert said.count("meet an expectation") == 1 and len(said.splitlines()) < 40, said


def test_an_error_of_the_user_is_shown_once_and_without_a_traceback(small, caplog):
    from rungwise.flows.pipeline import pipeline

    params = small / "params.yaml"
    params.write_text(params.read_text().replace("min_rows: 20", "min_rows: 1000"))
    with pytest.raises(RungwiseError):
        pipeline()
    (run,), _ = runs_and_artifacts(1)
    assert run.state.is_failed() and "240" in run.state.message
    records = [one for one in caplog.records if one.name.startswith("prefect.")]
    texts = [one.getMessage() for one in records if "meet an expectation" in one.getMessage()]
    assert len(texts) == 1 and "\n  do:     " in texts[0], texts
    assert not any(one.exc_info or one.exc_text for one in records)


@pytest.fixture
def server():
    """A server of one file of rows that answers with the codes in `codes` first, and counts the requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            code = codes.pop(0) if codes else 200
            self.send_response(code)
            self.send_header("Content-Length", str(len(ROWS) if code == 200 else 0))
            self.end_headers()
            if code == 200:
                self.wfile.write(ROWS)

        do_HEAD = do_GET

        def log_message(self, *arguments):
            pass

    codes: list[int] = []
    asked: list[str] = []
    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_port}/more.csv", codes, asked
    served.shutdown()
    served.server_close()


ROWS = b"body,queue\nthe parcel is late,delivery\n"


@pytest.mark.parametrize(("refused", "ends"), [([503], True), ([503] * 20, False), ([403], False)])
def test_a_server_that_fails_is_asked_again_and_one_that_refuses_is_not(
    small, server, caplog, monkeypatch, refused, ends
):
    from rungwise.flows import pipeline as flow

    monkeypatch.setattr(flow, "RETRIES", {**flow.RETRIES, "retry_delay_seconds": 0})
    address, codes, asked = server
    codes += refused
    with (small / "params.yaml").open("a") as stream:
        stream.write(f"collect: [{{name: more, from: '{address}', to: more.csv}}]\n")
    caplog.set_level("INFO")
    if ends:
        assert flow.pipeline() == {"route": "promote"}
        assert (small / "data/raw/more.csv").read_bytes() == ROWS
    else:
        with pytest.raises(RungwiseError, match=f"HTTP {refused[0]}"):
            flow.pipeline()
        assert len(asked) == min(3, len(refused))
    again = [one.getMessage() for one in caplog.records if "Retry 1/2" in one.getMessage()]
    assert len(again) == (refused[0] == 503) and not any("Problem(" in line for line in again), again
