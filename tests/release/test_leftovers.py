"""What a killed registration leaves is removed or ended, whichever attempt it was of; what is registered stays."""

import pytest

from rungwise.release.connection import Connection, all_pages
from rungwise.release.leftovers import SCRATCH, remove_leftovers


@pytest.mark.parametrize("is_server", [False, True])
def test_models_without_a_version_go_and_runs_end(tmp_path, monkeypatch, is_server):
    connection = Connection(tmp_path)
    (tmp_path / SCRATCH).mkdir(parents=True)
    with connection.client() as (_, client):
        experiment = connection.experiment(client, "rungwise")

        def make(task, attempt):
            tags = {"rungwise.task": task, "rungwise.attempt": attempt}
            run = client.create_run(experiment, tags=tags).info.run_id
            model = client.create_logged_model(experiment, name="attempt", source_run_id=run, tags=tags)
            folder = tmp_path / "mlartifacts" / "models" / model.model_id / "artifacts"
            folder.mkdir(parents=True)
            return run, model.model_id, folder

        made = {name: make(*name) for name in (("a", "1"), ("a", "2"), ("b", "1"), ("a", "registered"))}
        client.create_registered_model("a")
        client.create_model_version("a", f"models:/{made['a', 'registered'][1]}")
        client.set_terminated(made["a", "registered"][0])
        if is_server:
            monkeypatch.setattr(Connection, "database", None)
        remove_leftovers(connection, "a", "a", ["1"])
        left = {model.model_id for model in all_pages(client.search_logged_models, [experiment], "")}
        status = {name: client.get_run(run).info.status for name, (run, *_) in made.items()}
    # on a server, the runs and models of other attempts may be those of another workspace
    kept = {("b", "1"), ("a", "registered")} | ({("a", "2")} if is_server else set())
    assert left == {made[name][1] for name in kept}
    assert {name for name, (*_, folder) in made.items() if folder.parent.exists()} == kept
    killed = set() if is_server else {("a", "1"), ("a", "2")}
    assert {name for name, state in status.items() if state == "KILLED"} == killed
    assert status["b", "1"] == "RUNNING" and status["a", "registered"] == "FINISHED"
    assert not (tmp_path / SCRATCH).exists()


def test_all_pages_of_a_search_are_read():
    class Page(list):
        token = None

    def search(experiments, query, page_token=None):
        assert experiments == ["1"] and query == "x"
        page = Page([page_token])
        page.token = {None: "2", "2": "3"}.get(page_token)
        return page

    assert list(all_pages(search, ["1"], "x")) == [None, "2", "3"]
    assert list(all_pages(search, [], "x")) == []
