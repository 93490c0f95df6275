import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from rungwise.climbing.ladder import last_climb
from rungwise.core.decisions import Text
from rungwise.core.errors import RegistryError, RungwiseError, SettingsError, WorkspaceError
from rungwise.core.folders import read_json, read_lines
from rungwise.core.gate_reasons import (
    AlreadyChampion,
    AskedBefore,
    ChampionCompared,
    ChampionFails,
    NotScreened,
    OtherData,
    SpentLook,
)
from rungwise.core.logs import read_log
from rungwise.core.recipes import STAGES
from rungwise.model.base_cache import Source, write_source
from rungwise.pipeline.stages import run_stage
from rungwise.release import promote as promote_module
from rungwise.release import register as register_module
from rungwise.release.champion import answer
from rungwise.release.connection import Connection
from rungwise.release.gate import Verdict
from rungwise.release.ledger import looks
from rungwise.release.promote import promote
from rungwise.release.register import register
from rungwise.release.registry import CHALLENGER, CHAMPION, Registry
from rungwise.release.runs import delete_runs
from rungwise.report.read import status
from rungwise.workspace.layout import Paths, data_version
from tests.conftest import environment, write_workspace

LADDER = """\
  - {name: prompt, base: bases/able, method: prompt, examples: 2}
  - {name: rank-8, base: bases/able, method: lora, rank: 8, alpha: 16}
"""
RELOAD = """
import json, sys, mlflow
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/route@champion")
print(json.dumps([{"answer": a.answer, "probability": a.probability} for a in model.predict(json.loads(sys.argv[2]))]))
"""


@pytest.fixture(scope="module")
def climbed(tmp_path_factory, base_folder):
    """A workspace with a passing climb, registered and promoted."""
    root = write_workspace(
        tmp_path_factory.mktemp("climbed") / "ws", base_folder, rows=400, ladder=LADDER, steps=120, target=0.85
    )
    params = root / "params.yaml"
    params.write_text(params.read_text().replace("train: {", "train: {eval_every: 40, eval_rows: 30, "))
    write_source(root / "bases" / "able", Source("able.gguf", "0" * 64, "llama", {"Q4_1": 14, "F32": 5}))
    for verb in STAGES:
        run_stage(root, verb)
    registered = register(root, "route")
    assert (registered.rung, registered.version) == ("rank-8", 1)
    verdict = promote(root, "route")
    assert verdict.action == "promote", verdict.reasons
    return root


def test_the_tags_of_a_version_describe_its_attempt(climbed):
    version = Registry(climbed).version("route", CHAMPION)
    evidence = next(e for e in last_climb(climbed, "route").evidence if e.rung == "rank-8")
    assert version.number == 1 and version.tags["reload"] == "exact"
    assert version.is_of(evidence.attempt) and version.tags["base"] == "bases/able"
    assert not version.is_of("0" * 64) and f"n={evidence.score.n})" in version.tags["dev_score"]
    identity = Registry(climbed).identity(version)
    assert (identity["attempt"], identity["base_sha256"]) == (evidence.attempt, evidence.base_digest)
    assert version.tags["data_version"] == data_version(climbed)
    assert version.tags["base_quantization"] == "Q4_1"  # as the base's source.json says


def test_the_addresses_of_the_registry_do_not_leak_into_the_environment(climbed, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "sqlite:///of-the-user.db")
    before = dict(os.environ)
    Registry(climbed).version("route", CHAMPION)
    assert dict(os.environ) == before


def test_only_the_adapter_is_stored(climbed):
    with Registry(climbed).attempt_folder(Registry(climbed).version("route", CHAMPION)) as folder:
        names = {p.name for p in folder.iterdir()}
        size = sum(p.stat().st_size for p in folder.rglob("*"))
    assert names == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "data.json",
        "parity.safetensors",
        "result.json",
        "spec.json",
    }
    assert size < (climbed / "bases/able/model.safetensors").stat().st_size * 2


