"""A constrained attempt: what evaluation writes is what serving writes, and what a machine without the library does."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from rungwise.attempts import bundle as bundles
from rungwise.attempts import run as attempts
from rungwise.attempts import store
from rungwise.attempts.evaluate import evaluate_attempt
from rungwise.core.errors import ModelError
from rungwise.core.folders import is_sealed, read_json
from rungwise.core.prompts import object_text, parse_object
from rungwise.core.records import AnswerForm, AttemptSpec, Base, spec_from_json
from rungwise.evidence.metrics import other_metrics
from rungwise.model import constrain
from rungwise.serving.answerer import Answerer
from rungwise.training import loop
from tests.attempts.test_bundles import BARE
from tests.conftest import environment, examples

pytest.importorskip("llguidance")

QUEUES = ("account", "billing", "delivery", "repair")
FORM = AnswerForm(  # keys that are not in the order of the alphabet
    "json",
    fields={"queue": AnswerForm("label", QUEUES), "items": AnswerForm("list"), "body": AnswerForm("text")},
    keys=("queue", "items", "body"),
)


def rows(n, seed=1):
    return [
        replace(e, answer=object_text({"queue": e.answer, "items": [e.answer, "x"], "body": "sent " + e.answer}))
        for e in examples(n, seed)
    ]


def spec_for(base, **changes):
    settings = {"rank": 2, "steps": 3, "batch_size": 8, "seed": 5, "constrained": True, **changes}
    return AttemptSpec(Base(str(base)), "lora", "{body}\nTriage:", FORM, **settings)


def quiet(done, total, what):
    pass


@pytest.mark.parametrize("method", ["lora", "prompt"])
def test_evaluation_and_serving_write_the_same_valid_answers(tmp_path, base_folder, method):
    spec = replace(spec_for(base_folder), method=method, examples=2 * (method == "prompt"))
    attempt = attempts.train_attempt(tmp_path, spec, rows(40), tmp_path, quiet)
    predictions = evaluate_attempt(tmp_path, attempt, spec, rows(12, 2), tmp_path, quiet)
    assert all(list(parse_object(FORM, p.answer)) == list(FORM.keys) for p in predictions)
    assert other_metrics(FORM, predictions, 0.95)["valid objects"].value == 1.0
    assert list(read_json(attempt.folder / store.SPEC)["form"]["fields"]) == ["body", "items", "queue"]  # sorted
    assert Answerer(attempt.folder, tmp_path).judge(rows(12, 2)) == predictions
    free = replace(spec, constrained=False, form=replace(FORM, keys=()))
    attempt = attempts.train_attempt(tmp_path, free, rows(40), tmp_path, quiet)
    predictions = evaluate_attempt(tmp_path, attempt, free, rows(12, 2), tmp_path, quiet)
    assert other_metrics(FORM, predictions, 0.95)["valid objects"].value < 1.0


def test_a_spec_comes_back_with_the_order_of_its_keys(base_folder, tmp_path):
    from rungwise.core.folders import write_json
    from rungwise.core.records import to_json

    write_json(tmp_path / "spec.json", to_json(spec_for(base_folder)))
    back = spec_from_json(read_json(tmp_path / "spec.json"))
    assert back == spec_for(base_folder) and back.form.keys == ("queue", "items", "body")


def test_a_registered_model_requires_the_library(base_folder):
    spec = spec_for(base_folder)
    assert store.answering_versions(spec)["llguidance"].startswith("1.")
    assert store.answering_versions(replace(spec, constrained=False)) == store.versions()
    assert store.answering_versions(replace(spec, base=None, method="classical", constrained=False)) == (
        store.classical_versions()
    )


def test_answers_that_the_constraint_does_not_allow_are_counted(tmp_path, base_folder):
    said: list[str] = []
    odd = [replace(row, answer=row.answer.replace("billing", "refunds", 1)) for row in rows(40)]
    options = attempts.RunOptions(say=said.append)
    attempts.train_attempt(tmp_path, spec_for(base_folder), odd, tmp_path, quiet, options=options)
    n = len({row.answer for row in odd})
    assert f"warning: 1 of {n} different training answers can't be written under the constraint" in said


def test_without_the_library_an_attempt_that_has_to_write_fails_before_it_trains(tmp_path, base_folder, monkeypatch):
    monkeypatch.setattr(constrain, "find_spec", lambda name: None)
    constrain._tokenizer.cache_clear()
    monkeypatch.setattr(loop, "train", lambda *a, **k: pytest.fail("trained"))
    evaluated = spec_for(base_folder, eval_every=1, eval_rows=4, metric="fields")
    for spec in (evaluated, replace(spec_for(base_folder), method="prompt")):
        with pytest.raises(ModelError, match=r"(?s)no package llguidance.*constrained: false"):
            attempts.train_attempt(tmp_path, spec, rows(20), tmp_path, quiet, eval_rows=rows(4, 2))


def test_a_bare_machine_trains_a_constrained_attempt_without_the_library(tmp_path, base_folder):
    shutil.copytree(base_folder, tmp_path / "bases" / "able")
    bundle = attempts.bundle_of(spec_for("bases/able"), rows(20), tmp_path, eval_rows=(), options=attempts.RunOptions())
    bundles.pack(tmp_path / "bundle", bundle, with_base=True)
    bare = BARE.replace('"sacrebleu"', '"sacrebleu", "llguidance"')
    done = subprocess.run(
        [sys.executable, "-c", bare, str(tmp_path / "bundle")],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    folder = bundles.unpack(tmp_path / "bundle", bundle, tmp_path / "store")
    assert is_sealed(folder) and json.loads((folder / store.SPEC).read_text())["constrained"] is True
