"""What is checked of the ladder's bases before a run, and which of them changed since the last climb."""

from types import SimpleNamespace

import pytest

from rungwise.climbing import ladder
from rungwise.climbing.ladder import changed_bases, check_bases
from rungwise.config import load
from rungwise.core.errors import ModelError
from rungwise.core.records import Base
from rungwise.model.bases import base_digest, local_folder
from tests.conftest import write_workspace
from tests.model.gguf_files import tiny_llama, write_gguf


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNGWISE_BASES", str(tmp_path / "cache"))
    return tmp_path / "cache"


def workspace(tmp_path, base_folder, rungs):
    root = write_workspace(tmp_path / "ws", base_folder, ladder=rungs)
    return root, load(root / "params.yaml")


@pytest.mark.parametrize(
    ("rung", "words"),
    [
        ("{name: x, base: minilm-l6, method: lora}", "an encoder can't write answers"),
        ("{name: x, base: minilm-l6, method: prompt}", "an encoder can't write answers"),
        ("{name: x, base: gemma3-270m, method: lora}", "the terms of a base were not accepted"),
        ("{name: x, base: none, method: lora}", "a base model is not there"),
        ("{name: x, base: none.gguf, method: lora}", "a GGUF file does not exist"),
    ],
)
def test_a_base_that_can_not_do_its_rung_ends_the_run_at_once(tmp_path, base_folder, cache, rung, words):
    root, settings = workspace(tmp_path, base_folder, f"  - {{name: classical, method: classical}}\n  - {rung}\n")
    with pytest.raises(ModelError, match=words):
        check_bases(root, settings)
    assert not cache.exists()


def test_an_embedded_base_is_not_fetched_before_its_rung(tmp_path, base_folder, cache):
    check_bases(*workspace(tmp_path, base_folder, "  - {name: x, base: smollm2-135m, method: lora}\n"))
    assert not cache.exists()


def climbed_with(monkeypatch, root, base, digest):
    """Makes the last climb one of a rung on `base`, whose files had `digest`."""
    (root / "data" / "climb" / "route").mkdir(parents=True, exist_ok=True)
    (root / "data" / "climb" / "route" / "climb.json").write_text("{}")
    evidence = SimpleNamespace(base=base, base_digest=digest)
    monkeypatch.setattr(ladder, "climb_from_json", lambda value: SimpleNamespace(evidence=[evidence]))


def test_a_gguf_file_that_changed_is_noticed(tmp_path, base_folder, monkeypatch):
    root, _ = workspace(tmp_path, base_folder, "  - {name: x, base: x.gguf, method: lora}\n")
    write_gguf(tiny_llama(tmp_path / "one"), root / "x.gguf")
    climbed_with(monkeypatch, root, "x.gguf", base_digest(local_folder(Base("x.gguf"), root)))
    assert changed_bases(root) == []
    write_gguf(tiny_llama(tmp_path / "two"), root / "x.gguf", without="blk.1.ffn_down.weight")
    assert changed_bases(root) == ["x.gguf"]
    (root / "x.gguf").unlink()
    assert changed_bases(root) == ["x.gguf"]


def test_an_embedded_base_that_left_the_cache_has_not_changed(tmp_path, base_folder, monkeypatch):
    root, _ = workspace(tmp_path, base_folder, "  - {name: x, base: smollm2-135m, method: lora}\n")
    climbed_with(monkeypatch, root, "smollm2-135m", "1" * 64)
    assert changed_bases(root) == []
