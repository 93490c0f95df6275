"""The plan of a method describes the training run that a rung of this method starts."""

import json

import pytest

from rungwise.cli import main as cli
from rungwise.climbing.rungs import spec_of
from rungwise.config import RungSettings
from rungwise.config import load as load_settings
from rungwise.core.methods import ADAPTING, LANGUAGE_MODEL_METHODS, METHODS
from rungwise.core.records import Base
from rungwise.model.adapters import attach
from rungwise.model.language_model import load
from rungwise.planning import measure
from rungwise.planning.job import Job
from rungwise.planning.machines import THIS, Machine
from rungwise.planning.model_config import config_of, shape_of
from rungwise.planning.plan import job_of, jobs_of_every_method, plan_config, plan_ladder
from rungwise.planning.rows import Lengths
from rungwise.planning.trainable import trainable_parameters
from tests.conftest import make_base

CPU = Machine(THIS, "2 cores", None, 8 * 10**9, 1e11, 5e10, 1e10, None, None, device="cpu")
OWN = {"rank": 3, "alpha": 7.0, "dropout": 0.25, "targets": ("v_proj", "down_proj"), "tokens": 6, "layers": 2}
OTHER = {"examples": 3, **OWN}


def ladder_of(workspace, method, own):
    """Settings with one rung of this method, with these of its settings."""
    settings = load_settings(workspace / "params.yaml")
    chosen = {name: value for name, value in own.items() if name in METHODS[method].settings}
    rung = RungSettings(name="rung", base="bases/able", method=method, **chosen)
    return settings.model_copy(update={"ladder": (rung,)}), rung


def trained_by(workspace, settings, rung):
    """How many parameters require a gradient in the model that the rung trains."""
    spec = spec_of(settings, settings.tasks["route"], rung, ["a", "b"])
    lm = load(spec.base, workspace)
    lm = attach(lm, spec) if METHODS[rung.method].trains else lm
    return sum(p.numel() for p in lm.model.parameters() if p.requires_grad)


@pytest.fixture
def workspace(workspace):
    make_base(workspace / "bases" / "able", hidden=48, layers=3, seed=2)
    return workspace


@pytest.mark.parametrize("own", [{}, OWN], ids=["defaults", "own settings"])
@pytest.mark.parametrize("method", LANGUAGE_MODEL_METHODS)
def test_a_plan_has_the_trainable_parameters_that_the_rung_trains(workspace, method, own):
    settings, rung = ladder_of(workspace, method, own)
    trained = trained_by(workspace, settings, rung)
    (planned,) = plan_ladder(workspace, settings, [CPU], {})
    assert planned.trainable == trained and (trained > 0) == METHODS[method].trains
    if not own:
        jobs = {method: jobs_of_every_method(1, 64, 8)[method]}
        (of_config,) = plan_config(workspace / "bases" / "able" / "config.json", jobs, [CPU], {})
        assert of_config.trainable == trained


@pytest.mark.filterwarnings("ignore")
def test_the_command_plans_a_config_with_the_methods_own_defaults(workspace, monkeypatch, capsys):
    monkeypatch.setenv("RUNGWISE_WORKSPACE", str(workspace))
    monkeypatch.setattr(measure, "this_machine", lambda: CPU)
    path = workspace / "bases" / "able" / "config.json"
    assert cli.main(["plan", "--config", str(path), "--json"]) == 0
    trainable = {one["rung"]: one["trainable"] for one in json.loads(capsys.readouterr().out)["fits"]}
    assert trainable.pop("qlora") == trainable["lora"]
    for method in LANGUAGE_MODEL_METHODS:
        settings, rung = ladder_of(workspace, method, {})
        assert trainable.pop(method) == trained_by(workspace, settings, rung), method
    assert not trainable


@pytest.mark.parametrize("own", [{}, OTHER], ids=["defaults", "own settings"])
@pytest.mark.parametrize("method", LANGUAGE_MODEL_METHODS)
def test_a_job_has_the_settings_of_the_rungs_attempt(workspace, method, own):
    settings, rung = ladder_of(workspace, method, own)
    spec = spec_of(settings, settings.tasks["route"], rung, ["a", "b"])
    shape = shape_of(config_of(spec.base, workspace))
    for job in (job_of(settings, rung, "cpu", Lengths(), shape), *([Job(method)] if not own else [])):
        assert (job.method, job.precision, job.rank, job.targets) == (
            spec.method,
            spec.precision,
            spec.rank,
            spec.targets,
        )
        assert (job.dropout, job.virtual_tokens, job.last_layers) == (spec.dropout, spec.tokens, spec.layers)
    assert job_of(settings, rung, "cpu", Lengths(), shape).is_checkpointed == spec.checkpointing


def test_a_setting_of_another_method_is_ignored(workspace):
    shape = shape_of(config_of(Base("bases/able"), workspace))
    for method in LANGUAGE_MODEL_METHODS:
        foreign = {name: value for name, value in OTHER.items() if name not in METHODS[method].settings}
        assert trainable_parameters(shape, Job(method, settings=foreign)) == trainable_parameters(shape, Job(method))


def test_every_method_that_trains_says_what_it_trains():
    for name in ADAPTING:
        method = METHODS[name]
        is_selection = method.family in ("full", "selection")
        assert not method.trains_base or is_selection, name
        assert (method.virtual_tokens != "none") == ("tokens" in method.settings), name
        assert not method.is_low_rank or {"rank", "targets"} <= set(method.settings), name