def test_a_run_per_attempt_with_parameters_metrics_cost_and_data_version(climbed):
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{climbed / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("rungwise")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    every = client.search_runs([experiment.experiment_id])
    runs = {r.data.tags["rungwise.rung"]: r for r in every if r.data.tags["rungwise.kind"] == "attempt"}
    assert set(runs) == {"prompt", "rank-8"} and len(every) == 3
    lora = runs["rank-8"]
    shown = runs["prompt"].data.params
    assert shown["template"] == "plain" and shown["calibration"] in ("none", "content_free", "fitted")
    assert "prompting" not in {*shown, *lora.data.params}
    assert lora.data.params["rank"] == "8" and lora.data.metrics["train_seconds"] > 0
    assert {"dev_score", "dev_score_low", "train_tokens"} <= set(lora.data.metrics)
    assert lora.data.tags["rungwise.data_version"] == data_version(climbed)
    assert any(f.path.endswith("safetensors") for f in client.list_artifacts(lora.info.run_id, "attempt"))


def test_runs_show_what_users_of_mlflow_look_for(climbed):
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{climbed / 'mlflow.db'}")
    every = client.search_runs([client.get_experiment_by_name("rungwise").experiment_id])
    (whole,) = [r for r in every if r.data.tags["rungwise.kind"] == "climb"]
    lora, prompt = (next(r for r in every if r.data.tags.get("rungwise.rung") == name) for name in ("rank-8", "prompt"))
    assert {r.data.tags["mlflow.parentRunId"] for r in (lora, prompt)} == {whole.info.run_id}
    took = (lora.info.end_time - lora.info.start_time) / 1000
    assert took == pytest.approx(lora.data.metrics["train_seconds"], abs=0.01)
    assert whole.info.start_time <= lora.info.start_time <= lora.info.end_time <= whole.info.end_time
    assert lora.data.params["metric"] == "accuracy" and float(lora.data.params["learning_rate"]) > 0
    assert "examples" not in lora.data.params and not {"steps", "rank", "alpha"} & set(prompt.data.params)

    losses = client.get_metric_history(lora.info.run_id, "train_loss")
    steps = int(lora.data.params["steps"])
    assert [m.step for m in losses] == list(range(1, steps + 1)) and losses[-1].value < losses[0].value
    scores = client.get_metric_history(lora.info.run_id, "dev_score")
    best = next(e for e in last_climb(climbed, "route").evidence if e.rung == "rank-8").score.value
    assert [(m.step, m.value) for m in scores] == [(steps, best)] and best == lora.data.metrics["dev_score"]
    in_training = client.get_metric_history(lora.info.run_id, "held_back_score")
    assert [m.step for m in in_training] == [40, 80, steps] and all(0 <= m.value <= 1 for m in in_training)
    inputs = {one.dataset.name: one.dataset for one in lora.inputs.dataset_inputs}
    assert set(inputs) == {"route-train", "route-dev"} and inputs["route-dev"].digest == data_version(climbed)
    assert json.loads(inputs["route-dev"].profile)["num_rows"] == lora.data.metrics["dev_rows"]
    assert lora.data.tags["mlflow.source.name"] == "rungwise run"
    assert client.download_artifacts(lora.info.run_id, "identity.json")

    note = whole.data.tags["mlflow.note.content"]
    assert "| rank-8 | lora |" in note and "| promoted |" in note
    assert whole.data.tags["rungwise.verdict"].startswith("promoted: ")
    for run in every:
        assert not [name for name, value in run.data.tags.items() if re.search("[0-9a-f]{32}", value)
                    if name not in ("mlflow.parentRunId", "mlflow.source.git.commit")]  # fmt: skip
    assert "- validation rows: " in lora.data.tags["mlflow.note.content"]
    names = {f.path for f in client.list_artifacts(whole.info.run_id)}
    assert names == {"ladder.svg", "confusion.svg", "answered.svg"}


def test_a_version_shows_its_test_score_its_inputs_and_what_it_is(climbed):
    import mlflow

    uri = f"sqlite:///{climbed / 'mlflow.db'}"
    client = mlflow.MlflowClient(uri, uri)
    version = client.get_model_version("route", "1")
    hashes = [name for name, value in version.tags.items() if re.search("[0-9a-f]{13,}", value)]
    assert not hashes and len(version.tags) <= 13, "hashes are in one file"
    assert version.tags["rungwise.verdict"].startswith("promoted: ")
    look = read_log(Paths(climbed).ledger)[0]
    score = next(reason["score"] for reason in look["reasons"] if reason["code"] == "challenger_score")
    shown = f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f}, n={score['n']})"
    assert version.tags["rungwise.test_score"] == shown and version.tags["rungwise.bar"]
    assert "- test rows: " in version.description and "rank-8" in version.description
    assert "*route*" in client.get_registered_model("route").description
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    info = mlflow.models.get_model_info("models:/route/1")
    assert info.signature.inputs.input_names() == ["body"]
    assert info.signature.outputs.input_names() == ["answer", "probability"]
    model = mlflow.models.Model.load(info.model_uri)
    assert model.load_input_example(mlflow.artifacts.download_artifacts(info.model_uri)) == [{"body": "text of body"}]


