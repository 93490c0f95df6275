import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from rungwise.attempts import run as attempts
from rungwise.attempts import store
from rungwise.attempts.evaluate import evaluate_attempt
from rungwise.core.folders import is_sealed
from rungwise.core.records import AnswerForm, AttemptSpec, Base
from rungwise.model import language_model
from tests.conftest import environment, examples, make_base

FORM = AnswerForm("label", ("account", "billing", "delivery", "repair"))


@pytest.fixture
def spec(base_folder):
    return AttemptSpec(Base(str(base_folder)), "lora", "{body}\nQueue:", FORM, rank=2, steps=3, batch_size=8, seed=5)


def quiet(done, total, what):
    pass


def test_a_finished_attempt_is_never_trained_or_scored_twice(tmp_path, spec, monkeypatch):
    first = attempts.train_attempt(tmp_path, spec, examples(40), tmp_path, quiet)
    scores = evaluate_attempt(tmp_path, first, spec, examples(20, 2), tmp_path, quiet)
    monkeypatch.setattr(attempts, "load", lambda *a, **k: pytest.fail("trained again"))
    monkeypatch.setattr(language_model, "load", lambda *a, **k: pytest.fail("loaded again"))
    assert attempts.train_attempt(tmp_path, spec, examples(40), tmp_path, quiet) == first
    assert evaluate_attempt(tmp_path, first, spec, examples(20, 2), tmp_path, quiet) == scores


def test_the_digest_depends_on_everything_that_decides_the_result(tmp_path, spec, weak_folder, monkeypatch):
    def name(spec=spec, rows=None):
        return store.attempt_digest(spec, rows or examples(40), tmp_path)

    first = name()
    others = [
        name(replace(spec, learning_rate=1e-3)),
        name(replace(spec, seed=6)),
        name(replace(spec, base=Base(str(weak_folder)))),
        name(rows=examples(41)),
        name(rows=list(reversed(examples(40)))),
    ]
    monkeypatch.setattr(store, "TRAINING", 99)
    others.append(name())
    assert len({first, *others}) == 7


def test_an_attempt_whose_rows_all_exceed_the_context_is_stored_with_a_note(tmp_path, spec):
    short = make_base(tmp_path / "short", context=8)
    actual = attempts.train_attempt(
        tmp_path / "store", replace(spec, base=Base(str(short))), examples(20), tmp_path, quiet
    )
    assert "all 20 training rows are longer than the context of 8 tokens" in actual.result["note"]
    scores = evaluate_attempt(tmp_path / "store", actual, spec, examples(5), tmp_path, quiet)
    assert {p.unscored for p in scores} == {"not_trained"}


def test_rows_over_the_context_have_no_answer(tmp_path, spec):
    prompt = replace(spec, method="prompt", examples=0, base=Base(str(make_base(tmp_path / "short", context=11))))
    actual = attempts.train_attempt(tmp_path / "store", prompt, examples(20), tmp_path, quiet)
    scores = evaluate_attempt(tmp_path / "store", actual, prompt, examples(50), tmp_path, quiet)
    unscored = [p for p in scores if p.answer is None]
    assert 0 < len(unscored) < 50 and {p.unscored for p in unscored} == {"over_context"}


def test_shown_examples_depend_only_on_the_rows_texts(tmp_path, spec):

    prompt = replace(spec, method="prompt", examples=3)
    renamed = [replace(e, id=f"other-{i}", source="mails") for i, e in enumerate(examples(40))]
    assert store.attempt_digest(prompt, renamed, tmp_path) == store.attempt_digest(prompt, examples(40), tmp_path)
    assert choose_shown(prompt, renamed) == choose_shown(prompt, examples(40))
    child = replace(examples(1)[0], id="child", parents=("row-0",), fields={"body": "made up"})
    assert choose_shown(prompt, [*renamed, child]) == choose_shown(prompt, examples(40))


def test_shown_examples_are_training_rows_of_different_labels(tmp_path, spec):

    rows = examples(40)
    shown = choose_shown(replace(spec, examples=4), rows)
    assert len({answer for _, answer in shown}) == 4
    assert all((dict(e.fields), e.answer) for e in rows) and shown == choose_shown(
        replace(spec, examples=4), rows[::-1]
    )


def test_shown_examples_leave_room_for_the_question(tmp_path, spec):
    def shown(context, examples_wanted=4):
        base = Base(str(make_base(tmp_path / f"context-{context}", context=context)))
        prompt = replace(spec, method="prompt", examples=examples_wanted, base=base)
        long = replace(examples(1)[0], id="long", fields={"body": "please " * 400})
        rows = [*examples(200), long, replace(long, id="made", parents=("long",))]
        attempt = attempts.train_attempt(tmp_path / "store", prompt, rows, tmp_path, quiet)
        scores = evaluate_attempt(tmp_path / "store", attempt, prompt, rows, tmp_path, quiet)
        return len(json.loads((attempt.folder / store.SHOWN).read_text())), [
            p.id for p in scores if p.unscored and p.id != "made"
        ]

    assert shown(256) == (4, ["long"])
    few, unscored = shown(48)
    assert 0 < few < 4 and unscored == ["long"]
    assert shown(16)[0] == 0


KILLED = """
import sys
from pathlib import Path
from rungwise.attempts import run as attempts
from rungwise.attempts import store
from rungwise.core.records import AnswerForm, AttemptSpec, Base
from rungwise.model import language_model
from tests.conftest import examples
spec = AttemptSpec(Base(sys.argv[1]), "lora", "{body}\\nQueue:", AnswerForm("label", ("account", "billing", "delivery", "repair")),
                   rank=2, steps=int(sys.argv[3]), batch_size=8, seed=5)
def show(done, total, what):
    print(done, flush=True)
attempts.train_attempt(Path(sys.argv[2]), spec, examples(40), Path("."), show)
"""


def test_a_killed_run_leaves_no_sealed_folder(tmp_path, spec):
    command = [sys.executable, "-c", KILLED, str(spec.base), str(tmp_path), "100000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
    assert process.stdout.readline() == "1\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    time.sleep(0.1)
    assert not [p for p in tmp_path.iterdir() if is_sealed(p)]
    finished = attempts.train_attempt(tmp_path, spec, examples(40), tmp_path, quiet)
    assert is_sealed(finished.folder)
