"""The examples run as they stand, one after the other on one small workspace."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, environment, planted_rows

ROWS = 260


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CSV of a user's own."""
    folder = tmp_path_factory.mktemp("examples")
    rows = "\n".join(["mail,queue", *(f"{text},{label}" for text, label in planted_rows(ROWS))])
    (folder / "mails.csv").write_text(rows + "\n", encoding="utf-8")
    return folder


def run(folder: Path, name: str, *arguments: str) -> str:
    command = [sys.executable, str(REPOSITORY / "examples" / name), *arguments]
    env = environment(PYTHONPATH=os.environ.get("PYTHONPATH", ""))
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_example_is_run_here() -> None:
    listed = {path.name for path in (REPOSITORY / "examples").glob("*.py")}
    assert listed == {"own_csv.py", "own_metric_and_generator.py", "gpu_bundle.py"}


@pytest.mark.slow
def test_the_examples_run_one_after_the_other(folder: Path) -> None:
    shown = run(folder, "own_csv.py", "mails.csv", "mail", "queue", "workspace", "pocket-s")
    assert "queue: " in shown and "  classical: " in shown
    assert "the champion's answer to the first row: " in shown, "the planted rows need no language model"
    again = run(folder, "own_csv.py", "mails.csv", "mail", "queue", "workspace")
    assert again.splitlines()[0] == "queue: keep"
    made = run(folder, "own_metric_and_generator.py", "workspace", "queue", "billing")
    assert "classical: " in made and "5 rows for billing" in made and "parents: parents" in made
    params = folder / "workspace" / "params.yaml"
    params.write_text(params.read_text().replace("steps: 100", "steps: 4"))
    carried = run(folder, "gpu_bundle.py", "workspace", "queue", "pocket-s", "bundle")
    assert "packed attempt" in carried and "is stored for queue/pocket-s" in carried


def test_an_example_ends_with_what_to_do_where_the_rows_can_not_be_used(folder: Path) -> None:
    (folder / "bad").mkdir()
    (folder / "bad" / "params.yaml").write_text("seed: 7\n")
    command = [sys.executable, str(REPOSITORY / "examples" / "own_csv.py"), "mails.csv", "mail", "queue", "bad"]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "a key is missing" in done.stderr and "Traceback" not in done.stderr
