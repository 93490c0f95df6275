import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from components.errors import ModelError
from components.model import adapters
from components.model.language_model import load
from components.records import AttemptSpec, Base
from tests.conftest import environment

SAVE = """
import sys
from pathlib import Path
from components.model import adapters
from components.model.language_model import load
from components.records import AttemptSpec, Base
base = Base(sys.argv[1])
spec = AttemptSpec(base, "lora", "{body}", ("a", "b"), rank=2, seed=3, targets=("v_proj", "q_proj", "down_proj"))
adapters.save(adapters.attach(load(base, Path(sys.argv[2])), spec), Path(sys.argv[3]))
"""


def spec_for(folder, **more):
    return AttemptSpec(Base(str(folder)), "lora", "{body}", ("a", "b"), rank=2, seed=3, **more)


def test_every_named_target_must_match(base_folder):
    lm = load(Base(str(base_folder)), base_folder)
    with pytest.raises(ModelError, match=r"(?s)matches nothing.*found:\s+qq_proj.*q_proj"):
        adapters.attach(lm, spec_for(base_folder, targets=("v_proj", "qq_proj")))


def test_equal_adapters_have_equal_bytes_in_any_process_and_folder(tmp_path, base_folder):
    saved = []
    for number, hash_seed in enumerate(("1", "22")):
        root, out = tmp_path / f"root{number}", tmp_path / f"out{number}"
        shutil.copytree(base_folder, root / "b")
        out.mkdir()
        subprocess.run(
            [sys.executable, "-c", SAVE, "b", str(root), str(out)],
            env=environment(PYTHONHASHSEED=hash_seed),
            check=True,
        )
        saved.append({p.name: p.read_bytes() for p in out.iterdir()})
    assert saved[0] == saved[1] and set(saved[0]) == {adapters.WEIGHTS, adapters.CONFIG}
    config = json.loads(saved[0][adapters.CONFIG])
    assert config["base_model_name_or_path"] == "b" and config["target_modules"] == ["down_proj", "q_proj", "v_proj"]


@pytest.fixture
def saved(tmp_path, base_folder):
    tuned = adapters.attach(load(Base(str(base_folder)), base_folder), spec_for(base_folder))
    with torch.no_grad():
        for name, weight in tuned.model.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.01)
    adapters.save(tuned, tmp_path)
    return tuned, tmp_path


def test_a_reloaded_adapter_computes_the_same_bits(saved, base_folder):
    tuned, folder = saved
    again = adapters.load(load(Base(str(base_folder)), base_folder), folder)
    ids = torch.arange(20)[None]
    with torch.inference_mode():
        bare = load(Base(str(base_folder)), base_folder).model(ids).logits
        assert torch.equal(tuned.model(ids).logits, again.model(ids).logits)
        assert not torch.equal(bare, again.model(ids).logits)
    assert adapters.base_parameters(again) == sum(p.numel() for p in load(again.base, Path()).model.parameters())


@pytest.mark.parametrize("damage", ["lost weights", "cut weights", "no weights", "other base"])
def test_a_damaged_adapter_is_an_error(saved, base_folder, weak_folder, damage):
    from safetensors.torch import load_file, save_file

    _, folder = saved
    lm = load(Base(str(weak_folder if damage == "other base" else base_folder)), base_folder)
    if damage == "lost weights":
        weights = load_file(folder / adapters.WEIGHTS)
        save_file(dict(list(weights.items())[1:]), folder / adapters.WEIGHTS)
    elif damage == "cut weights":
        (folder / adapters.WEIGHTS).write_bytes((folder / adapters.WEIGHTS).read_bytes()[:-10])
    elif damage == "no weights":
        (folder / adapters.WEIGHTS).unlink()
    with pytest.raises(ModelError, match="adapter"):
        adapters.load(replace(lm), folder)
