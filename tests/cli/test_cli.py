"""Invalid input, case by case: a clear message, exit code 2, no traceback, and existing files do not change."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys

import pytest

from rungwise.cli import main as cli
from rungwise.core.folders import read_json, read_lines, tree_digests
from rungwise.core.recipes import RECIPES, STAGES
from rungwise.pipeline import stages
from tests.conftest import environment, error_of, make_base, with_dvc

LORA = "  - {name: rank-2, base: bases/able, method: lora, rank: 2, alpha: 4, steps: 2}"


def edit(root, old, new):
    text = (root / "params.yaml").read_text()
    assert old in text
    (root / "params.yaml").write_text(text.replace(old, new))


def rows(root, content):
    path = root / "data/raw/tickets.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def append(root, text):
    with (root / "data/raw/tickets.csv").open("ab") as stream:
        stream.write(text if isinstance(text, bytes) else text.encode())


def run_stages(root, monkeypatch, capsys, verbs=STAGES):
    """Runs stages like DVC; returns the first exit code that is not 0, and the output."""
    monkeypatch.setenv("RUNGWISE_WORKSPACE", str(root))
    for verb in verbs:
        code = stages.main([verb, "--recipe", str(RECIPES[verb])])
        if code:
            return code, capsys.readouterr().err
    return 0, capsys.readouterr().err


@pytest.fixture
def good(workspace, monkeypatch, capsys):
    """A workspace whose stages before the climb ran once, with a rung of two training steps."""
    edit(workspace, (workspace / "params.yaml").read_text().split("ladder:\n")[1].split("ingest:")[0], LORA + "\n")
    assert run_stages(workspace, monkeypatch, capsys, STAGES[:-1])[0] == 0
    return workspace


STOPS = {
    "missing file": (lambda r: (r / "data/raw/tickets.csv").unlink(), ["file is missing", "tickets.csv", "nothing"]),
    "missing column": (lambda r: rows(r, "text,queue\na,b\n"), ["column is missing", "text, queue", "wanted: body"]),
    "empty file": (lambda r: rows(r, ""), ["file is empty", "tickets.csv", "0 bytes"]),
    "header only": (lambda r: rows(r, "body,queue\n"), ["have no rows"]),
    "all bytes wrong": (lambda r: rows(r, b"body,queue\n\xff\xfe,a\n"), ["1 of 1 rows were rejected", "not_utf8"]),
    "unknown key": (lambda r: edit(r, "seed: 7", "seed: 7\nsede: 7"), ["unknown key", "sede", "one of seed, tasks"]),
    "wrong type": (lambda r: edit(r, "min_rows: 20", "min_rows: twenty"), ["validate.min_rows", '"twenty"', "integer"]),
    "task name that is a path": (lambda r: edit(r, "route:", "../x:"), ["../x", "a lowercase letter"]),
    "task name that is a command": (lambda r: edit(r, "route:", "$(touch y):"), ["$(touch y)", "a lowercase letter"]),
    "missing base": (lambda r: edit(r, "bases/able", "bases/gone"), ["base model is not there", "bases/gone"]),
    "target that matches nothing": (
        lambda r: edit(r, "rank: 2,", "rank: 2, targets: [q_proj, w_proj],"),
        ["target module matches nothing", "found:  w_proj", "q_proj"],
    ),
    "label seen once, to stop": (
        lambda r: (append(r, "never seen,rare\n"), edit(r, "min_rows: 20", "min_rows: 20, rare_labels: stop")),
        ["too few rows to be learned", "tickets line 202", "found:  1 row\n"],
    ),
    "too few rows": (
        lambda r: rows(r, "body,queue\na,b\nc,d\n"),
        ["don't meet an expectation", "row_count", "found:  2", "`validate.min_rows`"],
    ),
}


@pytest.mark.parametrize("case", STOPS)
def test_an_input_that_stops_the_run_is_one_clear_error_and_no_file_is_lost(good, monkeypatch, capsys, case):
    before = tree_digests(good / "data"), os.listdir(good)
    damage, words = STOPS[case]
    damage(good)
    raw = tree_digests(good / "data/raw")
    code, said = run_stages(good, monkeypatch, capsys)
    assert code == 2 and "Traceback" not in said
    message = said[said.index("rungwise: ") :]
    for word in words:
        assert word in message, message
    now = {k: v for k, v in tree_digests(good / "data").items() if not k.startswith("raw/")}
    ran = [line.split()[0] for line in said[: said.index("rungwise: ")].splitlines()]
    for name, found in before[0].items():
        if not name.startswith("raw/") and name.split("/")[0] not in ran:
            assert now[name] == found
    assert tree_digests(good / "data/raw") == raw and os.listdir(good) == before[1]
    assert not (good / "y").exists() and not (good.parent / "x").exists()


REJECTED = {
    "bytes that are not text": (b"caf\xff,repair\n", "ingest", "not_utf8"),
    "too many fields": ("one,repair,three\n", "ingest", "too_many_fields"),
    "no answer": ("a row without,\n", "ingest", "no_answer"),
    "label seen once": ("never seen,rare\n", "validate", "rare_label"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_a_row_that_is_rejected_is_counted_and_saved(good, monkeypatch, capsys, case):
    line, verb, reason = REJECTED[case]
    append(good, line)
    code, said = run_stages(good, monkeypatch, capsys, STAGES[:-1])
    assert code == 0 and f"{verb} route: " in said and f"{reason}: 1" in said
    (rejection,) = read_lines(good / f"data/{verb}/route/rejections.jsonl")
    assert (rejection["reason"], rejection["line"], rejection["source"]) == (reason, 202, "tickets")


def distinct_texts(n: int, n_words: int) -> list[str]:
    """Returns texts without duplicates."""
    draw = random.Random(4)
    return [" ".join("".join(draw.choices("abcdefgh", k=5)) for _ in range(n_words)) for _ in range(n)]


def test_a_prompt_over_the_context_is_counted_in_training_and_scores_0(good, monkeypatch, capsys):
    append(good, "".join(f"{text} parcel,delivery\n" for text in distinct_texts(40, 60)))
    shutil.rmtree(good / "bases/able")
    make_base(good / "bases/able", context=40)
    code, said = run_stages(good, monkeypatch, capsys)
    assert code == 0, said
    (evidence,) = read_json(good / "data/climb/route/climb.json")["evidence"]
    assert "training rows are longer than the context of 40 tokens (limit 10%)" in evidence["note"]
    assert not evidence["score"] and set(evidence["unscored"]) == {"not_trained"}
    text = (good / "params.yaml").read_text()
    (good / "params.yaml").write_text(text.replace("train: {", "train: {audit: {over_context: 0.5}, "))
    code, said = run_stages(good, monkeypatch, capsys)
    assert code == 0, said
    (evidence,) = read_json(good / "data/climb/route/climb.json")["evidence"]
    assert evidence["train_rejected"]["over_context"] > 10 and evidence["unscored"]["over_context"] > 3
    assert evidence["score"]["n"] == evidence["n"]
    assert evidence["score"]["value"] <= 1 - evidence["unscored"]["over_context"] / evidence["n"]


def test_a_row_that_holds_the_models_end_token_stays_text(good, monkeypatch, capsys):
    append(good, "".join(f"{text} <|end|> parcel,delivery\n" for text in distinct_texts(30, 4)))
    code, said = run_stages(good, monkeypatch, capsys)
    assert code == 0, said
    kept = [e["fields"]["body"] for e in read_lines(good / "data/augment/route/train.jsonl")]
    assert any("<|end|>" in text for text in kept)
    assert read_json(good / "data/climb/route/climb.json")["evidence"][0]["unscored"] == {}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["predict", "nothing", "text"], ["no such task", "wanted: one of route"]),
        (["predict", "../x", "text"], ["no such task"]),
        (["predict", "route"], ["the text is missing"]),
        (["predict", "route", "--field", "body"], ["a field has no value"]),
        (["predict", "route", "x", "--field", "body=y"], ["a text and --field are both given"]),
        (["predict", "route", "--field", "body=x", "--field", "body=y"], ["a field is given twice", "body"]),
        (["predict", "route", "params.yaml"], ["params.yaml is a file, and its name is answered"]),
        (["predict", "route", "text"], ["there is no champion", "rungwise run"]),
        (["predict", "route", "--json", "text"], ["there is no champion"]),
        (["promote", "nothing"], ["no such task"]),
        (["promote", "route"], ["a task was not climbed yet", "rungwise run"]),
        (["explain"], ["a task was not climbed yet", "rungwise run"]),
    ],
)
def test_a_wrong_command_is_one_clear_error(workspace, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(workspace)
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err
    for word in words:
        assert word in said


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_completes_commands_and_options(shell, capsys):
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "--dry-run" in script and "explain" in script
    if shell == "bash":
        typed = "COMP_WORDS=(rungwise run --dr); COMP_CWORD=2; _shtab_rungwise; echo ${COMPREPLY[@]}"
        done = subprocess.run(["bash", "-c", f"{script}\n{typed}"], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["--dry-run"]


def test_an_unknown_argument_is_an_error(workspace, monkeypatch, capsys):
    monkeypatch.chdir(workspace)
    for arguments in (["status", "route"], ["predict", "route", "a", "b"], ["predict", "route", "--jsn"]):
        with pytest.raises(SystemExit):
            cli.main(arguments)
        assert "unrecognized arguments" in capsys.readouterr().err


def test_a_damaged_registry_is_one_clear_error(workspace, monkeypatch, capsys):
    monkeypatch.chdir(workspace)
    (workspace / "mlflow.db").write_text("x" * 5000)
    assert cli.main(["status"]) == 2
    assert "the registry can't be read" in capsys.readouterr().err


def test_a_closed_pipe_is_not_an_error(workspace):
    command = f"{sys.executable} -m rungwise status | true"
    done = subprocess.run(["bash", "-c", command], cwd=workspace, env=environment(), capture_output=True, text=True)
    assert "BrokenPipe" not in done.stderr


def test_too_few_validation_rows_are_an_error_before_anything_is_trained(good, monkeypatch, capsys):
    text = (good / "params.yaml").read_text()
    (good / "params.yaml").write_text(text.replace("min_scored: 20}\nregister", "min_scored: 500}\nregister"))
    code, said = run_stages(good, monkeypatch, capsys, STAGES[-1:])
    assert code == 2 and "too few validation rows to judge anything" in said
    assert not list((good / "data/attempts").glob("train-*"))


def test_outside_a_workspace_the_error_names_params_yaml(tmp_path, rungwise):
    for command in (["run"], ["status"], ["promote", "route"], ["predict", "route", "x"]):
        assert "there is no params.yaml here" in error_of(rungwise(tmp_path, *command))


def test_status_before_the_first_run_says_what_to_do(workspace, monkeypatch, capsys):
    monkeypatch.chdir(workspace)
    assert cli.main(["status"]) == 0
    assert "route: not climbed yet; `rungwise run` climbs." in capsys.readouterr().out
    assert cli.main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tasks"]["route"]["champion"] is None
    assert not (workspace / "mlflow.db").exists()


def test_run_prints_the_error_of_its_stage_and_changes_no_file(workspace, rungwise):
    root = with_dvc(workspace)
    edit(root, "bases/able, method: prompt, examples: 2", "bases/able, method: prompt, examples: 0")
    append(root, "no answer here,\n" * 60)
    done = rungwise(root, "run")
    message = error_of(done)
    assert "60 of 260 rows were rejected" in message and "no_answer: 60 (first: tickets line 202" in message
    assert not (root / "data/ingest").exists() and not list((root / "data").glob(".*"))


RUN = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)  # processes that a script starts in the background ignore Ctrl-C
os.execv(sys.executable, [sys.executable, "-m", "rungwise", "run"])
"""


