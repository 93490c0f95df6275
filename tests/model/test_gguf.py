"""A GGUF file as a base, against the model that it was written from."""

import json
import os
import resource
import shutil
import subprocess
import sys

import pytest
import torch
from gguf import GGMLQuantizationType as Stored
from safetensors.torch import load_file

from rungwise.core.errors import ModelError
from rungwise.core.folders import file_digest, is_sealed, tree_digests
from rungwise.core.records import Base
from rungwise.model import base_cache
from rungwise.model.bases import base_digest, base_folder, local_folder, quantization
from rungwise.model.gguf import converted
from rungwise.model.language_model import encode_prompts, load
from tests.conftest import environment
from tests.model.gguf_files import dequantized, tiny_llama, write_gguf


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny_llama(tmp_path_factory.mktemp("llama") / "tiny")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNGWISE_BASES", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def file(tmp_path, llama):
    return write_gguf(llama, tmp_path / "tiny.gguf")


@pytest.mark.parametrize("stored", [Stored.F16, Stored.Q8_0, Stored.Q4_0, Stored.Q4_1])
def test_the_weights_are_those_of_the_file_in_bf16(tmp_path, llama, stored):
    folder = converted(write_gguf(llama, tmp_path / "x.gguf", stored=stored))
    weights, source = load_file(folder / "model.safetensors"), load_file(llama / "model.safetensors")
    assert weights.keys() == source.keys() and {w.dtype for w in weights.values()} == {torch.bfloat16}
    for name, weight in source.items():
        torch.testing.assert_close(
            weights[name], dequantized(weight.float(), stored).to(torch.bfloat16), rtol=0, atol=0
        )
    assert quantization(Base("x.gguf"), tmp_path) == stored.name


def test_a_file_answers_like_the_model_that_it_was_written_from(tmp_path, llama, file):
    lm, same = load(Base("tiny.gguf"), tmp_path, template="chat"), load(Base(str(llama)), tmp_path, precision="bf16")
    (ids,) = encode_prompts(lm, ["where is my parcel"])
    assert lm.tokenizer.decode(ids) == "user: where is my parcel<|end|>model:"
    (inner,) = encode_prompts(same, ["where is my parcel"])
    assert ids == [*lm.prefix, *inner, *lm.suffix]
    logits, expected = (m.model(input_ids=torch.tensor([ids])).logits.float() for m in (lm, same))
    torch.testing.assert_close(logits, expected, rtol=0.05, atol=0.05)  # the norms of the two were rounded differently
    assert lm.context_tokens == 256 and lm.end == same.end


def test_the_same_file_gives_the_same_bytes_wherever_and_whenever(tmp_path, llama, file, cache):
    first = converted(file)
    assert first == cache / file_digest(file) and is_sealed(first) and converted(file) == first
    os.environ["RUNGWISE_BASES"] = str(tmp_path / "other")
    (tmp_path / "elsewhere").mkdir()
    copy = shutil.copy(file, tmp_path / "elsewhere" / "tiny.gguf")
    (tmp_path / "elsewhere" / "tokenizer_config.json").write_text('{"bos_token": "x"}')  # another model's
    second = converted(copy)
    assert second != first and tree_digests(second) == tree_digests(first)
    assert base_digest(second) == base_digest(first)
    text = "".join((first / name).read_text() for name in ("config.json", "generation_config.json", "source.json"))
    assert str(tmp_path) not in text and "transformers_version" not in text


def test_a_changed_file_is_another_base_and_a_changed_cache_is_made_again(llama, file):
    first = converted(file)
    before = tree_digests(first)
    (first / "config.json").write_text("{}")
    assert base_cache.stored(first.name) is None
    assert converted(file) == first and tree_digests(first) == before
    write_gguf(llama, file, stored=Stored.Q8_0)
    assert converted(file) != first


def test_a_recipe_that_changed_makes_the_folder_again(file, monkeypatch):
    folder = converted(file)
    monkeypatch.setattr(base_cache, "RECIPE", 99)
    base_cache._is_usable.cache_clear()
    assert base_cache.stored(folder.name) is None
    assert json.loads((converted(file) / "source.json").read_text())["recipe"] == 99


def test_parts_of_a_split_file_are_one_base(tmp_path, llama, file):
    names = [f"tiny-0000{i + 1}-of-00003.gguf" for i in range(3)]
    for i, name in enumerate(names):
        write_gguf(llama, tmp_path / name, part=i, parts=3)
    whole, joined = (load_file(converted(tmp_path / n) / "model.safetensors") for n in ("tiny.gguf", names[1]))
    assert whole.keys() == joined.keys() and all(torch.equal(whole[n], joined[n]) for n in whole)
    (tmp_path / names[2]).unlink()
    with pytest.raises(ModelError, match=rf"(?s)a part of a split GGUF file is missing.*2 of 3 parts.*{names[2]}"):
        converted(tmp_path / names[0])


