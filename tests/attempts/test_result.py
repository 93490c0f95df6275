"""A result that someone brings: its weights may be any, nothing else of it may differ from what the workspace would run."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save

from rungwise.attempts import __main__ as run
from rungwise.attempts import bundle as bundles
from rungwise.attempts import run as attempts
from rungwise.attempts.store import open_attempt
from rungwise.core.errors import ModelError, WorkspaceError
from rungwise.core.folders import write_folder
from rungwise.core.methods import ADAPTING, METHODS
from rungwise.core.records import AnswerForm, AttemptSpec, Base, spec_from_json, to_json
from rungwise.model import adapter_files
from rungwise.model.adapter_weights import check_weights, shapes_of
from rungwise.model.adapters import attach
from rungwise.model.language_model import load
from tests.conftest import examples

FORM = AnswerForm("label", ("account", "billing", "delivery", "repair"))
SPEC = AttemptSpec(
    Base("bases/able"), "lora", "{body}\nQueue:", FORM, rank=2, steps=1, batch_size=4, learning_rate=1e-3
)


@pytest.fixture(scope="module")
def ran(tmp_path_factory, base_folder):
    """A workspace's folder with a bundle that was run, and the attempt."""
    root = tmp_path_factory.mktemp("ran")
    shutil.copytree(base_folder, root / "bases" / "able")
    bundle = attempts.bundle_of(SPEC, examples(8), root, eval_rows=(), options=attempts.RunOptions())
    bundles.pack(root / "bundle", bundle, with_base=True)
    run.run(root / "bundle")
    return root, bundle


def forged(ran, target, name, change):
    """Returns the bundle with one file of its result changed, and sealed again as an attacker can."""
    root, bundle = ran
    shutil.copytree(root / "bundle", target)
    result = target / "result" / f"train-{bundle.name}"

    def write(part):
        shutil.copytree(result, part, dirs_exist_ok=True)
        if callable(change):
            path = part / name
            path.write_text(json.dumps(change(json.loads(path.read_text()))))
        elif change is None:
            (part / name).unlink()
        else:
            (part / name).parent.mkdir(exist_ok=True)
            (part / name).write_bytes(change)

    write_folder(result, write)
    return target, bundle


