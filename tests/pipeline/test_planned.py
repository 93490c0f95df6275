import json

import pytest

from rungwise import Workspace
from rungwise.cli import main as cli
from rungwise.core.errors import SettingsError
from rungwise.core.gate_reasons import ClimbedAlone
from rungwise.pipeline.planned import planned, reasons
from rungwise.pipeline.steps import rungs_of_others
from rungwise.release.connection import Connection
from rungwise.release.registry import Registry
from rungwise.report.read import status, status_json
from rungwise.report.run import planned_text
from rungwise.workspace.layout import Paths, settings_of
from tests.conftest import sided_rows, with_dvc, write_sided

SECOND = """\
  urgent:
    prompt: "{body}\\nUrgent:"
    answer: {column: queue}
bars: {route: 0.8, urgent: 0.8}
ladder:
"""


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], []),
        ([{"changed deps": {"data/raw": "modified", "params.yaml": "new"}}, {"changed outs": {"data/ingest": "deleted"}}],
         ["it has not run yet"]),
        ([{"changed deps": {"params.yaml": {"validate": "modified", "tasks": "modified"}}}, "changed command"],
         ["params.yaml: tasks, validate changed", "its recipe changed"]),
        ([{"changed deps": {"data/raw": "modified"}}], ["data/raw changed"]),
        ([{"changed outs": {"data/split": "deleted"}}], ["data/split is missing"]),
        ([{"changed outs": {"data/split": "modified"}}], ["data/split is changed"]),
        ([{"changed deps": {"data/split": "deleted"}}], ["an earlier stage's output is missing"]),
    ],
)  # fmt: skip
def test_why_a_stage_would_run_follows_from_what_dvc_says(entries, expected):
    assert reasons("split", entries) == expected


@pytest.fixture(scope="module")
def two_tasks(tmp_path_factory):
    rows = [row for side in ("train", "dev", "test") for row in sided_rows(80, side)]
    root = write_sided(tmp_path_factory.mktemp("tasks") / "ws", rows)
    params = root / "params.yaml"
    params.write_text(params.read_text().replace("bars: {route: 0.8}\nladder:\n", SECOND))
    return with_dvc(root)


def after_the_climb(root):
    """Takes away what the steps after the climb wrote, and checks that a dry run says that they would run."""
    kept = {path: path.with_name(f"{path.name}.kept") for path in (root / "mlflow.db", Paths(root).history)}
    for path, aside in kept.items():
        path.rename(aside)
        steps = {step.name: step for step in planned(root)}
        does = ("accept",) if path == Paths(root).history else ("register", "promote")
        assert {name for name, step in steps.items() if step.runs == "yes"} == set(does), path
        assert planned_text(planned(root)).startswith(f"A run would begin with {does[0]}.")
        aside.rename(path)
    registry = Registry(root)
    with Connection(root).client() as (_, client):
        model = registry.model("urgent")
        client.delete_registered_model_alias(model, "champion")
        steps = {step.name: step for step in planned(root)}
        assert (steps["register"].runs, steps["promote"].runs) == ("no", "yes")
        assert steps["promote"].why.endswith("urgent: version 1 passed the gate and is not the champion")
        client.set_registered_model_alias(model, "champion", "1")
    assert "version 1 is the champion" in {step.name: step for step in planned(root)}["promote"].why


def test_a_dry_run_says_what_would_run_and_why_and_a_run_of_one_task_trains_no_other(two_tasks, monkeypatch, capsys):
    root = two_tasks
    params = root / "params.yaml"
    monkeypatch.chdir(root)
    assert {step.runs for step in planned(root)} == {"yes"} and not (root / "data/ingest").exists()
    with pytest.raises(SettingsError, match="no such task"):
        planned(root, "other")

    unknown = {step.name: step.runs for step in planned(root, "route")}
    assert (unknown["climb"], unknown["accept"], unknown["promote"]) == ("yes", "perhaps", "perhaps")

    (alone,) = Workspace(root).run("route")
    assert alone.action == "none" and alone.reasons[-1] == ClimbedAlone(("urgent/classical",))
    trained = [path.name for path in Paths(root).attempts.glob("train-*")]
    assert len(trained) == 3, "the rung of the one task, and the same on a quarter and on half of its rows"
    assert not Paths(root).output("climb").exists()
    steps = {step.name: step for step in planned(root)}
    assert [steps[name].runs for name in ("ingest", "augment", "climb")] == ["no", "no", "yes"]
    assert steps["climb"].why.endswith("trained if the climb reaches them: urgent/classical")
    of_one = {step.name: step for step in planned(root, "route")}
    assert "every rung is in the store" in of_one["climb"].why
    for name in ("accept", "register", "promote"):  # as the run before this did none of them
        assert of_one[name].runs == "no" and "would also train urgent/classical" in of_one[name].why
    capsys.readouterr()
    for command, expected in (
        (["status"], ["route: classical is good enough", "only this task was climbed", "urgent: not climbed yet"]),
        (["explain", "route"], ["1. classical", "Result: classical passes."]),
    ):
        assert cli.main(command) == 0
        shown = capsys.readouterr().out
        assert all(words in shown for words in expected), shown
    assert json.loads(json.dumps(status_json(status(root))))["tasks"]["route"]["alone"]
    assert cli.main(["explain", "urgent"]) == 2 and "not climbed yet" in capsys.readouterr().err
    text = params.read_text()
    params.write_text(text.replace("route: 0.8", "route: 0.85"))  # the bar of another question
    assert status(root).tasks["route"].decision is None
    params.write_text(text)
    record = Paths(root).alone("route")
    record.write_text(record.read_text()[:200])
    assert status(root).tasks["route"].decision is None  # a damaged record is none

    capsys.readouterr()
    assert cli.main(["run", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {name: one["action"] for name, one in printed["results"].items()} == {
        "route": "promote",
        "urgent": "promote",
    }
    assert printed["tasks"]["route"]["champion"]["version"] == 1
    assert planned_text(planned(root)).startswith("Nothing changed")
    after_the_climb(root)
    assert not status(root).tasks["route"].is_alone  # the recorded climb comes first

    params.write_text(params.read_text().replace("validate: {min_rows: 20", "validate: {min_rows: 21"))
    assert cli.main(["run", "--dry-run", "--json"]) == 0
    dry = {step["name"]: step for step in json.loads(capsys.readouterr().out)}
    assert (dry["ingest"]["runs"], dry["validate"]["runs"], dry["split"]["runs"]) == ("no", "yes", "perhaps")
    assert dry["validate"]["why"] == "params.yaml: validate changed"
    assert dry["split"]["why"] == "if validate writes something else than last time"

    assert cli.main(["run", "--task", "urgent"]) == 0  # the store has every rung of the other task
    shown = capsys.readouterr().out
    assert "urgent: classical is good enough" in shown and "route" not in shown

    rung = "  - {name: classical, method: classical}\n"
    more = rung + "  - {name: able, base: pocket-s, method: lora, steps: 4}\n"
    params.write_text(params.read_text().replace(rung, more))
    assert cli.main(["run", "--task", "urgent"]) == 0  # the climb of the other task does not reach its new rung
    assert "urgent: classical is good enough" in capsys.readouterr().out
    assert not list(Paths(root).attempts.glob("*able*")) and len(list(Paths(root).attempts.glob("train-*"))) == 6

    params.write_text(params.read_text().replace("decide: {", "decide: {beyond_classical: true, "))
    settings = settings_of(root)  # the climb of the other task would continue to the new rung
    assert settings.decide.beyond_classical and rungs_of_others(root, settings, "urgent") == ["route/able"]
