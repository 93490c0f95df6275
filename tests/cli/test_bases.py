"""`rungwise bases`: what is there, and adding to it."""

import json
from dataclasses import replace

import pytest
from safetensors.torch import load_file

from rungwise.cli import main as cli
from rungwise.model import embedded
from rungwise.model.embedded import EMBEDDED
from rungwise.report import bases as report
from tests.conftest import error_of
from tests.model.gguf_files import tiny_llama, write_gguf


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNGWISE_BASES", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_list_needs_no_workspace_and_fetches_nothing(tmp_path, rungwise, cache):
    done = rungwise(tmp_path, "bases", RUNGWISE_BASES=str(cache))
    assert done.returncode == 0 and not cache.exists(), done.stderr
    lines = {line.split()[0]: " ".join(line.split()) for line in done.stdout.splitlines() if line}
    assert lines["smollm2-135m"] == "smollm2-135m causal 135 million 8,192 Apache-2.0 93 MB not fetched"
    assert lines["gemma3-270m"].endswith("32,768 Gemma terms 238 MB terms not accepted")
    assert lines["minilm-l6"].startswith("minilm-l6 encoder 22.7 million 256 Apache-2.0")
    assert lines["pocket-s"].startswith("pocket-s pocket 0.408 million 512 Apache-2.0")
    assert "smollm2: HuggingFaceTB/SmolLM2-135M-Instruct, " in done.stdout and str(cache) in done.stdout


def test_a_gguf_file_is_added_and_listed_with_its_quantization(tmp_path, capsys):
    file = write_gguf(tiny_llama(tmp_path / "llama"), tmp_path / "tiny.gguf")
    assert cli.main(["bases", "add", str(file)]) == 0
    assert f"its weights were stored as F16. A rung uses it with `base: {file}`" in capsys.readouterr().out
    assert cli.main(["bases", "add", str(file), "--json"]) == 0
    folder = json.loads(capsys.readouterr().out)["folder"]
    assert cli.main(["bases", "--json"]) == 0
    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)["known"]}
    one = listed["tiny.gguf"]
    assert (one["kind"], one["state"], one["quantization"], one["folder"]) == ("gguf", "ready", "F16", folder)
    parameters = sum(weight.numel() for weight in load_file(tmp_path / "llama" / "model.safetensors").values())
    assert one["parameters"] == parameters and one["context_tokens"] == 256
    assert cli.main(["bases"]) == 0
    assert "ready, from F16" in capsys.readouterr().out


def test_an_embedded_base_is_listed_as_ready_once_it_is_in_the_cache(tmp_path, monkeypatch):
    file = write_gguf(tiny_llama(tmp_path / "llama"), tmp_path / "tiny.gguf")
    assert cli.main(["bases", "add", str(file)]) == 0
    (converted,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    same = {"smollm2-135m": replace(EMBEDDED["smollm2-135m"], sha256=converted.name)}
    monkeypatch.setattr(report, "EMBEDDED", same)
    known = {one.name: one for one in report.bases().known}
    assert known["smollm2-135m"].state == "ready" and known["smollm2-135m"].folder == str(converted)
    assert "tiny.gguf" not in known


@pytest.mark.parametrize("name", ["pocket-s", "owner/name", "nonsense"])
def test_what_can_not_be_added_is_one_message(tmp_path, rungwise, name):
    refused = error_of(rungwise(tmp_path, "bases", "add", name))
    assert "this base can't be added" in refused and "smollm2-135m, gemma3-270m, minilm-l6" in refused


def test_terms_are_accepted_with_a_flag_and_only_with_it(tmp_path, monkeypatch, capsys, cache):
    seen = []

    def store(name, write):
        seen.append(name)
        return cache

    monkeypatch.setattr(embedded, "store", store)
    assert cli.main(["bases", "add", "gemma3-270m"]) == 2
    assert "--accept-terms" in capsys.readouterr().err and not seen and not cache.exists()
    assert cli.main(["bases", "add", "gemma3-270m", "--accept-terms"]) == 0
    assert seen == [EMBEDDED["gemma3-270m"].sha256]
    record = json.loads((cache / "accepted" / "gemma3-270m.json").read_text())
    assert record["terms"] == "https://ai.google.dev/gemma/terms"
    assert cli.main(["bases", "add", "smollm2-135m", "--accept-terms"]) == 0
    assert not (cache / "accepted" / "smollm2-135m.json").exists()
