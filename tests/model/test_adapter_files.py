import json
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace

import pytest
import torch

from rungwise.core.errors import ModelError, SettingsError
from rungwise.core.methods import METHODS
from rungwise.core.records import AttemptSpec, Base
from rungwise.model import adapter_files, adapters
from rungwise.model.language_model import load
from tests.conftest import environment
from tests.model.adapted import FORM, rows_of, spec_of_method

SAVE = """
import sys
import warnings
from pathlib import Path
from rungwise.model import adapter_files, adapters
from rungwise.model.language_model import load
from rungwise.core.records import AnswerForm, AttemptSpec, Base
base = Base(sys.argv[1])
spec = AttemptSpec(base, "lora", "{body}", AnswerForm("label", ("a", "b")), rank=2, seed=3, targets=("v_proj", "q_proj", "down_proj"))
adapter_files.save(adapters.attach(load(base, Path(sys.argv[2])), spec), spec, Path(sys.argv[3]))
"""


def spec_for(folder, **more):
    return AttemptSpec(Base(str(folder)), "lora", "{body}", FORM, rank=2, seed=3, **more)


def test_equal_adapters_give_equal_bytes_in_any_process_and_folder(tmp_path, base_folder):
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
    assert saved[0] == saved[1] and set(saved[0]) == {adapter_files.WEIGHTS, adapter_files.CONFIG}
    config = json.loads(saved[0][adapter_files.CONFIG])
    assert config["base_model_name_or_path"] == "b" and config["target_modules"] == ["down_proj", "q_proj", "v_proj"]


@pytest.fixture
def saved(tmp_path, base_folder):
    tuned = adapters.attach(load(Base(str(base_folder)), base_folder), spec_for(base_folder))
    with torch.no_grad():
        for name, weight in tuned.model.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.01)
    adapter_files.save(tuned, spec_for(base_folder), tmp_path)
    return tuned, tmp_path


def test_a_reloaded_adapter_computes_the_same_bits(saved, base_folder):
    tuned, folder = saved
    again = adapter_files.load(load(Base(str(base_folder)), base_folder), folder)
    ids = torch.arange(20)[None]
    with torch.inference_mode():
        bare = load(Base(str(base_folder)), base_folder).model(ids).logits
        assert torch.equal(tuned.model(ids).logits, again.model(ids).logits)
        assert not torch.equal(bare, again.model(ids).logits)


@pytest.mark.parametrize("damage", ["lost weights", "cut weights", "no weights", "other base"])
def test_a_damaged_adapter_is_an_error(saved, base_folder, weak_folder, damage):
    from safetensors.torch import load_file, save_file

    _, folder = saved
    lm = load(Base(str(weak_folder if damage == "other base" else base_folder)), base_folder)
    if damage == "lost weights":
        weights = load_file(folder / adapter_files.WEIGHTS)
        save_file(dict(list(weights.items())[1:]), folder / adapter_files.WEIGHTS)
    elif damage == "cut weights":
        (folder / adapter_files.WEIGHTS).write_bytes((folder / adapter_files.WEIGHTS).read_bytes()[:-10])
    elif damage == "no weights":
        (folder / adapter_files.WEIGHTS).unlink()
    with pytest.raises(ModelError, match="adapter"):
        adapter_files.load(replace(lm), folder)


def test_every_method_is_saved_reloaded_and_merged_if_it_can(moved, base_folder, tmp_path):
    tuned, spec = moved
    adapter_files.save(tuned, spec, tmp_path)
    again = adapter_files.load(load(spec.base, base_folder), tmp_path)
    rows = rows_of(tuned)
    with torch.inference_mode():
        wanted, actual = tuned.model(**rows).logits, again.model(**rows).logits
    # the principal part that PiSSA starts from is taken off again by arithmetic, not by never having been there
    torch.testing.assert_close(actual, wanted, atol=2e-4 if spec.method == "pissa" else 0, rtol=0)
    assert json.loads((tmp_path / adapter_files.CONFIG).read_text())["base_model_name_or_path"] == spec.base.name
    if METHODS[spec.method].merges:
        with torch.inference_mode():
            whole = adapter_files.merged(again, spec).model(**rows).logits
        torch.testing.assert_close(whole, wanted, atol=5e-4, rtol=0)
    else:
        with pytest.raises(SettingsError, match="can't be merged"):
            adapter_files.merged(again, spec)


def test_methods_with_mixes_serve_a_mixed_batch(moved, base_folder, tmp_path):
    tuned, spec = moved
    if not METHODS[spec.method].mixes:
        return
    adapter_files.save(tuned, spec, tmp_path)
    again = adapter_files.load(load(spec.base, base_folder), tmp_path).model
    rows = {**rows_of(tuned), "adapter_names": ["default", "__base__"]}
    with torch.inference_mode():
        mixed = again(**rows).logits
        rows.pop("adapter_names")
        torch.testing.assert_close(mixed[0, 4:], again(**rows).logits[0, 4:], atol=1e-4, rtol=0)
        bare = load(spec.base, base_folder).model(**rows).logits
    torch.testing.assert_close(mixed[1], bare[1], atol=1e-4, rtol=0)


@pytest.mark.parametrize("method", ["prompt-tuning", "prefix-tuning"])
def test_virtual_tokens_equal_those_of_peft(base_folder, tmp_path, method):
    import peft

    spec = spec_of_method(base_folder, method)
    tuned = adapters.attach(load(spec.base, base_folder), spec)
    adapter_files.save(tuned, spec, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = peft.PeftModel.from_pretrained(load(spec.base, base_folder).model, tmp_path).eval()
    ids = torch.arange(3, 15)[None]
    with torch.inference_mode():
        wanted = theirs(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[:, -12:]
        torch.testing.assert_close(tuned.model.eval()(input_ids=ids).logits, wanted, atol=1e-4, rtol=0)


def test_sparse_entries_outside_their_matrix_are_refused(base_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    spec = spec_of_method(base_folder, "sparse")
    adapter_files.save(adapters.attach(load(spec.base, base_folder), spec), spec, tmp_path)
    weights = load_file(tmp_path / adapter_files.WEIGHTS)
    name = next(name for name in weights if "indices" in name)
    weights[name][0, 0] = 10**6
    save_file(weights, tmp_path / adapter_files.WEIGHTS)
    with pytest.raises(ModelError, match="lie outside its matrix"):
        adapter_files.load(load(spec.base, base_folder), tmp_path)
