"""The rung without a language model is proved like any other: a new process computes equal numbers."""

import json
import shutil

import pytest

from rungwise.attempts.run import train_attempt
from rungwise.attempts.store import open_attempt
from rungwise.core.errors import RegistryError
from rungwise.core.records import AnswerForm, AttemptSpec, Example
from rungwise.model.classical import WEIGHTS
from rungwise.release import parity
from tests.conftest import examples

LABELS = AnswerForm("label", ("account", "billing", "delivery", "repair"))
OBJECT = AnswerForm("json", fields={"q": LABELS, "w": AnswerForm("list"), "r": AnswerForm("text")})


def rows_of(form):
    def answer(one: Example) -> str:
        if form.format == "json":
            return json.dumps({"q": one.answer, "w": [one.answer], "r": f"about {one.answer}"})
        return f"about {one.answer}" if form.format == "text" else one.answer

    return [Example(e.id, e.fields, answer(e), e.source, e.line, e.group) for e in examples(60)]


@pytest.mark.parametrize("form", [AnswerForm("text"), OBJECT], ids=["text", "json"])
def test_texts_and_objects_reload_exactly_in_a_new_process(tmp_path, form):
    spec = AttemptSpec(None, "classical", "{body}", form, steps=0, batch_size=0)
    attempt = train_attempt(tmp_path / "store", spec, rows_of(form), tmp_path, lambda *_: None)
    parity.record(attempt.folder, tmp_path)
    parity.prove(attempt.folder, tmp_path)
    answers = [open_attempt(attempt.folder, tmp_path).predict(rows_of(form)) for _ in range(2)]
    assert answers[0] == answers[1] and answers[0][0].answer == rows_of(form)[0].answer


def test_one_process_proves_all_models_and_tells_those_that_differ(tmp_path):
    from safetensors.numpy import load_file, save_file

    spec = AttemptSpec(None, "classical", "{body}", LABELS, steps=0, batch_size=0)
    folder = train_attempt(tmp_path / "store", spec, examples(60), tmp_path, lambda *_: None).folder
    parity.record(folder, tmp_path)
    changed = shutil.copytree(folder, tmp_path / "changed")
    weights = load_file(changed / WEIGHTS)
    name = next(name for name in weights if name.endswith("intercepts_L"))
    weights[name][0] += 0.001
    save_file(weights, changed / WEIGHTS)
    with parity.Prover(tmp_path) as prove:
        prove(folder)
        first = prove._process
        with pytest.raises(RegistryError, match=r"does not reload exactly(.|\n)*a difference of"):
            prove(changed)
        prove(folder)
        assert prove._process is first and first.poll() is None
        with pytest.raises(RegistryError, match=r"does not reload exactly(.|\n)*FileNotFoundError.*nowhere"):
            prove(tmp_path / "nowhere")  # which ends the process
        prove(folder)
        second = prove._process
    assert second.poll() == 0


def test_an_attempt_without_a_base_is_named_by_the_lineage_groups_too(tmp_path):
    """They decide which rows are held out when settings are compared."""
    from dataclasses import replace

    from rungwise.attempts.store import attempt_digest

    spec = AttemptSpec(None, "classical", "{body}", LABELS)
    rows = examples(8)
    assert attempt_digest(spec, rows, tmp_path) != attempt_digest(
        spec, [replace(e, group="one") for e in rows], tmp_path
    )
