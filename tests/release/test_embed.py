"""A rung with a frozen encoder from its climb to its answers: registered, proved, promoted, served."""

import json
import shutil
import subprocess
import sys

import pytest

from rungwise.attempts.__main__ import run
from rungwise.attempts.store import RESULT, open_attempt
from rungwise.climbing.ladder import BEST, changed_bases, last_climb
from rungwise.core.climb_reasons import WithoutModel
from rungwise.core.folders import read_json
from rungwise.core.recipes import STAGES
from rungwise.model.embed import ANSWERS
from rungwise.model.vectors import stored_vectors
from rungwise.pipeline.stages import run_stage
from rungwise.release import parity
from rungwise.release.champion import answer
from rungwise.release.connection import Connection
from rungwise.release.promote import promote
from rungwise.release.register import register
from rungwise.release.registry import CHAMPION, Registry
from rungwise.release.runs import log_climb
from rungwise.report.read import status
from rungwise.report.text import status_text
from rungwise.workspace.layout import Paths
from tests.conftest import environment, write_workspace
from tests.model.tiny_encoder import make_encoder, with_modules

LADDER = """\
  - {name: embed, base: bases/tiny, method: embed}
  - {name: rank-2, base: bases/able, method: lora}
"""
RELOAD = """
import json, sys, mlflow
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/route@champion")
print(json.dumps([{"answer": a.answer, "probability": a.probability} for a in model.predict(json.loads(sys.argv[2]))]))
"""


@pytest.fixture(scope="module")
def climbed(tmp_path_factory, base_folder):
    root = write_workspace(tmp_path_factory.mktemp("embedded") / "ws", base_folder, rows=500, ladder=LADDER, target=0.8)
    with_modules(make_encoder(root / "bases" / "tiny"), {"pooling_mode_mean_tokens": True})
    for verb in STAGES:
        run_stage(root, verb)
    return root


@pytest.fixture(scope="module")
def promoted(climbed):
    registered = register(climbed, "route")
    assert (registered.rung, registered.version) == ("embed", 1)
    assert promote(climbed, "route").action == "promote"
    return climbed


def test_the_verdict_says_that_no_language_model_needs_training(climbed):
    climb = last_climb(climbed, "route")
    assert climb.decision.passes and climb.decision.rung == "embed"
    assert isinstance(climb.comparison, WithoutModel) and climb.comparison.is_enough and climb.comparison.is_encoder
    text = status_text(status(climbed))
    assert "A frozen encoder is enough, no language model needs training: embed (a frozen encoder) reaches" in text
    [evidence] = climb.evidence
    assert evidence.trained_parameters == 4 * 48 + 4 and evidence.train_tokens > evidence.train_rows * 3
    assert f"196 on {evidence.base_parameters:,} frozen" in text


def test_its_vectors_are_in_the_store_of_attempts(climbed):
    assert len(stored_vectors(Paths(climbed).attempts)) == 2  # training and validation rows


def test_it_is_proved_registered_and_served(promoted):
    version = Registry(promoted).version("route", CHAMPION)
    assert version.tags["reload"] == "exact" and version.tags["method"] == "embed"
    assert version.tags["base"] == "bases/tiny" and int(version.tags["base_parameters"]) > 0
    with Registry(promoted).attempt_folder(version) as folder:
        assert parity.largest_difference(folder, promoted) == 0
        requirements = (folder.parents[1] / "requirements.txt").read_text()
    assert "scikit-learn==" in requirements and "transformers==" in requirements
    own = answer(promoted, "route", {}, "where is my parcel")
    assert own.answer == "delivery" and own.probability > 0.5
    rows = json.dumps([{"body": "where is my parcel"}])
    command = [sys.executable, "-c", RELOAD, f"sqlite:///{promoted / 'mlflow.db'}", rows]
    served = subprocess.run(
        command, capture_output=True, text=True, env=environment(RUNGWISE_WORKSPACE=str(promoted)), cwd=promoted
    )
    assert served.returncode == 0, served.stderr
    assert json.loads(served.stdout) == [{"answer": own.answer, "probability": own.probability}]


def test_other_pooling_files_are_another_base(promoted):
    assert changed_bases(promoted) == []
    pooling = promoted / "bases" / "tiny" / "1_Pooling" / "config.json"
    before = pooling.read_text()
    pooling.write_text(json.dumps({"pooling_mode_cls_token": True}))
    try:
        assert changed_bases(promoted) == ["bases/tiny"]
    finally:
        pooling.write_text(before)


def test_the_best_files_answer_again(climbed):
    folder = Paths(climbed).output("climb") / "route" / BEST
    assert read_json(folder / RESULT)["base_digest"] == open_attempt(folder, climbed).digest


def test_a_rung_with_an_encoder_is_packed_and_its_result_found(climbed, tmp_path):
    from rungwise.climbing.exchange import pack, unpack
    from rungwise.core.errors import SettingsError

    name = pack(climbed, "route", "embed", tmp_path / "bundle")
    assert (tmp_path / "bundle/content/bases/tiny/1_Pooling/config.json").is_file()
    run(tmp_path / "bundle")
    assert unpack(climbed, tmp_path / "bundle") == (name, ("route/embed",))
    with pytest.raises(SettingsError, match="no such rung") as error:
        pack(climbed, "route", "none", tmp_path / "other")
    assert error.value.problem.wanted == "one of embed, rank-2"


def test_answers_of_training_rows_are_not_logged_with_a_run(promoted, tmp_path):
    climb = last_climb(promoted, "route")
    [evidence] = climb.evidence
    folder = tmp_path / "attempt"
    shutil.copytree(Paths(promoted).attempts / f"train-{evidence.attempt}", folder)
    (folder / ANSWERS).write_text('{"": ["an answer of a row"]}')
    run_id = log_climb(Connection(promoted), "other", climb, {evidence.rung: folder}, "other-data")[evidence.rung]
    logged = {path.name for path in (promoted / "mlartifacts").glob(f"**/{run_id}/artifacts/attempt/*")}
    assert RESULT in logged and ANSWERS not in logged
