import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from rungwise.attempts import evaluate as evaluation
from rungwise.attempts import run as attempts
from rungwise.attempts import store
from rungwise.attempts.evaluate import LATENCY_ROWS, evaluate_attempt
from rungwise.core.folders import is_sealed, read_json
from rungwise.core.records import AnswerForm, AttemptSpec, Base
from rungwise.model import language_model
from rungwise.model.prompt_choice import choose
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


def test_the_median_time_of_an_answer_is_stored_outside_the_predictions(tmp_path, spec):
    attempt = attempts.train_attempt(tmp_path, spec, examples(40), tmp_path, quiet)
    rows = examples(30, 2)
    evaluate_attempt(tmp_path, attempt, spec, rows, tmp_path, quiet)
    folder = tmp_path / store.evaluation_name(attempt.digest, rows)
    measured = read_json(folder / "cost.json")["latency"]
    assert 0 < measured["median_seconds"] < 5 and 3 <= measured["rows"] <= LATENCY_ROWS
    assert "latency" not in (folder / "predictions.jsonl").read_text()


class Slow:
    """A model that takes some seconds of a false clock for each row."""

    def __init__(self, seconds, monkeypatch):
        self.now, self.seconds = 0.0, iter(seconds)
        self.asked: list[str] = []
        monkeypatch.setattr("rungwise.attempts.evaluate.time.perf_counter", lambda: self.now)

    def __call__(self, rows):
        self.asked += [row.id for row in rows]
        self.now += next(self.seconds)


def test_the_latency_is_a_median_of_few_rows_if_they_are_slow(monkeypatch):
    slow = Slow([0.5, 9.0, 0.7], monkeypatch)
    assert evaluation.latency(slow, examples(30)) == {"median_seconds": 0.7, "rows": 3}
    fast = Slow([0.01] * LATENCY_ROWS, monkeypatch)
    assert evaluation.latency(fast, examples(30)) == {"median_seconds": 0.01, "rows": LATENCY_ROWS}
    assert len(set(fast.asked)) == LATENCY_ROWS and fast.asked[:3] == slow.asked  # the same sample
    assert evaluation.latency(fast, ()) == {"median_seconds": None, "rows": 0}


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


def test_the_digest_of_a_prompt_does_not_depend_on_the_names_of_rows_but_on_their_groups(tmp_path, spec):
    prompt = replace(spec, method="prompt", examples=3)

    def name(rows):
        return store.attempt_digest(prompt, rows, tmp_path)

    first = name(examples(40))
    assert name([replace(e, id=f"other-{i}", source="mails") for i, e in enumerate(examples(40))]) == first
    child = replace(examples(1)[0], id="child", parents=("row-0",), fields={"body": "made up"})
    assert name([*examples(40), child]) == first
    assert name([replace(e, group="all") for e in examples(40)]) != first


def test_the_recipe_of_prompts_is_not_that_of_training(tmp_path, spec, monkeypatch):
    prompt = replace(spec, method="prompt")
    before = [store.attempt_digest(one, examples(9), tmp_path) for one in (spec, prompt)]
    monkeypatch.setattr(store, "PROMPTING", 99)
    after = [store.attempt_digest(one, examples(9), tmp_path) for one in (spec, prompt)]
    assert before[0] == after[0] and before[1] != after[1]


def test_the_form_that_was_chosen_is_the_form_that_answers(tmp_path, spec):
    prompt = replace(spec, method="prompt", template="auto", examples=6)
    rows = examples(90)
    attempt = attempts.train_attempt(tmp_path / "store", prompt, rows, tmp_path, quiet)
    chosen = attempt.result["prompting"]
    assert chosen["sample_rows"] == 30 and chosen["form"]["template"] == "plain"  # the base has no chat template
    lm = language_model.load(prompt.base, tmp_path)
    model, described = choose(lm, prompt, rows, 0)
    assert json.loads(json.dumps(described)) == chosen
    opened = store.open_attempt(attempt.folder, tmp_path)
    assert opened.predict(examples(20, 2)) == model.predict(examples(20, 2))
    assert evaluate_attempt(tmp_path / "store", attempt, prompt, examples(20, 2), tmp_path, quiet) == opened.predict(
        examples(20, 2)
    )


KILLED = """
import sys
from pathlib import Path
from rungwise.attempts import run as attempts
from rungwise.attempts import store
from rungwise.core.records import AnswerForm, AttemptSpec, Base
from rungwise.model import language_model
from rungwise.model.prompt_choice import choose
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