def test_a_new_process_answers_exactly_as_was_scored(climbed):
    predictions = list(read_lines(Paths(climbed).output("climb") / "route/predictions/rank-8.jsonl"))
    rows = {row["id"]: row for row in read_lines(Paths(climbed).output("split") / "route/dev.jsonl")}
    inputs = [{"body": rows[p["id"]]["fields"]["body"]} for p in predictions]
    command = [sys.executable, "-W", "ignore", "-c", RELOAD, f"sqlite:///{climbed / 'mlflow.db'}", json.dumps(inputs)]
    done = subprocess.run(
        command, env=environment(RUNGWISE_WORKSPACE=str(climbed)), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result == [{"answer": p["answer"], "probability": p["probability"]} for p in predictions]


def test_registering_and_promoting_again_changes_nothing(climbed):
    before = Paths(climbed).ledger.read_text()
    assert register(climbed, "route").version == 1
    assert promote(climbed, "route") == Verdict("keep", (AlreadyChampion(1),))
    assert Paths(climbed).ledger.read_text() == before and len(before.splitlines()) == 1


def test_the_same_question_is_answered_from_the_ledger(climbed, monkeypatch):
    registry = Registry(climbed)
    champion = registry.version("route", CHAMPION)
    # the same attempt under another data version: no better on validation rows, so the test rows are not scored
    for module in (register_module, promote_module):
        monkeypatch.setattr(module, "data_version", lambda root: "another-data")
    assert register(climbed, "route").version == 2
    verdict = promote(climbed, "route")
    assert verdict.action == "keep" and isinstance(verdict.reasons[-1], NotScreened) and verdict.reasons[-1].p == 1
    monkeypatch.setattr(promote_module, "screen", lambda *_: None)  # with a second look: a tie, at a smaller level
    settings = (climbed / "params.yaml").read_text()
    changed = settings.replace("promote: {min_scored: 20}", "promote: {min_scored: 20, margin: 0.03}")
    (climbed / "params.yaml").write_text(changed)
    verdict = promote(climbed, "route")
    compared, spent = verdict.reasons[-2:]
    assert isinstance(compared, ChampionCompared) and compared.outcome == "no_difference"
    assert isinstance(spent, SpentLook) and spent.look == 2 and verdict.action == "keep"
    assert looks(Paths(climbed).ledger, "route")[-1]["cohort"]["look"] == 2
    n_looks = len(Paths(climbed).ledger.read_text().splitlines())
    again = promote(climbed, "route")
    assert again.action == "keep" and again.reasons[:-1] == verdict.reasons
    assert again.reasons[-1] == AskedBefore(looks(Paths(climbed).ledger, "route")[-1]["when"])
    assert len(Paths(climbed).ledger.read_text().splitlines()) == n_looks
    assert registry.version("route", CHAMPION) == champion
    assert registry.version("route", CHALLENGER).number == 2
    registry.set_alias(champion, CHALLENGER)
    (climbed / "params.yaml").write_text(settings)


def test_a_challenger_of_other_data_is_refused_without_a_test_set_look(climbed, monkeypatch):
    registry, ledger = Registry(climbed), Paths(climbed).ledger.read_text()
    second = registry.version("route", CHAMPION)
    other = replace(second, number=9, tags={**second.tags, "data_version": "older"})
    monkeypatch.setattr(Registry, "version", lambda self, task, alias: other if alias == CHALLENGER else second)
    verdict = promote(climbed, "route")
    assert verdict == Verdict("refuse", (OtherData(9, "older", data_version(climbed)),))
    assert Paths(climbed).ledger.read_text() == ledger


def test_a_ledger_of_an_older_version_is_read(tmp_path):
    line = {"task": "route", "challenger": 1, "action": "keep", "reasons": ["No clear difference."], "when": "2026"}
    (tmp_path / "ledger.jsonl").write_text(json.dumps(line) + "\n")
    assert looks(tmp_path / "ledger.jsonl", "route") == [{**line, "reasons": (Text("No clear difference."),)}]
    assert looks(tmp_path / "ledger.jsonl", "other") == looks(tmp_path / "none.jsonl", "route") == []


@pytest.mark.parametrize(
    "reasons",
    [
        None,
        [{"code": "magic"}],
        [{"code": "challenger_score"}],
        [{"code": "asked_before", "when": "x", "more": 1}],
        [{"code": "asked_before", "when": {}}],
        [{}],
        [3],
    ],
)
def test_a_look_that_is_not_ours_is_named(tmp_path, reasons):
    line = {"task": "route", "action": "keep", "when": "2026-01-01", "reasons": reasons}
    (tmp_path / "ledger.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(WorkspaceError, match=r"(?s)look can't be read.*ledger.jsonl, task route, look of 2026-01-01"):
        looks(tmp_path / "ledger.jsonl", "route")
    (tmp_path / "ledger.jsonl").write_text('{"a": ' + "[" * 100_000 + "\n")
    with pytest.raises(WorkspaceError, match="no JSON object"):
        looks(tmp_path / "ledger.jsonl", "route")


def test_the_text_of_rows_does_not_reach_mlflow(climbed):
    assert (Paths(climbed).attempts / f"train-{last_climb(climbed, 'route').evidence[0].attempt}/shown.json").is_file()
    assert not list((climbed / "mlartifacts").rglob("shown.json"))


def test_an_address_with_a_password_is_not_shown():
    from rungwise.release.connection import _without_secrets

    assert _without_secrets("to http://user:s3cret@host:1/x failed") == "to http://host:1/x failed"


def test_answers_and_status(climbed):
    result = answer(climbed, "route", {}, "please the parcel when")
    assert result.answer == "delivery" and result.version == 1 and 0.25 < result.probability <= 1
    task = status(climbed).tasks["route"]
    assert task.champion.number == 1 and task.decision.passes and task.test_looks
    with pytest.raises(RungwiseError, match="can't be scored"):
        answer(climbed, "route", {}, "parcel " * 300)
    with pytest.raises(RungwiseError, match="no such task"):
        answer(climbed, "../x", {}, "text")


def test_a_changed_base_is_not_answered_with(climbed):
    weights = climbed / "bases/able/model.safetensors"
    kept = weights.read_bytes()
    try:
        weights.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        with pytest.raises(RungwiseError, match=r"(?s)not the one that was trained on.*bases/able"):
            answer(climbed, "route", {}, "parcel")
    finally:
        weights.write_bytes(kept)


def test_changed_files_in_the_registry_are_refused(climbed):
    stored = {p: p.read_bytes() for p in climbed.glob("mlartifacts/models/*/**/adapter_model.safetensors")}
    assert stored
    try:
        for path, kept in stored.items():
            path.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        with pytest.raises(RegistryError, match="files were changed"):
            answer(climbed, "route", {}, "parcel")
    finally:
        for path, kept in stored.items():
            path.write_bytes(kept)


def test_lost_files_are_registered_again(climbed):
    shutil.move(climbed / "mlartifacts/models", climbed / "mlartifacts/gone")
    try:
        with pytest.raises(RegistryError, match="files were changed"):
            answer(climbed, "route", {}, "parcel")
        again = register(climbed, "route").version
        assert again > 1
        verdict = promote(climbed, "route")
        assert verdict.action == "promote" and isinstance(verdict.reasons[-2], ChampionFails)
        assert answer(climbed, "route", {}, "parcel").version == again
    finally:
        shutil.copytree(climbed / "mlartifacts/gone", climbed / "mlartifacts/models", dirs_exist_ok=True)


def test_fields_that_the_prompt_does_not_have_are_an_error(climbed):
    with pytest.raises(SettingsError, match=r"(?s)not the prompt's slots.*found:  body, junk.*wanted: body"):
        answer(climbed, "route", {"body": "parcel", "junk": "y"}, None)


def test_a_model_whose_logits_differ_fails_the_reload_check(climbed, tmp_path):
    from safetensors.torch import load_file, save_file

    from rungwise.release import parity

    kept = Paths(climbed).output("climb") / "route/best"
    shutil.copytree(kept, tmp_path / "a")
    parity.record(tmp_path / "a", climbed)
    parity.prove(tmp_path / "a", climbed)
    weights = load_file(tmp_path / "a/adapter_model.safetensors")
    first = sorted(n for n in weights if "lora_B" in n)[0]
    weights[first] += 0.01
    save_file(weights, tmp_path / "a/adapter_model.safetensors")
    with pytest.raises(RegistryError, match="does not reload exactly"):
        parity.prove(tmp_path / "a", climbed)


@pytest.fixture(scope="module")
def prompted(tmp_path_factory, base_folder):
    """A workspace with a climb of one rung without training; nothing is registered."""
    ladder = LADDER.splitlines()[0]
    root = write_workspace(tmp_path_factory.mktemp("prompted") / "ws", base_folder, ladder=ladder, target=0.02)
    for verb in STAGES[:-1]:
        run_stage(root, verb)
    return root


def climb_with(prompted, root, target):
    """Copies the workspace and climbs with another target and without a floor; the evidence is in the store."""
    shutil.copytree(prompted, root, symlinks=True)
    params = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(params.replace("route: 0.02", f"route: {target}"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("rungwise.climbing.ladder.floor_of", lambda *_: None)
        run_stage(root, "climb")
    return root


@pytest.mark.parametrize("name", ["ws", "50%25 off? #1"])
def test_a_rung_without_training_is_registered_and_answers(tmp_path, prompted, name):
    root = climb_with(prompted, tmp_path / name, 0.02)
    assert register(root, "route").version == 1
    assert promote(root, "route").action == "promote"
    result = answer(root, "route", {"body": "the parcel please"}, None)
    assert result.answer in {"account", "billing", "delivery", "repair"}
    assert [path.name for path in tmp_path.iterdir()] == [name] and (root / "mlartifacts").is_dir()


def as_earlier(root):
    """Gives a version, its model and its runs the tags that earlier versions of the package wrote."""
    version, evidence = Registry(root).version("route", CHALLENGER), last_climb(root, "route").evidence[0]
    identity = {**Registry(root).identity(version), "split_version": version.tags["split_version"]}
    with Connection(root).client() as (_, client):
        for name in ("attempt", "split_version"):
            client.delete_model_version_tag("route", "1", f"rungwise.{name}")
        hashes = {name: identity[name] for name in ("attempt", "artifact_sha256", "split_version")}
        client.set_model_version_tag("route", "1", "rungwise.identity", json.dumps(hashes))
        for run in client.search_runs([client.get_experiment_by_name("rungwise").experiment_id]):
            if "rungwise.attempt" in run.data.tags:
                client.set_tag(run.info.run_id, "rungwise.attempt", evidence.attempt)
    for path in root.glob("mlartifacts/models/*/**/identity.json"):
        path.unlink()
    return evidence


def test_what_an_earlier_version_registered_is_found_again(tmp_path, prompted):
    root = climb_with(prompted, tmp_path / "ws", 0.02)
    register(root, "route")
    evidence = as_earlier(root)
    assert Registry(root).version("route", CHALLENGER).is_of(evidence.attempt)
    assert register(root, "route").version == 1 and promote(root, "route").action == "promote"
    assert looks(Paths(root).ledger, "route")[0]["attempt"] == evidence.attempt
    assert answer(root, "route", {"body": "the parcel please"}, None).version == 1
    with Connection(root).client() as (_, client):
        experiment = client.get_experiment_by_name("rungwise").experiment_id
        assert len(client.search_runs([experiment])) == 2, "its runs are not logged again"
    assert delete_runs(Connection(root), [evidence.attempt], [])[0] == 1


def test_a_look_before_a_kill_is_recorded_once(tmp_path, prompted, monkeypatch):
    root = climb_with(prompted, tmp_path / "ws", 0.02)
    registered = register(root, "route")
    with monkeypatch.context() as patched:
        patched.setattr(Registry, "set_alias", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            promote(root, "route")
    (look,) = looks(Paths(root).ledger, "route")
    assert look["action"] == "promote" and Registry(root).version("route", CHAMPION) is None
    with monkeypatch.context() as patched:
        patched.setattr(promote_module, "measured", lambda *_: pytest.fail("the test rows were scored again"))
        verdict = promote(root, "route")
    assert verdict == Verdict("promote", (*look["reasons"], AskedBefore(look["when"])))
    champion = Registry(root).version("route", CHAMPION)
    assert champion.number == registered.version and champion.tags["verdict"].startswith("promoted: ")
    assert len(looks(Paths(root).ledger, "route")) == 1
    # a kill in the ledger's last line
    with Paths(root).ledger.open("a") as ledger:
        ledger.write('{"action": "prom')
    assert len(status(root).tasks["route"].test_looks) == 1


def test_without_a_passing_rung_nothing_is_registered_for_promotion(tmp_path, prompted):
    root = climb_with(prompted, tmp_path / "ws", 0.9)
    assert register(root, "route").version is None
    with pytest.raises(RegistryError, match="nothing to promote"):
        promote(root, "route")
    assert read_json(Paths(root).output("climb") / "route/climb.json")["decision"]["passes"] is False


def test_a_copied_workspace_does_not_write_into_the_one_it_was_copied_from(tmp_path):
    (tmp_path / "a").mkdir()
    first = Connection(tmp_path / "a")
    with first.client() as (_, client):
        kept = first.experiment(client, "rungwise")
        assert first.experiment(client, "rungwise") == kept
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    second = Connection(tmp_path / "b")
    with second.client() as (_, client):
        with pytest.raises(
            RegistryError, match=r"(?s)files are outside the workspace.*experiment rungwise.*moved or copied.*NAME"
        ):
            second.experiment(client, "rungwise")
        assert client.get_experiment(second.experiment(client, "other")).artifact_location.startswith(
            (tmp_path / "b").as_uri()
        )
    assert second.remove(str(tmp_path / "a")) == [str(tmp_path / "a")] and (tmp_path / "a").is_dir()
