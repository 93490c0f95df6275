"""A base with its own code: refused by default, run if its hash allows it, refused again after a change."""

import json
import re
import shutil
import sys

import pytest
from transformers.utils import HF_MODULES_CACHE

from rungwise.attempts.run import RunOptions, train_attempt
from rungwise.attempts.store import attempt_digest, open_attempt
from rungwise.climbing.rungs import spec_of
from rungwise.config import base_of, parse, read_raw
from rungwise.config import load as load_settings
from rungwise.core.errors import ModelError, SettingsError
from rungwise.core.records import AnswerForm, AttemptSpec, Base, spec_from_json, to_json
from rungwise.model import language_model as models
from rungwise.model.bases import base_digest, code_digest, may_run_code
from rungwise.serving.answerer import Answerer
from tests.conftest import examples

CONFIG = """\
from transformers import LlamaConfig


class OddConfig(LlamaConfig):
    model_type = "odd"
"""
MODEL = """\
from pathlib import Path

from transformers import LlamaForCausalLM

from .odd_config import OddConfig

Path({ran!r}).touch()


class OddModel(LlamaForCausalLM):
    config_class = OddConfig
"""


@pytest.fixture
def odd(tmp_path, base_folder):
    """A Llama under a name that transformers does not know, with the code that makes it known; `ran` shows that it ran."""
    name = "odd_" + re.sub(r"\W", "_", tmp_path.name)  # transformers keeps modules by the folder's name
    folder = tmp_path / name
    shutil.copytree(base_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "odd", "architectures": ["OddModel"]}
    config["auto_map"] = {"AutoConfig": "odd_config.OddConfig", "AutoModelForCausalLM": "odd_model.OddModel"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "odd_config.py").write_text(CONFIG)
    (folder / "odd_model.py").write_text(MODEL.format(ran=str(tmp_path / "ran")))
    yield folder
    shutil.rmtree(f"{HF_MODULES_CACHE}/transformers_modules/{name}", ignore_errors=True)
    for module in [m for m in sys.modules if name in m]:
        del sys.modules[module]


def spec(base: Base) -> AttemptSpec:
    form = AnswerForm("label", ("account", "billing", "delivery", "repair"))
    return AttemptSpec(base, "lora", "{body}\nQueue:", form, rank=2, steps=2, batch_size=4, learning_rate=1e-3)


def silent(*_):
    pass


def test_code_is_refused_by_default_and_the_message_has_the_hash_that_allows_it(odd, tmp_path):
    for read in (models.load, models.load_reader):
        with pytest.raises(ModelError, match="needs its own code, which is not run") as error:
            read(Base(odd.name), tmp_path)
        text = str(error.value)
        assert f'`remote_code: "{code_digest(odd)}"` on the rung' in text and "odd_config.py, odd_model.py" in text
        assert "runs the model author's code on this machine" in text
    assert not (tmp_path / "ran").exists()


def test_allowed_code_runs_and_the_base_is_trained_and_answers(odd, tmp_path):
    base = Base(odd.name, code=code_digest(odd))
    assert may_run_code(base, odd)
    lm = models.load(base, tmp_path)
    assert type(lm.model).__name__ == "OddModel" and (tmp_path / "ran").exists()
    assert models.load_reader(base, tmp_path).prefix == lm.prefix
    attempt = train_attempt(tmp_path / "store", spec(base), examples(8), tmp_path, silent)
    assert attempt.result["trained_parameters"] > 0
    assert open_attempt(attempt.folder, tmp_path).predict(examples(3))[0].answer
    assert Answerer(attempt.folder, tmp_path).judge(examples(2))


def test_allowed_code_runs_in_launched_processes_too(odd, tmp_path):
    base = Base(odd.name, code=code_digest(odd))
    options = RunOptions(launch=(sys.executable,), say=silent)
    attempt = train_attempt(tmp_path / "store", spec(base), examples(8), tmp_path, silent, options=options)
    assert attempt.result["trained_parameters"] > 0 and (tmp_path / "ran").exists()