def test_parts_of_different_files_are_an_error(tmp_path, llama):
    write_gguf(llama, tmp_path / "x-00001-of-00002.gguf", part=0, parts=2)
    write_gguf(llama, tmp_path / "x-00002-of-00002.gguf", part=1, parts=3)
    with pytest.raises(ModelError, match="tensors, where the first part names"):
        converted(tmp_path / "x-00001-of-00002.gguf")


def shortened(file):
    file.write_bytes(file.read_bytes()[:-5000])


def not_gguf(file):
    file.write_bytes(b"PK" + file.read_bytes())


def huge(file):
    data = bytearray(file.read_bytes())
    data[8:16] = (2**62).to_bytes(8, "little")  # the number of tensors
    file.write_bytes(bytes(data))


@pytest.mark.parametrize("damage", [shortened, not_gguf, huge, lambda file: file.write_bytes(b"GGUF")])
def test_a_damaged_file_is_one_message_and_leaves_nothing(file, cache, damage):
    damage(file)
    with pytest.raises(ModelError, match=r"(?s)can't be read as a language model.*compare its SHA-256"):
        converted(file)
    assert not [p for p in cache.iterdir() if p.is_dir()]


def test_an_architecture_or_a_scaling_that_transformers_can_not_read_is_one_message(tmp_path, llama):
    with pytest.raises(ModelError, match=r"(?s)can't be read as a language model.*rwkv99 is not supported"):
        converted(write_gguf(llama, tmp_path / "a.gguf", architecture="rwkv99"))
    scaled = write_gguf(llama, tmp_path / "b.gguf", more={"llama.rope.scaling.type": "yarn"})
    with pytest.raises(ModelError, match=r"(?s)scales its positions.*rope scaling yarn"):
        converted(scaled)


def test_a_file_that_lacks_weights_is_not_filled_with_random_ones(tmp_path, llama):
    file = write_gguf(llama, tmp_path / "x.gguf", without="blk.1.ffn_down.weight")
    with pytest.raises(ModelError, match=r"lacks weights of LlamaForCausalLM: model.layers.1.mlp.down_proj.weight"):
        converted(file)


def test_a_missing_file_is_one_message(tmp_path):
    for act in (base_folder, local_folder):
        with pytest.raises(ModelError, match="a GGUF file does not exist"):
            act(Base("models/none.gguf"), tmp_path)


def test_a_disk_without_space_is_one_message_and_leaves_nothing(file, cache):
    """A limit on the size of files stands for the full disk: both fail in the middle of writing the weights."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        with pytest.raises(ModelError, match=r"(?s)the cache of bases can't be written.*free some space"):
            converted(file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [p for p in cache.iterdir() if p.is_dir()]
    assert is_sealed(converted(file))


def test_a_cache_that_can_not_be_written_is_one_message(tmp_path, file, monkeypatch):
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("RUNGWISE_BASES", str(tmp_path / "taken"))
    with pytest.raises(ModelError, match="the cache of bases can't be written"):
        converted(file)


def test_what_a_killed_process_left_is_removed(file, cache):
    half = cache / f".{file_digest(file)}.12345678.part"
    half.mkdir(parents=True)
    (half / "model.safetensors").write_bytes(b"half")
    converted(file)
    assert not half.exists()


def test_two_processes_at_once_make_one_folder(file, cache):
    code = (
        "import sys; from pathlib import Path; from rungwise.model.gguf import converted; "
        "print(converted(Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", code, str(file)]
    env = environment(RUNGWISE_BASES=str(cache))
    both = [subprocess.Popen(command, env=env, stdout=-1, stderr=-1, text=True) for _ in range(2)]
    results = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], results
    assert {out.strip() for out, _ in results} == {str(cache / file_digest(file))}
    assert sum("converted to bf16" in err for _, err in results) == 1
    assert is_sealed(cache / file_digest(file))


def test_the_users_cache_is_the_default(monkeypatch, tmp_path):
    monkeypatch.delenv("RUNGWISE_BASES")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert base_cache.cache_folder() == tmp_path / "rungwise" / "bases"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert base_cache.cache_folder() == tmp_path / "home" / ".cache" / "rungwise" / "bases"