def test_the_result_as_it_was_written_is_taken(ran, tmp_path):
    root, bundle = ran
    assert bundles.unpack(root / "bundle", bundle, tmp_path).name == f"train-{bundle.name}"


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        (
            "spec.json",
            lambda v: {**v, "base": {**v["base"], "code": "a" * 64}},
            "do not match its name.*base",
        ),
        ("spec.json", lambda v: {**v, "base": {**v["base"], "name": "data/raw"}}, "do not match its name"),
        ("spec.json", lambda v: [], "do not match its name"),
        ("spec.json", b"[" * 100_000, "do not match its name"),
        ("result.json", lambda v: {**v, "base_digest": "a" * 64}, "base_digest: aaa"),
        ("result.json", lambda v: {**v, "max_answer_tokens": -1}, "max_answer_tokens"),
        ("result.json", lambda v: {k: v[k] for k in v if k != "note"}, "note"),
        ("cost.json", b'{"seconds": Infinity}', "not one of the attempt"),
        ("losses.json", lambda v: {"losses": "x"}, "losses"),
        (
            "adapter_config.json",
            lambda v: {**v, "megatron_config": {}, "megatron_core": "antigravity"},
            "megatron_core",
        ),
        ("adapter_config.json", lambda v: {**v, "target_modules": "(a+)+$"}, "target_modules"),
        ("adapter_config.json", lambda v: {**v, "peft_type": "rungwise", "layers": 0}, "peft_type"),
        ("model.py", b"import this", "model.py"),
        ("weights.bin", b"pickle", "weights.bin"),
        ("inner/more.json", b"{}", "inner"),
        ("x.safetensors", b"pickle", "x.safetensors"),
        ("shown.json", b"[]", "shown.json"),
        ("a\n\x1b[2J.json", b"{}", r"a\\n\\u001b"),
        ("adapter_config.json", None, "wanted: .*adapter_config.json"),
        ("adapter_model.safetensors", None, "wanted: .*adapter_model.safetensors"),
        ("adapter_model.safetensors", b"\x80pickle", "wanted: +a safetensors file"),
        ("adapter_config.json", b"[" * 100_000, "not those of its attempt"),
        ("result.json", lambda v: {**v, "trained_parameters": 10**400}, "trained_parameters"),
        ("result.json", lambda v: {**v, "learning_rate": "0.1"}, "learning_rate"),
        ("result.json", lambda v: {**v, "kept_step": {"a": 1}}, "kept_step"),
        ("result.json", lambda v: {**v, "prompting": {"form": 1}}, "prompting"),
        ("cost.json", lambda v: {**v, "latency": {"median_seconds": "x"}}, "latency"),
        ("cost.json", lambda v: {**v, "ended": "yesterday"}, "ended"),
        ("cost.json", lambda v: {**v, "notes": ["\x1b]0;title\x07"]}, "notes"),
        ("losses.json", lambda v: {**v, "losses": [10**400]}, "losses"),
        ("audit.json", lambda v: {**v, "faults": {"magic": 0.5}}, "faults"),
    ],
)
def test_a_result_that_differs_in_anything_but_its_weights_is_refused(ran, tmp_path, name, change, words):
    bundle, made = forged(ran, tmp_path / "bundle", name, change)
    with pytest.raises((WorkspaceError, ModelError), match=f"(?s){words}"):
        bundles.unpack(bundle, made, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def _not_finite(weights):
    weights[min(weights)][0] = float("nan")


def _other_shape(weights):
    weights[min(weights)] = torch.zeros(3, 3)


def _missing(weights):
    del weights[min(weights)]


def _other_name(weights):
    weights["more"] = torch.zeros(1)


def _other_type(weights):
    weights[min(weights)] = weights[min(weights)].bfloat16()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_not_finite, "not finite"),
        (_other_shape, r"shape \[3, 3\]"),
        (_missing, "no such tensor"),
        (_other_name, "more: shape"),
        (_other_type, "bfloat16"),
    ],
)
def test_weights_that_do_not_fit_the_attempt_are_refused(ran, tmp_path, change, words):
    root, bundle = ran
    weights = load_file(root / "bundle" / "result" / f"train-{bundle.name}" / adapter_files.WEIGHTS)
    change(weights)
    target, made = forged(ran, tmp_path / "bundle", adapter_files.WEIGHTS, save(weights))
    with pytest.raises(ModelError, match=f"(?s)weights of an adapter are not those.*{words}"):
        bundles.unpack(target, made, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_weights_in_the_store_that_are_not_finite_are_not_blamed_on_the_base(ran, tmp_path):
    root, bundle = ran
    shutil.copytree(root / "bundle" / "result" / f"train-{bundle.name}", tmp_path / "attempt")
    weights = load_file(tmp_path / "attempt" / adapter_files.WEIGHTS)
    _not_finite(weights)
    (tmp_path / "attempt" / adapter_files.WEIGHTS).write_bytes(save(weights))
    with pytest.raises(ModelError, match="(?s)adapter can't be loaded.*not finite.*train the attempt again"):
        open_attempt(tmp_path / "attempt", root)


def test_a_file_with_a_second_name_is_not_taken(ran, tmp_path):
    root, bundle = ran
    shutil.copytree(root / "bundle", tmp_path / "bundle")
    cost = tmp_path / "bundle" / "result" / f"train-{bundle.name}" / "cost.json"
    (tmp_path / "private.json").hardlink_to(cost)
    with pytest.raises(WorkspaceError, match="hard link"):
        bundles.unpack(tmp_path / "bundle", bundle, tmp_path / "store")


def test_an_attempt_in_the_store_with_other_settings_is_not_used(ran, tmp_path):
    bundle, made = forged(
        ran, tmp_path / "bundle", "spec.json", lambda v: {**v, "base": {**v["base"], "code": "a" * 64}}
    )
    with pytest.raises(WorkspaceError, match="do not match its name"):
        attempts.train_attempt(bundle / "result", SPEC, examples(8), ran[0], lambda *_: None)


@pytest.mark.parametrize("method", ADAPTING)
def test_the_settings_and_shapes_of_every_method_are_known_without_the_values_of_the_base(ran, tmp_path, method):
    defaults = METHODS[method].settings
    small = {name: 4 if name in ("rank", "tokens") else value for name, value in defaults.items()}
    spec = spec_from_json({**to_json(SPEC), "method": method, **small})
    adapter_files.save(attach(load(SPEC.base, ran[0]), spec), spec, tmp_path)
    adapter_files.check_config(tmp_path / adapter_files.CONFIG, spec)
    assert shapes_of(spec, ran[0]) is not None
    check_weights(tmp_path / adapter_files.WEIGHTS, spec, ran[0])
    for name in ("layers", "rank", "tokens"):
        if name in defaults:
            with pytest.raises(ModelError, match="not those of its attempt"):
                adapter_files.check_config(tmp_path / adapter_files.CONFIG, spec_from_json({**to_json(spec), name: 7}))


def test_code_that_a_bundle_brings_runs_only_if_a_person_names_its_hash(tmp_path, base_folder):
    code, other = "a" * 64, "b" * 64
    shutil.copytree(base_folder, tmp_path / "bases" / "able")
    spec = replace(SPEC, base=Base("bases/able", code=code))
    bundle = attempts.bundle_of(spec, examples(8), tmp_path, eval_rows=(), options=attempts.RunOptions())
    bundles.pack(tmp_path / "bundle", bundle, with_base=True)
    for allowed, words in (("", "this hash from you"), (other, f"you allowed {other}")):
        with pytest.raises(ModelError, match=f"(?s)code of its base, which is not run.*{code}.*{words}"):
            run.run(tmp_path / "bundle", allow_code=allowed)
    with pytest.raises(ModelError, match="not the code that was allowed"):  # as the base has none of that hash
        run.run(tmp_path / "bundle", allow_code=code)
    assert run.main([str(tmp_path / "bundle"), "--allow-code", other]) == 2
