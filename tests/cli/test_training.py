"""plan, methods, pack, attempt and unpack as they are typed."""

import json
import shutil

import pytest

from rungwise.core.folders import is_sealed, write_folder, write_json
from rungwise.pipeline.stages import run_stage
from tests.conftest import error_of

KEYS = ("name", "spec", "versions", "options")


@pytest.fixture
def prepared(workspace):
    for verb in ("ingest", "validate", "split", "augment"):
        run_stage(workspace, verb)
    return workspace


def test_an_attempt_travels_and_the_climb_finds_it(prepared, tmp_path, rungwise):
    text = (prepared / "params.yaml").read_text()
    rungs = [line.split("name: ")[1].split(",")[0] for line in text.splitlines() if "method: lora" in line]
    bundle = tmp_path / "bundle"
    packed = rungwise(prepared, "pack", "route", rungs[0], str(bundle))
    assert packed.returncode == 0 and "rungwise unpack" in packed.stdout, packed.stderr
    ran = rungwise(tmp_path, "attempt", str(bundle))  # no workspace there
    assert ran.returncode == 0 and "the result is" in ran.stdout, ran.stderr
    taken = rungwise(prepared, "unpack", str(bundle))
    assert taken.returncode == 0, taken.stderr
    (folder,) = (prepared / "data" / "attempts").glob("train-*")
    assert is_sealed(folder) and folder.name.removeprefix("train-")[:12] in taken.stdout
    run_stage(prepared, "climb")
    evidence = json.loads((prepared / "data/climb/route/climb.json").read_text())["evidence"]
    assert any(e["attempt"] == folder.name.removeprefix("train-") for e in evidence)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("pack", "route", "no-such-rung", "b"), "there is no such rung to train"),
        (("pack", "no-such-task", "rank-2", "b"), "there is no such task"),
        (("attempt", "nowhere"), "a folder is not a complete bundle"),
        (("unpack", "nowhere"), "a folder is not a complete bundle"),
        (("methods", "route", "--methods", "lora,magic"), "no such task or method to compare"),
        (("methods", "route", "--rate", "lora"), "a learning rate can't be read"),
        (("methods", "route", "--rate", "lora=-1"), "a learning rate can't be read"),
        (("methods", "route"), "not run yet"),
        (("methods", "route", "--methods", "ia3", "--rate", "vera=1e-3"), "is of no method that is compared"),
    ],
)
def test_what_can_not_be_done_is_said(workspace, rungwise, arguments, words):
    assert words in error_of(rungwise(workspace, *arguments))


def test_methods_read_their_base_as_the_rung_does_and_name_one_that_is_not_there(prepared, rungwise, monkeypatch):
    from rungwise.climbing import trials
    from rungwise.config import load

    params = prepared / "params.yaml"
    params.write_text(params.read_text().replace("rank: 2,", f"rank: 2, template: chat, remote_code: {'a' * 64},"))
    tried = []

    def note(one, settings, rung, first):
        tried.append(rung)
        return None, ()

    monkeypatch.setattr(trials, "_try", note)
    trials.compare(prepared, "route", ["ia3"], steps=2)
    assert load(params).ladder[1].template == "chat"
    assert [(r.method, r.template, r.remote_code) for r in tried] == [(m, "chat", "a" * 64) for m in ("lora", "ia3")]
    assert "a base model is not there" in error_of(rungwise(prepared, "methods", "route", "--base", "nowhere"))
    assert not (prepared / ".rungwise/methods/route.json").exists()


def test_a_result_that_no_rung_here_is_is_said(prepared, tmp_path, rungwise):
    bundle = tmp_path / "bundle"
    assert rungwise(prepared, "pack", "route", "rank-2", str(bundle)).returncode == 0
    assert rungwise(tmp_path, "attempt", str(bundle)).returncode == 0
    assert "route/rank-2, is in the store" in rungwise(prepared, "unpack", str(bundle)).stdout
    params = prepared / "params.yaml"
    params.write_text(params.read_text().replace("rank: 2,", "rank: 3,"))
    (folder,) = (prepared / "data" / "attempts").glob("train-*")
    shutil.rmtree(folder)
    message = error_of(rungwise(prepared, "unpack", str(bundle)))
    assert "belongs to no rung of this workspace" in message and "for route/rank-2" in message
    assert not folder.exists()


def test_a_bundle_whose_name_is_a_path_writes_nothing(prepared, tmp_path, rungwise):
    bundle, ledger = tmp_path / "bundle", prepared / "data/promote/ledger.jsonl"
    ledger.parent.mkdir()
    ledger.write_text("mine")
    name = "x/../../promote"
    write_folder(
        bundle / "content", lambda part: write_json(part / "bundle.json", {**dict.fromkeys(KEYS), "name": name})
    )
    write_folder(bundle / "result" / f"train-{name}", lambda part: write_json(part / "ledger.jsonl", {}))
    assert "64 hexadecimal digits" in error_of(rungwise(prepared, "unpack", str(bundle)))
    assert ledger.read_text() == "mine" and not (prepared / "data/attempts").exists()


def test_code_of_a_bundle_needs_its_hash_on_the_command_line(prepared, tmp_path, rungwise):
    params, bundle, code = prepared / "params.yaml", tmp_path / "bundle", "a" * 64
    params.write_text(params.read_text().replace("rank: 2,", f"rank: 2, remote_code: {code},"))
    assert rungwise(prepared, "pack", "route", "rank-2", str(bundle)).returncode == 0
    message = error_of(rungwise(tmp_path, "attempt", str(bundle)))
    assert "code of its base, which is not run" in message and f"--allow-code {code}" in message
    assert "not the code that was allowed" in error_of(rungwise(tmp_path, "attempt", str(bundle), "--allow-code", code))
