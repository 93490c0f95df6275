import json
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace

import pytest
import torch

from rungwise.core.errors import ModelError, SettingsError
from rungwise.core.methods import ADAPTING, METHODS
from rungwise.core.records import AttemptSpec, Base
from rungwise.model import adapters
from rungwise.model.language_model import load
from tests.conftest import environment, make_base

SAVE = """
import sys
import warnings
from pathlib import Path
from rungwise.model import adapters
from rungwise.model.language_model import load
from rungwise.core.records import AttemptSpec, Base
base = Base(sys.argv[1])
spec = AttemptSpec(base, "lora", "{body}", ("a", "b"), rank=2, seed=3, targets=("v_proj", "q_proj", "down_proj"))
adapters.save(adapters.attach(load(base, Path(sys.argv[2])), spec), spec, Path(sys.argv[3]))
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
    adapters.save(tuned, spec_for(base_folder), tmp_path)
    return tuned, tmp_path


def test_a_reloaded_adapter_computes_the_same_bits(saved, base_folder):
    tuned, folder = saved
    again = adapters.load(load(Base(str(base_folder)), base_folder), folder)
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
        weights = load_file(folder / adapters.WEIGHTS)
        save_file(dict(list(weights.items())[1:]), folder / adapters.WEIGHTS)
    elif damage == "cut weights":
        (folder / adapters.WEIGHTS).write_bytes((folder / adapters.WEIGHTS).read_bytes()[:-10])
    elif damage == "no weights":
        (folder / adapters.WEIGHTS).unlink()
    with pytest.raises(ModelError, match="adapter"):
        adapters.load(replace(lm), folder)


SMALL = {"rank": 4, "tokens": 5, "layers": 1, "alpha": 8.0, "targets": ("all-linear",)}


def spec_of_method(folder, method, **more):
    own = {name: SMALL[name] for name in METHODS[method].settings if name in SMALL}
    return AttemptSpec(Base(str(folder)), method, "{body}", ("a", "b"), **{"rank": 0, "targets": (), **own, **more})


@pytest.fixture(params=ADAPTING)
def moved(request, base_folder):
    """A model with an adapter of each method, moved away from its start."""
    spec = spec_of_method(base_folder, request.param)
    tuned = adapters.attach(load(spec.base, base_folder), spec)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in adapters.trained_weights(tuned).values():
            weight.add_(0.1 * torch.randn(weight.shape, generator=draw))
    tuned.model.eval()
    return tuned, spec


def rows_of(lm):
    draw = torch.Generator().manual_seed(2)
    ids_BS = torch.randint(1, 300, (2, 12), generator=draw)
    mask_BS = torch.ones_like(ids_BS)
    mask_BS[0, :4] = 0
    return {
        "input_ids": ids_BS,
        "attention_mask": mask_BS,
        "position_ids": (mask_BS.cumsum(1) - 1).clamp(min=0),
    }


def test_a_fresh_adapter_changes_nothing_but_where_vectors_stand_before_the_text(base_folder):
    bare = load(Base(str(base_folder)), base_folder)
    rows = rows_of(bare)
    with torch.inference_mode():
        wanted = bare.model(**rows).logits[:, 4:]
        for method in ADAPTING:
            spec = spec_of_method(base_folder, method)
            found = adapters.attach(load(spec.base, base_folder), spec).model.eval()(**rows).logits[:, 4:]
            is_equal = torch.allclose(found, wanted, atol=1e-4)
            assert is_equal != (method in ("prompt-tuning", "prefix-tuning")), method


def test_every_method_answers_alike_alone_padded_cached_and_from_its_last_logits(moved):
    tuned, _ = moved
    rows = rows_of(tuned)
    with torch.inference_mode():
        whole = tuned.model(**rows, use_cache=False).logits
        assert whole.shape[1] == 12
        last = tuned.model(**rows, use_cache=False, logits_to_keep=3).logits
        alone = tuned.model(input_ids=rows["input_ids"][:1, 4:], use_cache=False).logits
        first = {name: value[:, :8] for name, value in rows.items()}
        cache = tuned.model(**first, use_cache=True).past_key_values
        rest = {"input_ids": rows["input_ids"][:, 8:], "position_ids": rows["position_ids"][:, 8:]}
        later = tuned.model(**rest, attention_mask=rows["attention_mask"], past_key_values=cache, use_cache=True).logits
    torch.testing.assert_close(last[:, -3:], whole[:, -3:], atol=2e-4, rtol=0)
    torch.testing.assert_close(alone[0], whole[0, 4:], atol=2e-4, rtol=0)
    torch.testing.assert_close(later, whole[:, 8:], atol=2e-4, rtol=0)


def test_every_method_is_saved_reloaded_and_merged_where_it_says_so(moved, base_folder, tmp_path):
    tuned, spec = moved
    adapters.save(tuned, spec, tmp_path)
    again = adapters.load(load(spec.base, base_folder), tmp_path)
    rows = rows_of(tuned)
    with torch.inference_mode():
        wanted, found = tuned.model(**rows).logits, again.model(**rows).logits
    # the principal part that PiSSA starts from is taken off again by arithmetic, not by never having been there
    torch.testing.assert_close(found, wanted, atol=2e-4 if spec.method == "pissa" else 0, rtol=0)
    assert json.loads((tmp_path / adapters.CONFIG).read_text())["base_model_name_or_path"] == spec.base.name
    if METHODS[spec.method].merges:
        with torch.inference_mode():
            whole = adapters.merged(again, spec).model(**rows).logits
        torch.testing.assert_close(whole, wanted, atol=5e-4, rtol=0)
    else:
        with pytest.raises(SettingsError, match="can't be merged"):
            adapters.merged(again, spec)


def test_methods_that_say_so_serve_a_mixed_batch(moved, base_folder, tmp_path):
    tuned, spec = moved
    if not METHODS[spec.method].mixes:
        return
    adapters.save(tuned, spec, tmp_path)
    again = adapters.load(load(spec.base, base_folder), tmp_path).model
    rows = {**rows_of(tuned), "adapter_names": ["default", "__base__"]}
    with torch.inference_mode():
        mixed = again(**rows).logits
        rows.pop("adapter_names")
        torch.testing.assert_close(mixed[0, 4:], again(**rows).logits[0, 4:], atol=1e-4, rtol=0)
        bare = load(spec.base, base_folder).model(**rows).logits
    torch.testing.assert_close(mixed[1], bare[1], atol=1e-4, rtol=0)


@pytest.mark.parametrize("method", ["prompt-tuning", "prefix-tuning"])
def test_virtual_tokens_are_those_of_peft(base_folder, tmp_path, method):
    import peft

    spec = spec_of_method(base_folder, method)
    tuned = adapters.attach(load(spec.base, base_folder), spec)
    adapters.save(tuned, spec, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = peft.PeftModel.from_pretrained(load(spec.base, base_folder).model, tmp_path).eval()
    ids = torch.arange(3, 15)[None]
    with torch.inference_mode():
        wanted = theirs(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[:, -12:]
        torch.testing.assert_close(tuned.model.eval()(input_ids=ids).logits, wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("method", "more", "message"),
    [
        ("lora", {"rank": 33}, r"(?s)rank is larger.*rank 33.*16 at most"),
        ("sparse", {"rank": 33}, "rank is larger"),
        ("last-layers", {"layers": 3}, r"(?s)fewer layers.*2 layers"),
        ("llama-adapter", {"layers": 3}, r"(?s)fewer layers.*2 layers"),
    ],
)
def test_settings_that_a_base_can_not_take_are_errors(base_folder, method, more, message):
    spec = spec_of_method(base_folder, method, **more)
    with pytest.raises(ModelError, match=message):
        adapters.attach(load(spec.base, base_folder), spec)


def test_a_method_that_an_architecture_does_not_support_is_an_error(tmp_path):
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    base = make_base(tmp_path / "b")
    config = GPTNeoXConfig(vocab_size=400, hidden_size=32, num_hidden_layers=2, num_attention_heads=4)
    config.save_pretrained(base)
    GPTNeoXForCausalLM(config).save_pretrained(base)
    lm = load(Base("b"), tmp_path)
    with pytest.raises(ModelError, match=r"(?s)can't be used with this base.*gpt_neox.*llama-adapter"):
        adapters.attach(lm, spec_of_method("b", "llama-adapter"))


def test_sparse_entries_outside_their_matrix_are_refused(base_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    spec = spec_of_method(base_folder, "sparse")
    adapters.save(adapters.attach(load(spec.base, base_folder), spec), spec, tmp_path)
    weights = load_file(tmp_path / adapters.WEIGHTS)
    name = next(name for name in weights if "indices" in name)
    weights[name][0, 0] = 10**6
    save_file(weights, tmp_path / adapters.WEIGHTS)
    with pytest.raises(ModelError, match="stand outside its matrix"):
        adapters.load(load(spec.base, base_folder), tmp_path)
