"""`dvc repro` and the Prefect flow, from scratch in two clones, give the same hashes."""

import json
import subprocess
import sys
import time

import pytest
from ruamel.yaml import YAML

from rungwise.climbing.ladder import last_climb
from rungwise.core.errors import ChangedUnderRun, SettingsError
from rungwise.core.folders import read_json, tree_digests
from rungwise.core.gate_reasons import ChallengerTooFewScored, SpentLook
from rungwise.core.recipes import RECIPES, STAGES
from rungwise.pipeline.stages import record, run_stage
from rungwise.release.ledger import looks
from rungwise.workspace.layout import Paths, check_recipe, snapshot
from rungwise.workspace.refusals import Refusal, read_refusals
from tests.conftest import LADDER, environment, planted_rows, watched, with_dvc, write_workspace


def python(root, *arguments, env=None):
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=root, env=env or environment(), capture_output=True, text=True, check=False)


def dvc(root, *arguments, env=None):
    return python(root, "dvc", *arguments, env=env)


def outputs(root):
    """Returns every file that DVC hashes, with its digest."""
    return {f"{verb}/{name}": d for verb in STAGES for name, d in tree_digests(root / "data" / verb).items()}


@pytest.fixture
def clones(tmp_path, base_folder):
    """Two clones of a workspace whose rung rank-2 passes on validation rows, and can't read the long test rows."""
    ladder = f"{LADDER}  - {{name: classical, method: classical}}"
    origin = write_workspace(tmp_path / "origin", base_folder, ladder=ladder, steps=100, target=0.8)
    long = [f"{text} {'a ' * 300}{i},{label}" for i, (text, label) in enumerate(planted_rows(60, seed=3))]
    (origin / "data/raw/long.csv").write_text("\n".join(["body,queue", *long]) + "\n")
    params = origin / "params.yaml"
    more = "path: tickets.csv}\n    - {name: long, path: long.csv, role: test}"
    text = params.read_text().replace("path: tickets.csv}", more).replace("dev: 0.25, test: 0.25", "dev: 0.25")
    params.write_text(text)
    with_dvc(origin)
    subprocess.run(["git", "add", "-A"], cwd=origin, check=True, capture_output=True)
    subprocess.run(["git", "commit", "-qm", "rows"], cwd=origin, check=True, capture_output=True)
    for name in ("first", "second"):
        subprocess.run(["git", "clone", "-q", "origin", name], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path / "first", tmp_path / "second"


def test_both_runners_give_the_same_hashes_after_a_refusal_and_a_second_run_does_nothing(clones, tmp_path):
    first, second = clones
    env = watched(tmp_path)
    ran = python(first, "rungwise", "run", "--json", env=env)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("100/100 steps") == 1  # the climb continues with attempts from the store
    result = json.loads(ran.stdout)["results"]["route"]
    assert (result["action"], result["version"]) == ("promote", 2)
    repeated = dvc(first, "repro").stdout
    assert "didn't change" in repeated and "Running stage" not in repeated

    env["PREFECT_HOME"] = str(tmp_path / "prefect")
    done = python(second, "rungwise.flows.pipeline", env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    for task in ("ingest", "validate", "split", "augment", "train route/prompt", "evaluate route/rank-2"):
        assert f"Task run '{task}'" in done.stderr
    for root in clones:
        short, classical = looks(Paths(root).ledger, "route")
        assert [type(reason) for reason in short["reasons"]] == [ChallengerTooFewScored]
        assert (short["action"], classical["action"], classical["cohort"]["look"]) == ("refuse", "promote", 2)
        assert SpentLook in {type(reason) for reason in classical["reasons"]}
        (refusal,) = read_refusals(Paths(root).refusals)
        assert refusal == Refusal("route", short["attempt"], "accuracy", 0.8)
        climb = last_climb(root, "route")
        assert climb.decision.rung == "classical" and climb.refused == {"rank-2"}

    result = outputs(first), outputs(second)
    assert result[0] == result[1] and len(result[0]) > 15
    adapters = [
        {p.parent.name: p.read_bytes() for p in root.rglob("attempts/*/adapter_model.safetensors")} for root in clones
    ]
    assert adapters[0] == adapters[1] and len(adapters[0]) == 1
    locks = [YAML(typ="safe").load(root / "dvc.lock") for root in clones]
    assert locks[0] == locks[1]
    assert "data/promote/refusals.json" in {dep["path"] for dep in locks[0]["stages"]["climb"]["deps"]}
    assert {name.partition("/")[0] for name in result[0]} == set(STAGES)

    status = dvc(second, "status", "--json")
    assert status.returncode == 0 and json.loads(status.stdout) == {}
    assert "Running stage" not in dvc(second, "repro").stdout
    again = python(second, "rungwise.flows.pipeline", env=env)
    assert again.returncode == 0 and again.stderr.count("nothing changed") == 5, again.stderr
    assert "Task run 'train" not in again.stderr and len(looks(Paths(second).ledger, "route")) == 2
    # no library opened a connection
    log = tmp_path / "network.log"
    assert not log.exists(), sorted(set(log.read_text().split()))


def test_an_edit_while_a_stage_runs_is_an_error_and_not_recorded(workspace):
    root = with_dvc(workspace)
    for verb in STAGES[:2]:
        run_stage(root, verb)
    before = snapshot(root)
    (root / "params.yaml").write_text((root / "params.yaml").read_text().replace("dev: 0.25", "dev: 0.20"))
    with pytest.raises(ChangedUnderRun, match=r"changed: params\.yaml: split"):
        run_stage(root, "split", before)
    assert not Paths(root).output("split").exists()
    with pytest.raises(ChangedUnderRun, match="split"):
        record(root, "validate", before)
    assert not (root / "dvc.lock").exists()
    before = snapshot(root)
    (root / "data/raw/tickets.csv").open("a").close()
    run_stage(root, "split", before)
    (root / "data/raw/more.csv").write_text("body,queue\n")
    with pytest.raises(ChangedUnderRun, match=r"data/raw/more\.csv"):
        run_stage(root, "split", before)
    before = snapshot(root)
    (root / "dvc.yaml").write_text(
        (root / "dvc.yaml").read_text().replace(f"split --recipe {RECIPES['split']}", "split --recipe 99")
    )
    with pytest.raises(ChangedUnderRun, match=r"changed: dvc\.yaml"):
        run_stage(root, "split", before)
    with pytest.raises(SettingsError, match="another version of a stage"):
        check_recipe(root, "split")


def test_an_edit_while_dvc_records_restores_the_lock(workspace, monkeypatch):
    from rungwise.workspace import dvc as versions

    root = with_dvc(workspace)
    run_stage(root, "ingest")
    record(root, "ingest", snapshot(root))
    lock = (root / "dvc.lock").read_bytes()
    before, commit = snapshot(root), versions.record

    def edited_meanwhile(root, verb):
        commit(root, verb)
        (root / "params.yaml").write_text((root / "params.yaml").read_text().replace("seed: 7", "seed: 8"))

    monkeypatch.setattr(versions, "record", edited_meanwhile)
    with pytest.raises(ChangedUnderRun, match="seed"):
        record(root, "ingest", before)
    assert (root / "dvc.lock").read_bytes() == lock


@pytest.mark.slow
def test_a_killed_repro_ends_its_stage_and_the_next_run_continues(workspace):
    from tests.workspace.test_workspace import is_running

    text = (workspace / "params.yaml").read_text()
    (workspace / "params.yaml").write_text(text.replace("steps: 20,", "steps: 100000,"))
    root = with_dvc(workspace)
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"],
        cwd=root,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if line.startswith("train route/rank-2"):
            break
    holder = read_json(root / ".rungwise/lock")["pid"]
    assert is_running(holder)
    refused = subprocess.run(
        [sys.executable, "-m", "rungwise.pipeline.stages", "ingest", "--recipe", str(RECIPES["ingest"])],
        cwd=root, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert refused.returncode == 2 and f"process {holder} holds the lock" in refused.stderr
    process.kill()
    process.wait()
    process.stderr.close()
    for _ in range(50):
        if not is_running(holder):
            break
        time.sleep(0.1)
    assert not is_running(holder)
    finished = sorted(p.name for p in (root / "data/attempts").iterdir() if not p.name.startswith("."))
    assert [name.partition("-")[0] for name in finished] == ["evaluate", "train"]  # of the prompt rung

    (root / "params.yaml").write_text(text)
    done = dvc(root, "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "train route/prompt" not in done.stderr and "evaluate route/prompt" not in done.stderr
    assert set(finished) < {p.name for p in (root / "data/attempts").iterdir()}
    assert not list((root / "data/attempts").glob(".*"))