def test_ctrl_c_prints_no_traceback_and_the_same_command_continues(workspace, rungwise):
    edit(workspace, "steps: 20,", "steps: 1000000,")
    root = with_dvc(workspace)
    process = subprocess.Popen(
        [sys.executable, "-c", RUN],
        cwd=root,
        env=environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("train route/rank-2"):
            os.killpg(process.pid, signal.SIGINT)
            break
    said += process.stderr.readlines()
    process.stderr.close()
    assert process.wait(30) == 130
    assert "Traceback" not in "".join(said) and "stopped; finished attempts are kept" in said[-1]
    edit(root, "steps: 1000000,", "steps: 3,")
    done = rungwise(root, "run")
    assert done.returncode == 0, done.stderr
    assert "train route/rank-2: 3/3" in done.stderr and "evaluate route/prompt" not in done.stderr
    assert "no rung passes the bar of 0.9" in done.stdout and "Why:" in done.stdout
    assert "Something changed" not in done.stdout
    edit(root, "dev: 0.25", "dev: 0.3")
    assert "Something changed since this climb (DVC would run: ingest, split)" in rungwise(root, "status").stdout


@pytest.mark.parametrize("is_folder", [True, False])
def test_a_workspace_without_rows_is_an_error_before_anything_runs(workspace, rungwise, is_folder):
    shutil.rmtree(workspace / "data/raw")
    if is_folder:
        (workspace / "data/raw").mkdir()
    with_dvc(workspace)
    message = error_of(rungwise(workspace, "run"))
    assert "there are no rows yet" in message and "make demo" in message
    assert not (workspace / "data/ingest").exists()