@pytest.mark.parametrize("change", ["edited", "added", "removed", "below"])
def test_changed_code_is_refused_before_it_runs_in_training_and_in_a_release(odd, tmp_path, change):
    base = Base(odd.name, code=code_digest(odd))
    attempt = train_attempt(tmp_path / "store", spec(base), examples(8), tmp_path, silent)
    (tmp_path / "ran").unlink()
    match change:
        case "edited":
            with (odd / "odd_model.py").open("a") as file:
                file.write("# one comment more\n")
        case "added":
            (odd / "more.py").write_text("")
        case "below":
            (odd / "inner").mkdir()
            (odd / "inner" / "more.py").write_text("")
        case "removed":
            (odd / "odd_config.py").unlink()
    for act in (
        lambda: models.load(base, tmp_path),
        lambda: models.load_reader(base, tmp_path),
        lambda: Answerer(attempt.folder, tmp_path),
    ):
        with pytest.raises(ModelError, match="not the code that was allowed") as error:
            act()
        assert base.code in str(error.value) and code_digest(odd) in str(error.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "reference",
    [
        "some/model--odd_model.OddModel",
        "/tmp/odd_model.OddModel",
        "../odd_model.OddModel",
        ["odd_model.OddModel", "x/y.Z"],
    ],
)
@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_configs_that_refer_to_code_elsewhere_are_refused(odd, tmp_path, reference, file):
    values = json.loads((odd / file).read_text())
    (odd / file).write_text(json.dumps(values | {"auto_map": {"AutoModelForCausalLM": reference}}))
    with pytest.raises(ModelError, match="refers to code outside its folder"):
        models.load(Base(odd.name, code=code_digest(odd)), tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_base_that_transformers_supports_runs_no_code(odd, tmp_path):
    config = json.loads((odd / "config.json").read_text())
    (odd / "config.json").write_text(json.dumps(config | {"model_type": "llama"}))
    assert type(models.load(Base(odd.name), tmp_path).model).__name__ == "LlamaForCausalLM"
    assert not (tmp_path / "ran").exists()


def test_the_hash_in_the_rung_is_stored_with_the_attempt(workspace):
    path, code = workspace / "params.yaml", "ab" * 32
    path.write_text(path.read_text().replace("method: lora,", f'method: lora, remote_code: "{code}",'))
    settings = load_settings(path)
    assert [base_of(rung) for rung in settings.ladder] == [Base("bases/able"), Base("bases/able", code=code)]
    made = spec_of(settings, settings.tasks["route"], settings.ladder[1], ["a", "b"])
    assert made.base == Base("bases/able", code=code) and spec_from_json(to_json(made)) == made


@pytest.mark.parametrize("value", ["true", '"abc"', '"' + "AB" * 32 + '"'])
def test_only_a_hash_allows_code(workspace, value):
    path = workspace / "params.yaml"
    path.write_text(path.read_text().replace("method: lora,", f"method: lora, remote_code: {value},"))
    with pytest.raises(SettingsError, match="remote_code"):
        load_settings(path)


def test_without_a_base_there_is_no_code_to_allow(workspace):
    values = read_raw(workspace / "params.yaml")
    values["ladder"][0] = {"name": "none", "method": "classical", "remote_code": "ab" * 32}
    with pytest.raises(SettingsError, match="remote_code: this rung has no base"):
        parse(values)


def test_digests_of_attempts_without_code_do_not_change(base_folder, tmp_path):
    made = to_json(spec(Base("x")))
    assert made["base"] == {"name": "x", "revision": ""} and spec_from_json(made) == spec(Base("x"))
    shutil.copytree(base_folder, tmp_path / "x")
    names = {attempt_digest(spec(Base("x", code=code)), examples(2), tmp_path) for code in ("", "ab" * 32)}
    assert len(names) == 2 and base_digest(tmp_path / "x") == base_digest(base_folder)
